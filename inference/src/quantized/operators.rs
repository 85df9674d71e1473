//! The operators that have an 8-bit form.

use kernels::float::Activation;
use kernels::{Isa, Mul, PoolKind, Quantization, Table, Workers, dequantize_one, quantize_one};
use models::Blob;
use tract_onnx::pb::NodeProto;

use crate::region::attributes::Attributes;
use crate::region::{ConvStep, Step, StepOp, operators};

use super::matcher::Matcher;
use super::{Bias, ConvParameters, Int8, Limits};

/// The limits that a ReLU or clip sets; none also for a node that changes nothing.
pub(super) fn limits(matcher: &Matcher<'_>, node: &NodeProto) -> Option<Limits> {
    let [min, max] = operators::limits(matcher.found.constants, node)?;
    Some(Limits { min, max })
}

/// The 8-bit form of a node whose f32 output is then limited and quantized, if it has one, and what
/// it takes.
pub(super) fn recognise<'a>(
    matcher: &Matcher<'a>,
    node: &'a NodeProto,
    output: Quantization,
    limits: Limits,
) -> Option<(StepOp<Int8>, &'a [String])> {
    let found = &matcher.found;
    let first = found.behind(node.input.first()?)?;
    let op = match node.op_type.as_str() {
        "Conv" => StepOp::Conv(conv(matcher, node)?),
        "Gemm" | "MatMul" => StepOp::Dense(dense(matcher, node)?),
        _ => match operators::plain(found.constants, node) {
            Some(op) => op,
            None => {
                let function = function(operators::function(found.constants, node)?)?;
                let input = found.tensor(first);
                StepOp::Function(Table::new(Isa::detect(), |byte| {
                    let value = function(dequantize_one(byte, input));
                    quantize_one(limits.of(value), output)
                }))
            }
        },
    };
    let takes = node.input.get(..op.operands())?;
    if let (StepOp::Mul, [_, b]) = (&op, takes)
        && let Some((table, plain)) = product(matcher, [first, found.behind(b)?], output, limits)
    {
        return Some((StepOp::Function(table), &takes[plain..=plain]));
    }
    Some((op, takes))
}

/// Whether the output has the scale and zero point of the input.
pub(super) fn keeps_scale(op: &StepOp<Int8>) -> bool {
    matches!(
        op,
        StepOp::Pool(PoolKind::Max, _) | StepOp::Flatten { .. } | StepOp::Same
    )
}

/// Functions that become tables; limits are set after other operators.
fn function(activation: Activation) -> Option<Box<dyn Fn(f32) -> f32>> {
    let hard = |x: f32, alpha: f32, beta: f32| (alpha * x + beta).clamp(0.0, 1.0);
    Some(match activation {
        Activation::Sigmoid => Box::new(|x: f32| 1.0 / (1.0 + (-x).exp())),
        Activation::HardSwish => Box::new(move |x| x * hard(x, 1.0 / 6.0, 0.5)),
        Activation::HardSigmoid { alpha, beta } => Box::new(move |x| hard(x, alpha, beta)),
        Activation::LeakyRelu(alpha) => Box::new(move |x| if x < 0.0 { alpha * x } else { x }),
        Activation::None | Activation::Limits { .. } | Activation::Silu => return None,
    })
}

/// A tensor times a function of it, such as SiLU: one table, and which of the two is the tensor.
fn product(
    matcher: &Matcher<'_>,
    tensors: [usize; 2],
    output: Quantization,
    limits: Limits,
) -> Option<(Table, usize)> {
    let (plain, table) = [0, 1].into_iter().find_map(|plain| {
        let (source, table) = table_of(matcher, tensors[1 - plain])?;
        (source == tensors[plain]).then_some((plain, table))
    })?;
    let of = |index: usize| matcher.found.tensor(tensors[index]);
    let factors = [of(plain), of(1 - plain)];
    let range = limits.range(output);
    let mul = Mul::new(Isa::PORTABLE, factors, output.scale, range).ok()?;
    let bytes: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    let mut products = [0; 256];
    let gates = bytes.map(|byte| table.get(byte));
    mul.run(&bytes, &gates, &mut products, &mut Workers::single());
    let all = Table::new(Isa::detect(), |byte| products[usize::from(byte)]);
    Some((all, plain))
}

