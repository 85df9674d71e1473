//! Folding what inference does not need into what it does.

use std::collections::HashSet;

use crate::graph::{Graph, GraphError, Node, Op};
use crate::weights::{Tensor, Weights};

/// Folds every batch norm that directly follows a convolution into the convolution's weight and
/// bias, and leaves dropout out. The result computes the same function in inference.
///
/// A batch norm stays where its convolution's output has another use. The arithmetic is `f64`.
/// Errors: the graph is not valid, the weights are not its own, or a fold gives values that are
/// not finite (a negative variance, for example).
pub fn fold_batch_norm(graph: &Graph, weights: &Weights) -> Result<(Graph, Weights), GraphError> {
    graph.check(weights)?;
    let uses = uses_without_dropout(graph);
    let mut weights = weights.clone();
    let mut nodes: Vec<Node> = Vec::new();
    // The new index of what each old node computes.
    let mut moved: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let source = node.inputs.first().map(|&input| moved[input]);
        let folded = match (node.op, source) {
            (Op::Dropout { .. }, Some(source)) => Some(source),
            (Op::BatchNorm { eps }, Some(source)) => {
                let conv = &mut nodes[source];
                let single = graph.find(&conv.name).is_some_and(|old| uses[old] == 1);
                let foldable = single && matches!(conv.op, Op::Conv { .. });
                if foldable {
                    fold_into(conv, &node.name, eps, &mut weights)?;
                }
                foldable.then_some(source)
            }
            _ => None,
        };
        moved.push(folded.unwrap_or_else(|| {
            let inputs = node.inputs.iter().map(|&input| moved[input]).collect();
            nodes.push(Node {
                name: node.name.clone(),
                op: node.op,
                inputs,
            });
            nodes.len() - 1
        }));
    }
    // What comes after the output cannot feed it.
    if let Some(&output) = moved.last() {
        nodes.truncate(output + 1);
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

/// How often each node's output is used, as if every dropout were its input. Being the graph's
/// output is a use.
fn uses_without_dropout(graph: &Graph) -> Vec<usize> {
    let nodes = &graph.nodes;
    let through = |mut index: usize| {
        while let Op::Dropout { .. } = nodes[index].op {
            index = nodes[index].inputs[0];
        }
        index
    };
    let mut uses = vec![0; nodes.len()];
    let readers = nodes
        .iter()
        .filter(|node| !matches!(node.op, Op::Dropout { .. }));
    for &input in readers.flat_map(|node| &node.inputs) {
        uses[through(input)] += 1;
    }
    uses[through(nodes.len() - 1)] += 1;
    uses
}

/// `weight *= scale` and `bias = (bias - mean) * scale + shift` with `scale = gamma / sqrt(var + eps)`.
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
    let old_bias = match had_bias {
        true => take(weights, bias_name.clone())?,
        false => Tensor::filled(&[out], 0.0),
    };

    let mut new_bias = Tensor::filled(&[out], 0.0);
    let per_channel = weight.data.len() / out;
    for (channel, kernel) in weight.data.chunks_exact_mut(per_channel).enumerate() {
        let at = |tensor: &Tensor| f64::from(tensor.data[channel]);
        let scale = at(&gamma) / (at(&var) + eps).sqrt();
        kernel
            .iter_mut()
            .for_each(|value| *value = (f64::from(*value) * scale) as f32);
        new_bias.data[channel] = ((at(&old_bias) - at(&mean)) * scale + at(&beta)) as f32;
    }
    weights.insert(weight_name, weight);
    weights.insert(bias_name, new_bias);
    Ok(())
}

fn take(weights: &mut Weights, name: String) -> Result<Tensor, GraphError> {
    weights
        .remove(&name)
        .ok_or(GraphError::MissingParameter { name })
}
