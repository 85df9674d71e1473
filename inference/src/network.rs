//! From the ONNX bytes of a bundle to a plan that tract can run.
//!
//! Nothing in a bundle is trusted. Before tract builds anything the ONNX is checked: only operators
//! that classifiers use, no data outside the file, no tensor larger than the file could hold; after
//! shape inference, no activation larger than [`MAX_VALUES`].

use std::sync::Arc;

use models::Blob;
use tract_onnx::prelude::multithread::Executor;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::InferenceModel;
use tract_onnx::{Onnx as Reader, pb};

use crate::onnx::{Constant, Onnx};
use crate::quiet::quietly;
use crate::{InferenceError, float, quantized, ranks, region};

/// The most values in one activation: 1 GiB of f32. Frames of 2048 px in 64 channels fit.
const MAX_VALUES: usize = 1 << 28;

/// The most nodes in a network; the largest in use have some hundreds.
const MAX_NODES: usize = 20_000;

/// The operators that classifiers are made of. None takes a shape as data or runs a graph of its own.
const OPERATORS: [&str; 35] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
];

/// A network for one frame: f32 `[1, 3, size, size]` to f32 `[1, classes]`.
pub(crate) fn load(
    onnx: &Blob,
    size: usize,
    classes: usize,
    threads: usize,
) -> Result<Arc<TypedRunnableModel>, InferenceError> {
    let executor = executor(threads)?;
    quietly(|| {
        let model = build(onnx, size, classes, threads)?;
        let options = RunOptions {
            executor: Some(executor),
            ..RunOptions::default()
        };
        TypedRunnableModel::new_with_options(model, &options).map_err(refused)
    })
    .map_err(InferenceError::Network)?
}

/// What tract computes on.
fn executor(threads: usize) -> Result<Executor, InferenceError> {
    match threads {
        0 => Err(InferenceError::NoThreads),
        1 => Ok(Executor::SingleThread),
        several => quietly(|| Executor::multithread(several)).map_err(InferenceError::Network),
    }
}

fn build(
    onnx: &Blob,
    size: usize,
    classes: usize,
    threads: usize,
) -> Result<TypedModel, InferenceError> {
    // The facts that the file states about its inside are not needed: they follow from the input.
    let reader = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true);
    let network = || -> Result<Onnx, InferenceError> {
        let network = Onnx::read(onnx)?;
        check_network(&network, onnx.len(), size)?;
        Ok(network)
    };
    // Regions of shapes that do not fit run in tract, as all else does.
    for kinds in [Kinds::Both, Kinds::Quantized] {
        if let Some(model) = with_regions(&reader, network()?, kinds, size, classes, threads) {
            return Ok(model);
        }
    }
    typed(in_tract(&reader, network()?)?, size, classes)
}

/// What tract makes of a graph with the constants that it uses.
fn in_tract(reader: &Reader, network: Onnx) -> Result<InferenceModel, InferenceError> {
    let Onnx {
        mut model,
        constants,
    } = network;
    if let Some(graph) = &mut model.graph {
        let given = constants.give(graph);
        given.map_err(|error| InferenceError::Network(error.to_string()))?;
    }
    reader.model_for_proto_model(&model).map_err(refused)
}

/// What becomes regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    /// What is quantized, and of the rest what is in f32.
    Both,
    Quantized,
}

/// The model with regions, if it has any and they can be planned.
fn with_regions(
    reader: &Reader,
    mut network: Onnx,
    kinds: Kinds,
    size: usize,
    classes: usize,
    threads: usize,
) -> Option<TypedModel> {
    let (graph, constants) = (network.model.graph.as_mut()?, &network.constants);
    let quantized = quantized::extract(graph, constants);
    let float = match kinds {
        Kinds::Both => float::extract(graph, constants),
        Kinds::Quantized => Vec::new(),
    };
    if quantized.is_empty() && float.is_empty() {
        return None;
    }
    let mut model = in_tract(reader, network).ok()?;
    region::attach(&mut model, quantized, threads);
    region::attach(&mut model, float, threads);
    typed(model, size, classes).ok()
}

/// The model for one frame, its shapes checked, optimized.
fn typed(
    mut model: InferenceModel,
    size: usize,
    classes: usize,
) -> Result<TypedModel, InferenceError> {
    let input = f32::fact([1, 3, size, size]);
    model.set_input_fact(0, input.into()).map_err(refused)?;
    model.analyse(false).map_err(refused)?;
    for node in model.nodes() {
        for outlet in &node.outputs {
            let shape = outlet.fact.shape.as_concrete_finite().map_err(refused)?;
            check_values(&node.name, shape.as_deref())?;
        }
    }
    let model = model.into_typed().map_err(refused)?;
    for node in model.nodes() {
        for outlet in &node.outputs {
            let shape = outlet.fact.shape.as_concrete().ok_or_else(|| {
                let text = format!("the shape that node {:?} gives is not fixed", node.name);
                InferenceError::Network(text)
            })?;
            check_values(&node.name, Some(shape))?;
        }
    }
    check_output(&model, classes)?;
    let model = model.into_decluttered().map_err(refused)?;
    model.into_optimized().map_err(refused)
}

