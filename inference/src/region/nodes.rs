//! What the nodes of an ONNX graph say, whatever type they compute in.

use tract_onnx::pb::NodeProto;

use super::attributes::Attributes;
use super::{Padding, WindowStep};
use crate::onnx::Constants;

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
pub(crate) fn is_same(node: &NodeProto) -> bool {
    match node.op_type.as_str() {
        "Identity" => true,
        "Dropout" => node.input.len() == 1,
        _ => false,
    }
}

/// Whether a `Gemm` is a plain product and sum, and if so whether its weights are transposed.
pub(crate) fn gemm(node: &NodeProto) -> Option<bool> {
    let attributes = Attributes(node);
    let plain = attributes.int("transA", 0) == 0
        && attributes.float("alpha", 1.0) == 1.0
        && attributes.float("beta", 1.0) == 1.0;
    plain.then(|| attributes.int("transB", 0) != 0)
}

/// Whether a convolution of weights with these dimensions takes each channel by itself.
pub(crate) fn is_depthwise(node: &NodeProto, channels: usize, depth: usize) -> Option<bool> {
    let group = usize::try_from(Attributes(node).int("group", 1)).ok()?;
    match group {
        1 => Some(false),
        _ if depth == 1 && group == channels => Some(true),
        _ => None,
    }
}

pub(crate) fn window(node: &NodeProto) -> Option<WindowStep> {
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

pub(crate) fn pool(node: &NodeProto) -> Option<WindowStep> {
    let attributes = Attributes(node);
    let plain = attributes.int("ceil_mode", 0) == 0 && attributes.int("storage_order", 0) == 0;
    plain.then(|| window(node))?
}

/// Whether a mean over rows and columns keeps their dimensions; none where it is over others.
pub(crate) fn mean(constants: &Constants, node: &NodeProto) -> Option<bool> {
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
pub(crate) fn flatten(constants: &Constants, node: &NodeProto) -> Option<Option<usize>> {
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
