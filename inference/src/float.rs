//! What of a network in f32 runs in `kernels` instead of in tract.
//!
//! [`operators`] knows which nodes have a layer there; together they become [`Region`]s. [`fuse`] makes
//! one step of a convolution, the sum after it and the activation; [`layers`] packs them. A region
//! without any convolution stays.
//!
//! ```text
//! f32 ─ Conv ─ Sigmoid, Mul ─ Conv ─ Add ─ Relu ─ f32    becomes    f32 ─ region ─ f32
//! ```

mod fuse;
mod layers;
mod operators;
#[cfg(test)]
mod tests;

use foldhash::HashSet;
use kernels::float::{Activation, to_planes};
use kernels::{Isa, Workers};
use tract_onnx::pb::GraphProto;

use crate::onnx::{Constants, Room};
use crate::profile::Engine;
use crate::region::{self, Arithmetic, Fault, Region, Shape, Step, StepOp};

/// In 32-bit floating point.
#[derive(Clone, Debug)]
pub(crate) struct F32;

#[derive(Debug)]
pub(crate) struct ConvParameters {
    /// By which the weights of each output channel are multiplied, one after the other.
    factors: Vec<Vec<f32>>,
    /// Per output channel.
    bias: Vec<f32>,
}

impl Arithmetic for F32 {
    const OPERATOR: &'static str = "FloatRegion";
    const REGION: &'static str = "f32 region";
    const ENGINE: Engine = Engine::F32;
    const LEAVING: &'static str = "to planes";
    const NO_ACTIVATION: Activation = Activation::None;

    type Tensor = ();
    type Activation = Activation;
    type Function = Activation;
    type ConvParameters = ConvParameters;
    type Weight = f32;
    type Value = f32;
    type Layer = layers::Layer;

    fn layer(
        _: &Region<F32>,
        step: &Step<F32>,
        shapes: &[Shape],
        isa: Isa,
        room: &mut Room<f32>,
    ) -> Result<Option<layers::Layer>, Fault> {
        layers::layer(step, shapes, isa, room)
    }

    fn leave((): (), channels: usize, values: &[f32], planes: &mut [f32], workers: &mut Workers) {
        to_planes(values, channels, planes, workers);
    }
}

/// Takes the regions out of a graph: each becomes one node, named as its region.
pub(crate) fn extract(graph: &mut GraphProto, constants: &Constants) -> Vec<Region<F32>> {
    let mut finder = operators::find(graph, constants);
    // Without a convolution there is nothing to gain.
    let gains =
        |(step, _): &(&Step<F32>, usize)| matches!(step.op, StepOp::Conv(_) | StepOp::Dense(_));
    let large: HashSet<usize> = finder
        .steps()
        .filter(gains)
        .map(|(_, stage)| stage)
        .collect();
    finder.retain(|_, stage| large.contains(&stage));
    let keep = finder.keep();
    let regions = finder.regions(&keep);
    region::take_out(graph, &keep, &regions);
    regions.into_iter().map(fuse::fuse).collect()
}