fn check_network(network: &Onnx, file_bytes: usize, size: usize) -> Result<(), InferenceError> {
    let refuse = |why: String| Err(InferenceError::Network(why));
    let Some(graph) = &network.model.graph else {
        return refuse("it has no graph".to_owned());
    };
    if graph.node.len() > MAX_NODES {
        return refuse(format!(
            "it has {} nodes, more than {MAX_NODES}",
            graph.node.len()
        ));
    }
    for node in &graph.node {
        let standard = node.domain.is_empty() || node.domain == "ai.onnx";
        if !standard || !OPERATORS.contains(&node.op_type.as_str()) {
            let operator = if standard {
                node.op_type.clone()
            } else {
                format!("{}.{}", node.domain, node.op_type)
            };
            return Err(InferenceError::Operator {
                operator,
                node: node.name.clone(),
            });
        }
        let attributes = &node.attribute;
        let tensors = attributes.iter().flat_map(|a| a.t.iter().chain(&a.tensors));
        let mut tensors = tensors.map(|tensor| (&tensor.name, Constant::of(tensor.clone())));
        tensors.try_for_each(|(name, tensor)| check_tensor(name, &tensor, file_bytes))?;
    }
    let mut constants = network.constants.iter();
    constants.try_for_each(|(name, tensor)| check_tensor(name, tensor, file_bytes))?;
    check_input(graph, size)?;
    ranks::check(network)
}

/// A tensor must be in the file, and hold no more values than the file has bytes. One without values
/// is held to its other dimensions: memory is taken for channels.
fn check_tensor(name: &str, tensor: &Constant, file_bytes: usize) -> Result<(), InferenceError> {
    let mut dims = tensor.stated_dims().iter();
    let values = dims
        .try_fold(1_usize, |n, dim| {
            n.checked_mul(usize::try_from(*dim).ok()?.max(1))
        })
        .filter(|n| *n <= file_bytes);
    if tensor.is_inside() && values.is_some() {
        Ok(())
    } else {
        let text = format!("the data of tensor {name:?} is not in the file");
        Err(InferenceError::Network(text))
    }
}

/// One input, f32, of the shape `[N, 3, size, size]` with N free or 1.
fn check_input(graph: &pb::GraphProto, size: usize) -> Result<(), InferenceError> {
    use pb::tensor_shape_proto::dimension::Value;
    let expected = format!("f32 [N, 3, {size}, {size}]");
    let wrong = |found: String| InferenceError::Facts {
        end: "input",
        expected: expected.clone(),
        found,
    };
    let [input] = graph.input.as_slice() else {
        return Err(wrong(format!("count {}", graph.input.len())));
    };
    let fact = input.r#type.as_ref().and_then(|t| t.value.as_ref());
    let Some(pb::type_proto::Value::TensorType(fact)) = fact else {
        return Err(wrong("of no type".to_owned()));
    };
    let dims: Vec<Option<i64>> = fact
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dim| match dim.value {
            Some(Value::DimValue(n)) => Some(n),
            _ => None,
        })
        .collect();
    let side = i64::try_from(size).unwrap_or(i64::MAX);
    let float = fact.elem_type == pb::tensor_proto::DataType::Float as i32;
    let fits = matches!(dims.as_slice(), [batch, rest @ ..]
        if batch.is_none_or(|n| n == 1) && rest == [Some(3), Some(side), Some(side)]);
    if float && fits {
        return Ok(());
    }
    let dims: Vec<String> = dims
        .iter()
        .map(|dim| dim.map_or_else(|| "N".to_owned(), |n| n.to_string()))
        .collect();
    let kind = if float {
        "f32"
    } else {
        "of another type than f32,"
    };
    Err(wrong(format!("{kind} [{}]", dims.join(", "))))
}

fn check_output(model: &TypedModel, classes: usize) -> Result<(), InferenceError> {
    let expected = format!("f32 [1, {classes}]");
    let wrong = |found: String| InferenceError::Facts {
        end: "output",
        expected: expected.clone(),
        found,
    };
    let outlets = model.output_outlets().map_err(refused)?;
    let [outlet] = outlets else {
        return Err(wrong(format!("count {}", outlets.len())));
    };
    let fact = model.outlet_fact(*outlet).map_err(refused)?;
    let shape = fact.shape.as_concrete().unwrap_or_default();
    if fact.datum_type == f32::datum_type() && shape == [1, classes] {
        Ok(())
    } else {
        Err(wrong(
            format!("{:?} {shape:?}", fact.datum_type).to_lowercase(),
        ))
    }
}

fn check_values(node: &str, shape: Option<&[usize]>) -> Result<(), InferenceError> {
    let values = shape
        .unwrap_or_default()
        .iter()
        .try_fold(1_usize, |n, dim| n.checked_mul(*dim));
    match values {
        Some(n) if n <= MAX_VALUES => Ok(()),
        _ => Err(InferenceError::Network(format!(
            "what node {node:?} gives is too large"
        ))),
    }
}

/// tract's chain of reasons on one line of bounded length.
pub(crate) fn reason(error: &TractError) -> String {
    let text = format!("{error:#}");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line = words.join(" ");
    if let Some((end, _)) = line.char_indices().nth(400) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn refused(error: TractError) -> InferenceError {
    InferenceError::Network(reason(&error))
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "network_variations.rs"]
mod variations;
