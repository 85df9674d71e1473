//! A part of a network in 8 bits, as it was found: operators, weights and scales, no shapes yet.

use kernels::{PoolKind, Quantization, Table};

use crate::onnx::Weights;
use crate::region::WindowStep;

/// Operators that pass each other 8-bit tensors.
#[derive(Debug)]
pub(crate) struct Region {
    /// Also the name of its node.
    pub(crate) name: String,
    /// f32 values that come in.
    pub(crate) inputs: Vec<String>,
    /// In topological order.
    pub(crate) steps: Vec<Step>,
    /// How each tensor is quantized.
    pub(crate) tensors: Vec<Quantization>,
    /// Tensors that leave, and the names under which they do, as f32.
    pub(crate) outputs: Vec<(usize, String)>,
}

/// One operator, with what was fused into it.
#[derive(Debug)]
pub(crate) struct Step {
    /// That of the ONNX node.
    pub(crate) name: String,
    pub(crate) op: StepOp,
    /// Tensors.
    pub(crate) inputs: Vec<usize>,
    /// A tensor.
    pub(crate) output: usize,
    /// The values that its f32 output may have.
    pub(crate) limits: Limits,
}

/// A lower and an upper limit, as ReLU and clip set them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    pub(crate) min: f32,
    pub(crate) max: f32,
}

impl Limits {
    pub(crate) const NONE: Limits = Limits {
        min: f32::NEG_INFINITY,
        max: f32::INFINITY,
    };

    /// These limits, and then others.
    pub(crate) fn then(self, next: Limits) -> Limits {
        Limits {
            min: self.min.max(next.min).min(next.max),
            max: self.max.max(next.min).min(next.max),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum StepOp {
    /// From the region's f32 input of this number.
    Quantize(usize),
    Conv(ConvStep),
    /// A convolution of the only pixel: Gemm and MatMul.
    Dense(ConvStep),
    Add,
    Mul,
    Table(Table),
    GlobalAverage {
        keep_dims: bool,
    },
    Pool(PoolKind, WindowStep),
    /// The same values in the shape `[1, channels]`, of as many channels where that is said.
    Flatten {
        channels: Option<usize>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct ConvStep {
    pub(crate) weights: Weights,
    /// Whether they are signed, or have 128 added.
    pub(crate) signed: bool,
    /// Per output channel.
    pub(crate) scales: Vec<f32>,
    pub(crate) bias: Bias,
    pub(crate) window: WindowStep,
    /// Into which the channels are divided: 1 if all see all.
    pub(crate) groups: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Bias {
    None,
    Float(Vec<f32>),
    /// Values and their scales, one or one per channel.
    Quantized(Vec<i32>, Vec<f32>),
}
