//! The operators that have a layer in f32.

use models::Blob;
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::onnx::{Constants, Weights};
use crate::region::attributes::Attributes;
use crate::region::{Arithmetic, ConvStep, Finder, StepOp, WindowStep, operators};

use super::{ConvParameters, F32};

/// The steps in a graph.
pub(super) fn find<'a>(graph: &'a GraphProto, constants: &'a Constants) -> Finder<'a, F32> {
    let mut finder = Finder::new(graph, constants);
    for node in &graph.node {
        match recognise(constants, node) {
            Some((op, takes, output)) => {
                let inputs = takes.iter().map(|value| finder.enter(value, ()));
                let inputs = inputs.collect();
                let name = if node.name.is_empty() {
                    output
                } else {
                    &node.name
                };
                let tensor = finder.push(name, op, F32::NO_ACTIVATION, takes, inputs, ());
                finder.name(output, tensor);
            }
            None => finder.skip(node),
        }
    }
    finder
}

/// The step for a node, what it takes and what it gives.
fn recognise<'a>(
    constants: &Constants,
    node: &'a NodeProto,
) -> Option<(StepOp<F32>, &'a [String], &'a str)> {
    let [output] = node.output.as_slice() else {
        return None;
    };
    let op = match node.op_type.as_str() {
        "Conv" => StepOp::Conv(conv(constants, node)?),
        "BatchNormalization" => StepOp::Conv(norm(constants, node)?),
        "Gemm" | "MatMul" => StepOp::Dense(dense(constants, node)?),
        _ => match operators::plain(constants, node) {
            Some(op) => op,
            None => StepOp::Function(operators::function(constants, node)?),
        },
    };
    let takes = node.input.get(..op.operands())?;
    let tensors = takes.iter().all(|value| !constants.has(value));
    tensors.then_some((op, takes, output))
}

/// The dimensions and bytes of a node's weights, and its bias: one for each index of `axis`.
fn weights(
    constants: &Constants,
    node: &NodeProto,
    axis: usize,
) -> Option<(Vec<usize>, Blob, ConvParameters)> {
    let constant = constants.get(node.input.get(1)?)?;
    let dims = constant.dims()?;
    let channels = *dims.get(axis)?;
    let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
        None => vec![0.0; channels],
        Some(name) => constants.floats(name)?,
    };
    let parameters = ConvParameters {
        factors: Vec::new(),
        bias,
    };
    let fits = parameters.bias.len() == channels;
    fits.then_some((dims, constant.stored::<f32>()?.clone(), parameters))
}

fn conv(constants: &Constants, node: &NodeProto) -> Option<ConvStep<F32>> {
    let (dims, bytes, parameters) = weights(constants, node, 0)?;
    let conv = ConvStep::conv(node, dims.try_into().ok()?, bytes, parameters)?;
    (conv.groups == 1 || conv.is_depthwise()).then_some(conv)
}

fn dense(constants: &Constants, node: &NodeProto) -> Option<ConvStep<F32>> {
    let rows_are_outputs = operators::rows_are_outputs(node)?;
    let (dims, bytes, parameters) = weights(constants, node, usize::from(!rows_are_outputs))?;
    let dims = dims.try_into().ok()?;
    let dense = ConvStep::dense(dims, rows_are_outputs, bytes, parameters);
    Some(dense)
}

/// A norm with the moments of training: a factor and a sum for each channel.
fn norm(constants: &Constants, node: &NodeProto) -> Option<ConvStep<F32>> {
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
        weights: Weights::of_channels(&factors),
        window: WindowStep::PIXEL,
        channels: factors.len(),
        groups: factors.len(),
        parameters: ConvParameters {
            factors: Vec::new(),
            bias: bias.collect(),
        },
    })
}
