//! The operators that steps are made of, as ONNX describes them, whatever they are computed in.

use kernels::PoolKind;
use kernels::float::Activation;
use models::Blob;
use tract_onnx::pb::NodeProto;

use super::attributes::Attributes;
use super::{Arithmetic, ConvStep, Padding, StepOp, WindowStep};
use crate::onnx::{Constants, Order, Weights};

/// The step for a node that has neither weights nor a function.
pub(crate) fn plain<A: Arithmetic>(constants: &Constants, node: &NodeProto) -> Option<StepOp<A>> {
    Some(match node.op_type.as_str() {
        "Add" if node.input.len() == 2 => StepOp::Add,
        "Mul" if node.input.len() == 2 => StepOp::Mul,
        "GlobalAveragePool" => StepOp::GlobalAverage { keep_dims: true },
        "ReduceMean" => {
            let keep_dims = mean(constants, node)?;
            StepOp::GlobalAverage { keep_dims }
        }
        "AveragePool" => {
            let count_padding = Attributes(node).int("count_include_pad", 0) != 0;
            StepOp::Pool(PoolKind::Average { count_padding }, pool(node)?)
        }
        "MaxPool" => StepOp::Pool(PoolKind::Max, pool(node)?),
        "Flatten" | "Reshape" | "Squeeze" => {
            let channels = flatten(constants, node)?;
            StepOp::Flatten { channels }
        }
        _ if is_same(node) => StepOp::Same,
        _ => return None,
    })
}

/// The function of one value that a node is.
pub(crate) fn function(constants: &Constants, node: &NodeProto) -> Option<Activation> {
    let attributes = Attributes(node);
    Some(match node.op_type.as_str() {
        "Relu" | "Clip" => {
            let [min, max] = limits(constants, node)?;
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

/// The limits that a ReLU or clip sets; none also for a node that changes nothing.
pub(crate) fn limits(constants: &Constants, node: &NodeProto) -> Option<[f32; 2]> {
    let bound = |index: usize, default: f32| match node.input.get(index) {
        Some(name) if !name.is_empty() => constants.float(name),
        _ => Some(default),
    };
    let [min, max] = match node.op_type.as_str() {
        "Relu" => [0.0, f32::INFINITY],
        "Clip" => {
            let attributes = Attributes(node);
            let min = bound(1, attributes.float("min", f32::NEG_INFINITY))?;
            let max = bound(2, attributes.float("max", f32::INFINITY))?;
            [min, max]
        }
        _ if is_same(node) => [f32::NEG_INFINITY, f32::INFINITY],
        _ => return None,
    };
    (min <= max).then_some([min, max])
}

/// Whether the node changes nothing.
fn is_same(node: &NodeProto) -> bool {
    match node.op_type.as_str() {
        "Identity" => true,
        "Dropout" => node.input.len() == 1,
        _ => false,
    }
}

impl<A: Arithmetic> ConvStep<A> {
    /// A `Conv` with weights of these dimensions.
    pub(crate) fn conv(
        node: &NodeProto,
        dims: [usize; 4],
        weights: Blob,
        parameters: A::ConvParameters,
    ) -> Option<ConvStep<A>> {
        let [channels, depth, rows, columns] = dims;
        let places = rows * columns;
        let window = window(node)?;
        let groups = usize::try_from(Attributes(node).int("group", 1)).ok()?;
        let whole = groups > 0 && channels.is_multiple_of(groups);
        (whole && window.kernel == [rows, columns]).then_some(ConvStep {
            weights: Weights::new(weights, Order::Places { depth, places }),
            window,
            channels,
            groups,
            parameters,
        })
    }

    /// A product with a matrix of these dimensions.
    pub(crate) fn dense(
        dims: [usize; 2],
        rows_are_outputs: bool,
        weights: Blob,
        parameters: A::ConvParameters,
    ) -> ConvStep<A> {
        ConvStep {
            weights: Weights::new(weights, Order::dense(dims[1], rows_are_outputs)),
            window: WindowStep::PIXEL,
            channels: dims[usize::from(!rows_are_outputs)],
            groups: 1,
            parameters,
        }
    }
}

/// For a plain product with a matrix, and sum, whether the matrix has a row for each output.
pub(crate) fn rows_are_outputs(node: &NodeProto) -> Option<bool> {
    let attributes = Attributes(node);
    match node.op_type.as_str() {
        "MatMul" if node.input.len() == 2 => Some(false),
        "Gemm"
            if attributes.int("transA", 0) == 0
                && attributes.float("alpha", 1.0) == 1.0
                && attributes.float("beta", 1.0) == 1.0 =>
        {
            Some(attributes.int("transB", 0) != 0)
        }
        _ => None,
    }
}

fn window(node: &NodeProto) -> Option<WindowStep> {
    let attributes = Attributes(node);
    if attributes.sizes("dilations", 1)? != [1, 1] || !attributes.has("kernel_shape") {
        return None;
    }
    let padding = match attributes.text("auto_pad").unwrap_or(b"NOTSET") {
        b"NOTSET" | b"" => Padding::Explicit(attributes.sizes("pads", 0)?),
        b"VALID" => Padding::Explicit([0; 4]),
        b"SAME_UPPER" => Padding::Same { odd_at_end: true },
        b"SAME_LOWER" => Padding::Same { odd_at_end: false },
        _ => return None,
    };
    let kernel: [usize; 2] = attributes.sizes("kernel_shape", 1)?;
    let stride: [usize; 2] = attributes.sizes("strides", 1)?;
    let positive = kernel.iter().chain(&stride).all(|n| *n > 0);
    positive.then_some(WindowStep {
        kernel,
        stride,
        padding,
    })
}

fn pool(node: &NodeProto) -> Option<WindowStep> {
    let attributes = Attributes(node);
    let plain = attributes.int("ceil_mode", 0) == 0 && attributes.int("storage_order", 0) == 0;
    plain.then(|| window(node))?
}

/// Whether a mean over rows and columns keeps their dimensions; none where it is over others.
fn mean(constants: &Constants, node: &NodeProto) -> Option<bool> {
    let attributes = Attributes(node);
    let axes = match node.input.get(1).filter(|name| !name.is_empty()) {
        Some(name) => constants.integers(name)?,
        None => node
            .attribute
            .iter()
            .find(|a| a.name == "axes")?
            .ints
            .clone(),
    };
    let mut axes: Vec<i64> = axes
        .into_iter()
        .map(|a| if a < 0 { a + 4 } else { a })
        .collect();
    axes.sort_unstable();
    (axes == [2, 3]).then(|| attributes.int("keepdims", 1) != 0)
}

/// For a node that makes `[1, channels]` from `[1, channels, 1, 1]` the channels, where it says them.
fn flatten(constants: &Constants, node: &NodeProto) -> Option<Option<usize>> {
    let given = || constants.integers(node.input.get(1)?);
    Some(match node.op_type.as_str() {
        "Flatten" if Attributes(node).int("axis", 1) == 1 => None,
        "Reshape" => match given()?[..] {
            [0 | 1, -1] => None,
            [-1..=1, channels] => Some(usize::try_from(channels).ok()?),
            _ => return None,
        },
        "Squeeze" => {
            let attribute = || node.attribute.iter().find(|a| a.name == "axes");
            let axes = given().or_else(|| Some(attribute()?.ints.clone()))?;
            matches!(axes[..], [2 | -2, 3 | -1]).then_some(None)?
        }
        _ => return None,
    })
}