/// The table that makes a tensor from another, if a table does.
fn table_of<'m>(matcher: &'m Matcher<'_>, tensor: usize) -> Option<(usize, &'m Table)> {
    match matcher.found.maker(tensor)? {
        Step {
            op: StepOp::Function(table),
            inputs,
            ..
        } => Some((*inputs.first()?, table)),
        _ => None,
    }
}

/// The dimensions and bytes of a node's weights, which stand behind a `DequantizeLinear` with one scale
/// per index of `axis`, and what else its convolution has.
fn weights(
    matcher: &Matcher<'_>,
    node: &NodeProto,
    axis: usize,
) -> Option<(Vec<usize>, Blob, ConvParameters)> {
    let constants = matcher.found.constants;
    let dequantize = dequantize_linear(matcher, node.input.get(1)?)?;
    let constant = constants.get(dequantize.input.first()?)?;
    let dims = constant.dims()?;
    let (bytes, signed) = match constant.stored::<i8>() {
        Some(bytes) => (bytes.clone(), true),
        None => (constant.stored::<u8>()?.clone(), false),
    };
    let symmetric = match dequantize.input.get(2).filter(|name| !name.is_empty()) {
        Some(name) => {
            let zero_points = constants.get(name)?.eight_bit()?;
            zero_points.iter().all(|zero_point| *zero_point == 128)
        }
        None => signed,
    };
    if !symmetric {
        return None;
    }
    let channels = *dims.get(axis)?;
    let mut scales = constants.floats(dequantize.input.get(1)?)?;
    let given = Attributes(dequantize).int("axis", 1);
    let given = if given < 0 {
        given + dims.len() as i64
    } else {
        given
    };
    if scales.len() == 1 {
        scales = vec![scales[0]; channels];
    } else if scales.len() != channels || usize::try_from(given).ok()? != axis {
        return None;
    }
    let parameters = ConvParameters {
        signed,
        scales,
        bias: bias(matcher, node.input.get(2), channels)?,
    };
    Some((dims, bytes, parameters))
}

fn bias(matcher: &Matcher<'_>, name: Option<&String>, channels: usize) -> Option<Bias> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Some(Bias::None);
    };
    let constants = matcher.found.constants;
    if let Some(floats) = constants.floats(name) {
        return (floats.len() == channels).then_some(Bias::Float(floats));
    }
    let dequantize = dequantize_linear(matcher, name)?;
    let integers: Vec<i32> = constants.get(dequantize.input.first()?)?.values()?;
    let scales = constants.floats(dequantize.input.get(1)?)?;
    if let Some(name) = dequantize.input.get(2).filter(|name| !name.is_empty()) {
        let zero_points: Vec<i32> = constants.get(name)?.values()?;
        if zero_points.iter().any(|zero_point| *zero_point != 0) {
            return None;
        }
    }
    let fits = integers.len() == channels && (scales.len() == 1 || scales.len() == channels);
    fits.then_some(Bias::Quantized(integers, scales))
}

fn dequantize_linear<'a>(matcher: &Matcher<'a>, value: &str) -> Option<&'a NodeProto> {
    let node = matcher.maker(value)?;
    (node.op_type == "DequantizeLinear").then_some(node)
}

fn conv(matcher: &Matcher<'_>, node: &NodeProto) -> Option<ConvStep<Int8>> {
    let (dims, bytes, parameters) = weights(matcher, node, 0)?;
    ConvStep::conv(node, dims.try_into().ok()?, bytes, parameters)
}

fn dense(matcher: &Matcher<'_>, node: &NodeProto) -> Option<ConvStep<Int8>> {
    let rows_are_outputs = operators::rows_are_outputs(node)?;
    let (dims, bytes, parameters) = weights(matcher, node, usize::from(!rows_are_outputs))?;
    let dims = dims.try_into().ok()?;
    let dense = ConvStep::dense(dims, rows_are_outputs, bytes, parameters);
    Some(dense)
}
