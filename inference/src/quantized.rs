//! Quantized networks: what runs in 8 bits instead of in tract's f32.
//!
//! An exporter writes a quantized network as QDQ: around every f32 operator stand a
//! `DequantizeLinear` per input and a `QuantizeLinear` after it. [`matcher`] finds the operators whose
//! surroundings are whole, with what [`operators`] knows of each; together they become
//! [`Region`]s. [`layers`] packs them. What is not recognised stays as it was.
//!
//! ```text
//! f32 ─ Q ─ DQ ─ Conv ─ Relu ─ Q ─ DQ ─ Add ─ Q ─ DQ ─ f32    becomes    f32 ─ region ─ f32
//! ```

mod layers;
mod matcher;
mod operators;
#[cfg(test)]
mod tests;

use foldhash::HashSet;
use kernels::{Isa, Quantization, Table, Workers, dequantize};
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::onnx::{Constants, Room};
use crate::profile::Engine;
use crate::region::{self, Arithmetic, Fault, Region, Shape, Step, StepOp};

/// In 8 bits.
#[derive(Clone, Debug)]
pub(crate) struct Int8;

/// A lower and an upper limit, as ReLU and clip set them, of what is then quantized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    min: f32,
    max: f32,
}

#[derive(Debug)]
pub(crate) struct ConvParameters {
    /// Whether the weights are signed, or have 128 added.
    signed: bool,
    /// Of the weights of each output channel.
    scales: Vec<f32>,
    bias: Bias,
}

#[derive(Debug)]
enum Bias {
    None,
    Float(Vec<f32>),
    /// Values and their scales, one or one per channel.
    Quantized(Vec<i32>, Vec<f32>),
}

impl Arithmetic for Int8 {
    const OPERATOR: &'static str = "QuantizedRegion";
    const REGION: &'static str = "int8 region";
    const ENGINE: Engine = Engine::Int8;
    const LEAVING: &'static str = "back to f32";
    const NO_ACTIVATION: Limits = Limits::NONE;

    type Tensor = Quantization;
    type Activation = Limits;
    type Function = Table;
    type ConvParameters = ConvParameters;
    type Weight = i8;
    type Value = u8;
    type Layer = layers::Layer;

    fn layer(
        region: &Region<Int8>,
        step: &Step<Int8>,
        shapes: &[Shape],
        isa: Isa,
        room: &mut Room<i8>,
    ) -> Result<Option<layers::Layer>, Fault> {
        layers::layer(region, step, shapes, isa, room)
    }

    fn leave(
        tensor: Quantization,
        channels: usize,
        values: &[u8],
        planes: &mut [f32],
        workers: &mut Workers,
    ) {
        dequantize(values, channels, tensor, planes, workers);
    }
}

impl Limits {
    const NONE: Limits = Limits {
        min: f32::NEG_INFINITY,
        max: f32::INFINITY,
    };

    /// These limits, and then others.
    fn then(self, next: Limits) -> Limits {
        Limits {
            min: self.min.max(next.min).min(next.max),
            max: self.max.max(next.min).min(next.max),
        }
    }

    fn of(self, value: f32) -> f32 {
        value.max(self.min).min(self.max)
    }

    /// The bytes of values within these limits; quantization is monotone.
    fn range(self, output: Quantization) -> kernels::Range {
        kernels::Range {
            zero_point: output.zero_point,
            min: kernels::quantize_one(self.min, output),
            max: kernels::quantize_one(self.max, output),
        }
    }
}

/// Takes the quantized regions out of a graph: each becomes one node, named as its region.
pub(crate) fn extract(graph: &mut GraphProto, constants: &Constants) -> Vec<Region<Int8>> {
    let mut finder = matcher::find(graph, constants);
    // A tensor that only operators outside use gains nothing from being quantized here.
    let inputs = finder.steps().flat_map(|(step, _)| &step.inputs);
    let used: HashSet<usize> = inputs.copied().collect();
    finder.retain(|step, _| !matches!(step.op, StepOp::Enter(_)) || used.contains(&step.output));
    let keep = finder.keep();
    // A value that leaves a region does so as f32.
    let leaves_in_8_bits = |node: &NodeProto| {
        let mut outputs = node.output.iter();
        node.op_type == "QuantizeLinear"
            && outputs.any(|name| keep.values.contains(name) && finder.stage(name).is_some())
    };
    if graph.node.iter().any(leaves_in_8_bits) {
        return Vec::new();
    }
    let regions = finder.regions(&keep);
    region::take_out(graph, &keep, &regions);
    regions
}
