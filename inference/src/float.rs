//! What of a network in f32 runs in `kernels` instead of in tract.
//!
//! [`extract`] takes the operators that have a layer there out of the ONNX graph, together, as
//! [`Region`]s. [`fuse`] makes one step of a convolution, the sum after it and the activation;
//! [`plan`] packs the layers once shapes are known. A region without any convolution stays.
//!
//! ```text
//! f32 ─ Conv ─ Sigmoid, Mul ─ Conv ─ Add ─ Relu ─ f32    becomes    f32 ─ region ─ f32
//! ```

mod extract;
mod fuse;
mod operators;
mod plan;
#[cfg(test)]
mod tests;

use kernels::float::Activation;
use kernels::{Isa, PoolKind};
use tract_onnx::pb::GraphProto;

use crate::onnx::{Constants, Weights};
use crate::region::{PlanError, Shape, WindowStep};
pub(crate) use plan::Plan;

/// Operators that pass each other tensors of f32, channels last.
#[derive(Debug)]
pub(crate) struct Region {
    /// Also the name of its node.
    name: String,
    /// Values that come in.
    inputs: Vec<String>,
    /// In topological order.
    steps: Vec<Step>,
    /// How many tensors there are.
    tensors: usize,
    /// Tensors that leave, and the names under which they do.
    outputs: Vec<(usize, String)>,
}

/// One operator, with what was fused into it.
#[derive(Clone, Debug)]
struct Step {
    /// That of the ONNX node.
    name: String,
    op: StepOp,
    /// Tensors; for a convolution also one that is added.
    inputs: Vec<usize>,
    /// A tensor.
    output: usize,
    /// What becomes of the values.
    activation: Activation,
}

#[derive(Clone, Debug)]
enum StepOp {
    /// From the region's input of this number.
    Enter(usize),
    Conv(ConvStep),
    /// A convolution of the only pixel: Gemm and MatMul.
    Dense(ConvStep),
    Add,
    Mul,
    /// Nothing but the activation.
    Activate,
    GlobalAverage {
        keep_dims: bool,
    },
    Pool(PoolKind, WindowStep),
    /// The same values in the shape `[1, channels]`, of as many channels where that is said.
    Flatten {
        channels: Option<usize>,
    },
    /// The same values.
    Same,
}

#[derive(Clone, Debug)]
struct ConvStep {
    weights: Weights,
    /// By which those of each output channel are multiplied, one after the other.
    factors: Vec<Vec<f32>>,
    /// Per output channel.
    bias: Vec<f32>,
    window: WindowStep,
    depthwise: bool,
}

impl crate::region::Region for Region {
    type Plan = Plan;
    const OPERATOR: &'static str = "FloatRegion";

    fn name(&self) -> &str {
        &self.name
    }

    fn inputs(&self) -> &[String] {
        &self.inputs
    }

    fn outputs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.outputs.iter().map(|(_, name)| name.as_str())
    }

    fn shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>, PlanError> {
        let shapes = plan::shapes(self, inputs)?;
        let outputs = self.outputs.iter().map(|(tensor, _)| shapes[*tensor]);
        Ok(outputs.collect())
    }

    fn weight_bytes(&self) -> usize {
        let convolutions = self.steps.iter().map(|step| match &step.op {
            StepOp::Conv(conv) | StepOp::Dense(conv) => conv.weights.len::<1>(),
            _ => 0,
        });
        convolutions.sum()
    }

    fn plan(&self, inputs: &[Shape], isa: Isa) -> Result<Plan, PlanError> {
        Plan::new(self, inputs, isa)
    }
}

/// Takes the regions out of a graph: each becomes one node, named as its region.
pub(crate) fn extract(graph: &mut GraphProto, constants: &Constants) -> Vec<Region> {
    extract::extract(graph, constants)
}
