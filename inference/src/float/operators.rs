//! The operators that have a layer in `kernels`, as ONNX describes them.

use kernels::PoolKind;
use kernels::float::Activation;
use tract_onnx::pb::NodeProto;

use crate::onnx::{Constants, Order, Weights};
use crate::region::attributes::Attributes;
use crate::region::{WindowStep, nodes};

use super::{ConvStep, StepOp};

/// The step for a node and how many of its inputs are tensors, if it has one.
pub(super) fn recognise(
    constants: &Constants,
    node: &NodeProto,
) -> Option<(StepOp, Activation, usize)> {
    if node.output.len() != 1 {
        return None;
    }
    let (op, inputs) = match node.op_type.as_str() {
        "Conv" => (StepOp::Conv(conv(constants, node)?), 1),
        "BatchNormalization" => (StepOp::Conv(norm(constants, node)?), 1),
        "Gemm" => {
            let transposed = nodes::gemm(node)?;
            (StepOp::Dense(dense(constants, node, transposed)?), 1)
        }
        "MatMul" if node.input.len() == 2 => (StepOp::Dense(dense(constants, node, false)?), 1),
        "Add" if node.input.len() == 2 => (StepOp::Add, 2),
        "Mul" if node.input.len() == 2 => (StepOp::Mul, 2),
        "GlobalAveragePool" => (StepOp::GlobalAverage { keep_dims: true }, 1),
        "ReduceMean" => {
            let keep_dims = nodes::mean(constants, node)?;
            (StepOp::GlobalAverage { keep_dims }, 1)
        }
        "AveragePool" => {
            let count_padding = Attributes(node).int("count_include_pad", 0) != 0;
            let kind = PoolKind::Average { count_padding };
            (StepOp::Pool(kind, nodes::pool(node)?), 1)
        }
        "MaxPool" => (StepOp::Pool(PoolKind::Max, nodes::pool(node)?), 1),
        "Flatten" | "Reshape" | "Squeeze" => {
            let channels = nodes::flatten(constants, node)?;
            (StepOp::Flatten { channels }, 1)
        }
        _ if nodes::is_same(node) => (StepOp::Same, 1),
        _ => return Some((StepOp::Activate, activation(constants, node)?, 1)),
    };
    Some((op, Activation::None, inputs))
}

fn activation(constants: &Constants, node: &NodeProto) -> Option<Activation> {
    let attributes = Attributes(node);
    Some(match node.op_type.as_str() {
        "Relu" | "Clip" => {
            let [min, max] = nodes::limits(constants, node)?;
            Activation::Limits { min, max }
        }
        "Sigmoid" => Activation::Sigmoid,
        "HardSwish" => Activation::HardSwish,
        "HardSigmoid" => Activation::HardSigmoid {
            alpha: attributes.float("alpha", 0.2),
            beta: attributes.float("beta", 0.5),
        },
        "LeakyRelu" => Activation::LeakyRelu(attributes.float("alpha", 0.01)),
        _ => return None,
    })
}

fn conv(constants: &Constants, node: &NodeProto) -> Option<ConvStep> {
    let constant = constants.get(node.input.get(1)?)?;
    let [channels, depth, rows, columns] = constant.dims()?.try_into().ok()?;
    let places = rows * columns;
    let depthwise = nodes::is_depthwise(node, channels, depth)?;
    let window = nodes::window(node)?;
    (window.kernel == [rows, columns]).then_some(ConvStep {
        weights: Weights::new(
            constant.stored::<f32>()?.clone(),
            Order::Places { depth, places },
        ),
        factors: Vec::new(),
        bias: bias(constants, node, channels)?,
        window,
        depthwise,
    })
}

fn bias(constants: &Constants, node: &NodeProto, channels: usize) -> Option<Vec<f32>> {
    match node.input.get(2).filter(|name| !name.is_empty()) {
        None => Some(vec![0.0; channels]),
        Some(name) => {
            let bias = constants.floats(name)?;
            (bias.len() == channels).then_some(bias)
        }
    }
}

/// `transposed` where the weights of an output channel lie next to each other.
fn dense(constants: &Constants, node: &NodeProto, transposed: bool) -> Option<ConvStep> {
    let constant = constants.get(node.input.get(1)?)?;
    let dims: [usize; 2] = constant.dims()?.try_into().ok()?;
    let channels = dims[usize::from(!transposed)];
    Some(ConvStep {
        weights: Weights::new(
            constant.stored::<f32>()?.clone(),
            Order::dense(dims[1], transposed),
        ),
        factors: Vec::new(),
        bias: bias(constants, node, channels)?,
        window: WindowStep::PIXEL,
        depthwise: false,
    })
}

/// A norm with the moments of training: a factor and a sum for each channel.
fn norm(constants: &Constants, node: &NodeProto) -> Option<ConvStep> {
    let of = |index: usize| constants.floats(node.input.get(index)?);
    let [scale, shift, mean, variance] = [of(1)?, of(2)?, of(3)?, of(4)?];
    let counts = [shift.len(), mean.len(), variance.len()];
    let epsilon = Attributes(node).float("epsilon", 1e-5);
    if Attributes(node).int("training_mode", 0) != 0 || counts != [scale.len(); 3] {
        return None;
    }
    let factors = scale.iter().zip(&variance);
    let factors: Vec<f32> = factors
        .map(|(scale, variance)| scale / (variance + epsilon).sqrt())
        .collect();
    let bias = factors.iter().zip(&shift).zip(&mean);
    let bias = bias.map(|((factor, shift), mean)| shift - mean * factor);
    Some(ConvStep {
        bias: bias.collect(),
        weights: Weights::of_channels(&factors),
        factors: Vec::new(),
        window: WindowStep::PIXEL,
        depthwise: true,
    })
}
