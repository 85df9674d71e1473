//! Regions: parts of a network that one operator of tract computes, with all their layers planned
//! and in one piece of memory.
//!
//! [`quantized`](crate::quantized) and [`float`](crate::float) tell a [`Finder`] which nodes of an ONNX
//! graph are steps, in 8 bits and in f32. Steps are put together as [`Region`]s, and [`take_out`] leaves
//! one node for each in the graph. Once shapes are known a [`Plan`] packs a region into the layers of
//! `kernels`; it runs as tract's operator for that node ([`attach`]).
//!
//! ```text
//! nodes ── Finder ──▶ steps ── assemble ──▶ Region ── infer shapes ──▶ Plan ──▶ operator
//! ```

mod assemble;
pub(crate) mod attributes;
mod finder;
#[cfg(test)]
pub(crate) mod graphs;
mod infer;
mod memory;
mod op;
pub(crate) mod operators;
mod plan;
mod shape;

use std::fmt::Debug;
use std::io;

use kernels::{Isa, KernelError, Plain, PoolKind, Workers};
use thiserror::Error;

use crate::onnx::{Room, Weights};
use crate::profile::Engine;

pub(crate) use assemble::take_out;
pub(crate) use finder::Finder;
pub(crate) use op::{are_all, attach, times};
pub(crate) use plan::{Layer, Plan};
pub(crate) use shape::{Padding, Shape, WindowStep};

/// What a region computes with: what its numbers are, and which layers there are for them.
pub(crate) trait Arithmetic: Clone + Debug + Send + Sync + 'static {
    /// The operator that stands for a region.
    const OPERATOR: &'static str;
    /// What a region is called, before its number.
    const REGION: &'static str;
    const ENGINE: Engine;
    /// What it is to bring a value outside.
    const LEAVING: &'static str;
    /// Changes nothing.
    const NO_ACTIVATION: Self::Activation;

    /// What is known of a tensor beside its shape.
    type Tensor: Debug + Copy + Send + Sync;
    /// What becomes of the values of a step.
    type Activation: Debug + Copy + PartialEq + Send + Sync;
    /// A function of one value, as a step of its own.
    type Function: Debug + Send + Sync;
    /// What a convolution has beside weights and a window.
    type ConvParameters: Debug + Send + Sync;
    /// A weight as kernels take it, of as many bytes as in the file.
    type Weight: Debug + Default;
    /// What a region's memory consists of.
    type Value: Debug + Plain;
    type Layer: Layer<Self::Value>;

    /// Packs a step; none where its output is its input. `shapes` are those of all tensors, `room` is
    /// for weights.
    fn layer(
        region: &Region<Self>,
        step: &Step<Self>,
        shapes: &[Shape],
        isa: Isa,
        room: &mut Room<Self::Weight>,
    ) -> Result<Option<Self::Layer>, Fault>;

    /// Brings a tensor outside, as planes of f32.
    fn leave(
        tensor: Self::Tensor,
        channels: usize,
        values: &[Self::Value],
        planes: &mut [f32],
        workers: &mut Workers,
    );
}

/// Operators that pass each other tensors, channels last, no shapes known yet.
#[derive(Debug)]
pub(crate) struct Region<A: Arithmetic> {
    /// Also that of its node.
    pub(crate) name: String,
    /// f32 values that come in.
    pub(crate) inputs: Vec<String>,
    /// In topological order.
    pub(crate) steps: Vec<Step<A>>,
    pub(crate) tensors: Vec<A::Tensor>,
    /// Tensors that leave, and the names under which they do, as f32.
    pub(crate) outputs: Vec<(usize, String)>,
}

/// One operator, with what was fused into it.
#[derive(Debug)]
pub(crate) struct Step<A: Arithmetic> {
    /// That of the ONNX node.
    pub(crate) name: String,
    pub(crate) op: StepOp<A>,
    /// Tensors; for a convolution in f32 also one that is added.
    pub(crate) inputs: Vec<usize>,
    /// A tensor.
    pub(crate) output: usize,
    pub(crate) activation: A::Activation,
}

#[derive(Debug)]
pub(crate) enum StepOp<A: Arithmetic> {
    /// From the region's input of this number.
    Enter(usize),
    Conv(ConvStep<A>),
    /// A convolution of the only pixel: Gemm and MatMul.
    Dense(ConvStep<A>),
    Add,
    Mul,
    Function(A::Function),
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

#[derive(Debug)]
pub(crate) struct ConvStep<A: Arithmetic> {
    pub(crate) weights: Weights,
    pub(crate) window: WindowStep,
    /// That come out.
    pub(crate) channels: usize,
    /// Into which the channels are divided: 1 if all see all.
    pub(crate) groups: usize,
    pub(crate) parameters: A::ConvParameters,
}

/// Why a region cannot be planned.
#[derive(Debug, Error)]
#[error("{step}: {fault}")]
pub(crate) struct PlanError {
    step: String,
    fault: Fault,
}

/// What is wrong with a step.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Kernel(#[from] KernelError),
    #[error("its input has another shape than it takes")]
    Shape,
    #[error("its weights cannot be read: {0}")]
    Weights(#[from] io::Error),
}

impl<A: Arithmetic> Region<A> {
    /// Of all its layers, in the file.
    fn weight_bytes(&self) -> usize {
        let convolutions = self.steps.iter().map(|step| match &step.op {
            StepOp::Conv(conv) | StepOp::Dense(conv) => conv.weights.len::<1>(),
            _ => 0,
        });
        convolutions.sum()
    }
}

impl<A: Arithmetic> Step<A> {
    fn refuse(&self, fault: Fault) -> PlanError {
        PlanError {
            step: self.name.clone(),
            fault,
        }
    }
}

impl<A: Arithmetic> StepOp<A> {
    /// How many of its node's inputs are tensors.
    pub(crate) fn operands(&self) -> usize {
        match self {
            StepOp::Add | StepOp::Mul => 2,
            _ => 1,
        }
    }
}

impl<A: Arithmetic> ConvStep<A> {
    pub(crate) fn weight_count(&self) -> usize {
        self.weights.len::<1>() / size_of::<A::Weight>()
    }
}
