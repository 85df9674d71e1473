//! The operators that have an 8-bit form, as ONNX describes them.

use kernels::{
    Isa, Mul, PoolKind, Quantization, Range, Table, Workers, dequantize_one, quantize_one,
};
use models::Blob;
use tract_onnx::pb::NodeProto;

use crate::onnx::{Order, Weights};
use crate::region::attributes::Attributes;
use crate::region::{WindowStep, nodes};

use super::recognise::{Finder, Match};
use super::region::{Bias, ConvStep, Limits, StepOp};

/// The limits that a ReLU or clip sets; none also for a node that changes nothing.
pub(super) fn limits(finder: &Finder<'_>, node: &NodeProto) -> Option<Limits> {
    let [min, max] = nodes::limits(finder.constants, node)?;
    Some(Limits { min, max })
}

/// The 8-bit form of a node whose f32 output is then limited and quantized, if it has one.
pub(super) fn recognise<'a>(
    finder: &Finder<'a>,
    node: &'a NodeProto,
    output: Quantization,
    limits: Limits,
) -> Option<Match<'a>> {
    let takes: Vec<&str> = node.input.iter().map(String::as_str).collect();
    let first = finder.behind(takes.first()?)?;
    let one = vec![takes[0]];
    let found = |op: StepOp, takes: Vec<&'a str>| Match {
        op: Some(op),
        takes,
        keeps_scale: false,
    };
    match node.op_type.as_str() {
        "Conv" => Some(found(StepOp::Conv(conv(finder, node)?), one)),
        "Gemm" => Some(found(StepOp::Dense(gemm(finder, node)?), one)),
        "MatMul" => Some(found(StepOp::Dense(matmul(finder, node)?), one)),
        "Add" if takes.len() == 2 => Some(found(StepOp::Add, takes)),
        "Mul" if takes.len() == 2 => {
            let second = finder.behind(takes[1])?;
            match product(finder, [first, second], output, limits) {
                Some((table, 0)) => Some(found(StepOp::Table(table), vec![takes[0]])),
                Some((table, _)) => Some(found(StepOp::Table(table), vec![takes[1]])),
                None => Some(found(StepOp::Mul, takes)),
            }
        }
        "GlobalAveragePool" => Some(found(StepOp::GlobalAverage { keep_dims: true }, one)),
        "ReduceMean" => {
            let keep_dims = nodes::mean(finder.constants, node)?;
            Some(found(StepOp::GlobalAverage { keep_dims }, one))
        }
        "AveragePool" => {
            let count_padding = Attributes(node).int("count_include_pad", 0) != 0;
            let kind = PoolKind::Average { count_padding };
            Some(found(StepOp::Pool(kind, nodes::pool(node)?), one))
        }
        "MaxPool" => Some(Match {
            op: Some(StepOp::Pool(PoolKind::Max, nodes::pool(node)?)),
            takes: one,
            keeps_scale: true,
        }),
        "Flatten" | "Reshape" | "Squeeze" => Some(Match {
            op: Some(StepOp::Flatten {
                channels: nodes::flatten(finder.constants, node)?,
            }),
            takes: one,
            keeps_scale: true,
        }),
        _ => {
            let function = function(node)?;
            let input = finder.tensors[first];
            let table = Table::new(Isa::detect(), |byte| {
                let value = function(dequantize_one(byte, input));
                quantize_one(value.max(limits.min).min(limits.max), output)
            });
            Some(found(StepOp::Table(table), one))
        }
    }
}

/// Functions of one value.
fn function(node: &NodeProto) -> Option<Box<dyn Fn(f32) -> f32>> {
    let attributes = Attributes(node);
    let hard = |x: f32, alpha: f32, beta: f32| (alpha * x + beta).clamp(0.0, 1.0);
    Some(match node.op_type.as_str() {
        "Sigmoid" => Box::new(|x: f32| 1.0 / (1.0 + (-x).exp())),
        "HardSwish" => Box::new(move |x| x * hard(x, 1.0 / 6.0, 0.5)),
        "HardSigmoid" => {
            let (alpha, beta) = (
                attributes.float("alpha", 0.2),
                attributes.float("beta", 0.5),
            );
            Box::new(move |x| hard(x, alpha, beta))
        }
        "LeakyRelu" => {
            let alpha = attributes.float("alpha", 0.01);
            Box::new(move |x| if x < 0.0 { alpha * x } else { x })
        }
        _ => return None,
    })
}

