//! Folding what inference does not need into what it does.

use std::collections::HashSet;

use crate::graph::{Graph, GraphError, Node, Op};
use crate::weights::{Tensor, Weights};

/// Folds every batch norm that directly follows a convolution into the convolution's weight and
/// bias, and leaves out dropout, stochastic depth and whatever the output does not depend on. The result computes
/// the same function in inference.
///
/// A batch norm stays where what it takes has another use. The arithmetic is `f64`.
/// Errors: the graph is not valid, the weights are not its own, or a fold gives values that are
/// not finite (a negative variance, for example).
pub fn fold_batch_norm(graph: &Graph, weights: &Weights) -> Result<(Graph, Weights), GraphError> {
    graph.check(weights)?;
    let uses = live_uses(graph);
    let mut weights = weights.clone();
    let mut nodes: Vec<Node> = Vec::new();
    // For each new node, how often its output is used.
    let mut new_uses: Vec<usize> = Vec::new();
    // For each old node, the new one that computes the same.
    let mut moved: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for (node, &uses) in graph.nodes.iter().zip(&uses) {
        let source = node.inputs.first().map_or(0, |&input| moved[input]);
        let folds = |nodes: &[Node]| matches!(nodes[source].op, Op::Conv { .. });
        match node.op {
            _ if uses == 0 => moved.push(source),
            Op::Dropout { .. } | Op::StochasticDepth { .. } => moved.push(source),
            Op::BatchNorm { eps } if new_uses[source] == 1 && folds(&nodes) => {
                fold_into(&mut nodes[source], &node.name, eps, &mut weights)?;
                new_uses[source] = uses;
                moved.push(source);
            }
            op => {
                let inputs = node.inputs.iter().map(|&input| moved[input]).collect();
                nodes.push(Node {
                    name: node.name.clone(),
                    op,
                    inputs,
                });
                new_uses.push(uses);
                moved.push(nodes.len() - 1);
            }
        }
    }
    let folded = Graph {
        name: graph.name.clone(),
        input: graph.input,
        nodes,
    };
    let names: HashSet<String> = folded.parameters()?.into_iter().map(|p| p.name).collect();
    weights.retain(|name, _| names.contains(name));
    folded.check(&weights)?;
    Ok((folded, weights))
}

/// How often each node's output is used on the way to the graph's output, which is a use too. A
/// dropout hands its uses on to its input.
fn live_uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.nodes.len()];
    if let Some(output) = uses.last_mut() {
        *output = 1;
    }
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        let passed_on = match node.op {
            Op::Dropout { .. } | Op::StochasticDepth { .. } => uses[index],
            _ => uses[index].min(1),
        };
        node.inputs
            .iter()
            .for_each(|&input| uses[input] += passed_on);
    }
    uses
}

/// `weight *= scale` and `bias = (bias - mean) * scale + shift`, with
/// `scale = gamma / sqrt(var + eps)` and `shift = beta`.
fn fold_into(
    conv: &mut Node,
    norm: &str,
    eps: f64,
    weights: &mut Weights,
) -> Result<(), GraphError> {
    let Op::Conv { out, bias, .. } = &mut conv.op else {
        return Ok(());
    };
    let (out, had_bias) = (*out, std::mem::replace(bias, true));
    let gamma = take(weights, format!("{norm}.weight"))?;
    let beta = take(weights, format!("{norm}.bias"))?;
    let mean = take(weights, format!("{norm}.mean"))?;
    let var = take(weights, format!("{norm}.var"))?;
    let (weight_name, bias_name) = (
        format!("{}.weight", conv.name),
        format!("{}.bias", conv.name),
    );
    let mut weight = take(weights, weight_name.clone())?;
    let mut bias = match had_bias {
        true => take(weights, bias_name.clone())?,
        false => Tensor::filled(&[out], 0.0),
    };
    let per_channel = weight.data.len() / out;
    let kernels = weight.data.chunks_exact_mut(per_channel);
    for (channel, (kernel, bias)) in kernels.zip(&mut bias.data).enumerate() {
        let at = |tensor: &Tensor| f64::from(tensor.data[channel]);
        let scale = at(&gamma) / (at(&var) + eps).sqrt();
        kernel
            .iter_mut()
            .for_each(|value| *value = (f64::from(*value) * scale) as f32);
        *bias = ((f64::from(*bias) - at(&mean)) * scale + at(&beta)) as f32;
    }
    weights.insert(weight_name, weight);
    weights.insert(bias_name, bias);
    Ok(())
}

fn take(weights: &mut Weights, name: String) -> Result<Tensor, GraphError> {
    weights
        .remove(&name)
        .ok_or(GraphError::MissingParameter { name })
}
