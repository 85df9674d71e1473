//! Group norms in the place of batch norms.

use crate::graph::{Graph, GraphError, Op};

/// Most groups of a norm: what Wu and He found best.
const GROUPS: usize = 32;
/// Added to the variance.
const EPS: f64 = 1e-5;

/// Replaces every batch norm by a group norm (Wu and He, "Group Normalization", 2018) of 32 groups, or
/// of the largest number below that divides the channels. Names stay, so scales and biases of pretrained
/// weights fit.
/// Errors: the graph is not valid.
pub fn with_group_norms(graph: &Graph) -> Result<Graph, GraphError> {
    let shapes = graph.shapes()?;
    let mut graph = graph.clone();
    for (node, shape) in graph.nodes.iter_mut().zip(shapes) {
        if let Op::BatchNorm { .. } = node.op {
            let channels = shape.channels();
            let divides = |groups: &usize| channels.is_multiple_of(*groups);
            let groups = (1..=GROUPS).rev().find(divides).unwrap_or(1);
            node.op = Op::GroupNorm { groups, eps: EPS };
        }
    }
    Ok(graph)
}