/// A tensor times a function of it, such as SiLU: one table, and which of the two is the tensor.
fn product(
    finder: &Finder<'_>,
    tensors: [usize; 2],
    output: Quantization,
    limits: Limits,
) -> Option<(Table, usize)> {
    let (plain, table) = [0, 1].into_iter().find_map(|plain| {
        let (source, table) = finder.table_of(tensors[1 - plain])?;
        (source == tensors[plain]).then_some((plain, table))
    })?;
    let of = |index: usize| finder.tensors[tensors[index]];
    let range = Range {
        zero_point: output.zero_point,
        min: quantize_one(limits.min, output),
        max: quantize_one(limits.max, output),
    };
    let mul = Mul::new(
        Isa::PORTABLE,
        [of(plain), of(1 - plain)],
        output.scale,
        range,
    )
    .ok()?;
    let bytes: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    let mut products = [0; 256];
    let gates = bytes.map(|byte| table.get(byte));
    mul.run(&bytes, &gates, &mut products, &mut Workers::single());
    let all = Table::new(Isa::detect(), |byte| products[usize::from(byte)]);
    Some((all, plain))
}

/// Weights behind a `DequantizeLinear`: shape, bytes, and one scale per index of `axis`.
struct Dequantized {
    dims: Vec<usize>,
    bytes: Blob,
    signed: bool,
    scales: Vec<f32>,
}

fn dequantized(finder: &Finder<'_>, name: &str, axis: usize) -> Option<Dequantized> {
    let node = finder
        .maker(name)
        .filter(|node| node.op_type == "DequantizeLinear")?;
    let constant = finder.constants.get(node.input.first()?)?;
    let dims = constant.dims()?;
    let (bytes, signed) = match constant.stored::<i8>() {
        Some(bytes) => (bytes.clone(), true),
        None => (constant.stored::<u8>()?.clone(), false),
    };
    let symmetric = match node.input.get(2).filter(|name| !name.is_empty()) {
        Some(name) => {
            let zero_points = finder.constants.get(name)?.eight_bit()?;
            zero_points.iter().all(|zero_point| *zero_point == 128)
        }
        None => signed,
    };
    if !symmetric {
        return None;
    }
    let channels = *dims.get(axis)?;
    let mut scales = finder.constants.floats(node.input.get(1)?)?;
    let given = Attributes(node).int("axis", 1);
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
    Some(Dequantized {
        dims,
        bytes,
        signed,
        scales,
    })
}

fn bias(finder: &Finder<'_>, name: Option<&String>, channels: usize) -> Option<Bias> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Some(Bias::None);
    };
    if let Some(floats) = finder.constants.floats(name) {
        return (floats.len() == channels).then_some(Bias::Float(floats));
    }
    let node = finder
        .maker(name)
        .filter(|node| node.op_type == "DequantizeLinear")?;
    let integers: Vec<i32> = finder.constants.get(node.input.first()?)?.values()?;
    let scales = finder.constants.floats(node.input.get(1)?)?;
    if let Some(name) = node.input.get(2).filter(|name| !name.is_empty()) {
        let zero_points: Vec<i32> = finder.constants.get(name)?.values()?;
        if zero_points.iter().any(|zero_point| *zero_point != 0) {
            return None;
        }
    }
    let fits = integers.len() == channels && (scales.len() == 1 || scales.len() == channels);
    fits.then_some(Bias::Quantized(integers, scales))
}

fn conv(finder: &Finder<'_>, node: &NodeProto) -> Option<ConvStep> {
    let Dequantized {
        dims,
        bytes,
        signed,
        scales,
    } = dequantized(finder, node.input.get(1)?, 0)?;
    let [channels, depth, rows, columns] = dims.try_into().ok()?;
    let groups = usize::try_from(Attributes(node).int("group", 1)).ok()?;
    if groups == 0 || !channels.is_multiple_of(groups) {
        return None;
    }
    let places = rows * columns;
    let window = nodes::window(node)?;
    (window.kernel == [rows, columns]).then_some(ConvStep {
        weights: Weights::new(bytes, Order::Places { depth, places }),
        signed,
        bias: bias(finder, node.input.get(2), channels)?,
        scales,
        window,
        groups,
    })
}

fn gemm(finder: &Finder<'_>, node: &NodeProto) -> Option<ConvStep> {
    dense(finder, node, nodes::gemm(node)?)
}

fn matmul(finder: &Finder<'_>, node: &NodeProto) -> Option<ConvStep> {
    (node.input.len() == 2).then(|| dense(finder, node, false))?
}

/// `rows_first` where the weights of an output channel lie next to each other.
fn dense(finder: &Finder<'_>, node: &NodeProto, rows_first: bool) -> Option<ConvStep> {
    let axis = usize::from(!rows_first);
    let Dequantized {
        dims,
        bytes,
        signed,
        scales,
    } = dequantized(finder, node.input.get(1)?, axis)?;
    let [_, columns]: [usize; 2] = dims.try_into().ok()?;
    let order = Order::dense(columns, rows_first);
    Some(ConvStep {
        weights: Weights::new(bytes, order),
        signed,
        bias: bias(finder, node.input.get(2), scales.len())?,
        scales,
        window: WindowStep::PIXEL,
        groups: 1,
    })
}
