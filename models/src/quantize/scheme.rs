//! Which tensors of a graph are 8-bit ones.

use std::collections::BTreeSet;

use super::Affine;
use crate::graph::{Activation, Graph, Node, Op};

/// What a node's output is in an 8-bit network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A tensor with a range of its own.
    Own,
    /// A tensor with the numbers of another node's: what a pool picks is what it was.
    Shared(usize),
    /// Nothing by itself: the ReLU that alone takes it limits it before it is rounded.
    Fused,
    /// The network's output, which stays f32.
    Output,
}

/// What every node's output is, in the order of the nodes.
pub fn roles(graph: &Graph) -> Vec<Role> {
    let consumers = consumers(graph);
    let limits = |node: &Node| {
        matches!(
            node.op,
            Op::Activation(Activation::Relu | Activation::Relu6)
        )
    };
    let mut roles: Vec<Role> = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        let role = match (consumers[index].as_slice(), node.op) {
            ([], _) => Role::Output,
            ([only], op) if limits(&graph.nodes[*only]) && op != Op::Input => Role::Fused,
            (_, Op::MaxPool { .. } | Op::Dropout { .. } | Op::StochasticDepth { .. }) => {
                let source = node.inputs[0];
                match roles[source] {
                    Role::Shared(owner) => Role::Shared(owner),
                    Role::Fused => Role::Own,
                    _ => Role::Shared(source),
                }
            }
            _ => Role::Own,
        };
        roles.push(role);
    }
    roles
}

/// The nodes that take each node's output.
pub(crate) fn consumers(graph: &Graph) -> Vec<Vec<usize>> {
    let mut consumers = vec![Vec::new(); graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for &input in &node.inputs {
            consumers[input].push(index);
        }
    }
    consumers
}

/// How a graph is computed in 8 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheme {
    /// For every node how its output is rounded, if it is.
    pub tensors: Vec<Option<Affine>>,
    /// For every node whether its weights are 8-bit ones. Its input is then rounded.
    pub weights: Vec<bool>,
}

impl Scheme {
    /// All of it in f32.
    pub fn float(graph: &Graph) -> Scheme {
        Scheme {
            tensors: vec![None; graph.nodes.len()],
            weights: vec![false; graph.nodes.len()],
        }
    }

    /// All in 8 bits but the layers named in `float`: their weights stay f32, and so does what a
    /// function of their output alone takes. Norms are computed in f32 as well. `ranges` has a
    /// rounding for every node; a shared one is taken from its owner.
    pub fn new(graph: &Graph, ranges: &[Affine], float: &BTreeSet<String>) -> Scheme {
        let (roles, consumers) = (roles(graph), consumers(graph));
        let stays = |index: usize| float.contains(&graph.nodes[index].name);
        let in_bytes: Vec<bool> = (0..graph.nodes.len())
            .map(|index| match graph.nodes[index].op {
                Op::BatchNorm { .. } | Op::GroupNorm { .. } => false,
                Op::Activation(_) => !stays(graph.nodes[index].inputs[0]),
                _ => !stays(index),
            })
            .collect();
        let rounded = |index: usize| {
            let owner = match roles[index] {
                Role::Own => index,
                Role::Shared(owner) => owner,
                Role::Fused | Role::Output => return None,
            };
            let made = in_bytes[index] && index > 0;
            let taken = || consumers[index].iter().any(|&consumer| in_bytes[consumer]);
            (made || taken()).then_some(ranges[owner])
        };
        let weighs = |node: &Node| matches!(node.op, Op::Conv { .. } | Op::Dense { .. });
        let nodes = graph.nodes.iter().zip(&in_bytes);
        Scheme {
            tensors: (0..graph.nodes.len()).map(rounded).collect(),
            weights: nodes
                .map(|(node, &in_bytes)| in_bytes && weighs(node))
                .collect(),
        }
    }
}
