//! A network as data: named nodes in topological order.
//!
//! A graph says what a network computes, not how. The trainer interprets it, the exporter writes
//! it as ONNX, [passes](crate::passes) rewrite it. All shapes here leave out the batch dimension.

mod error;
mod infer;
mod op;

use std::collections::HashSet;

pub use error::GraphError;
pub use op::{Activation, Op, Padding, Pads};

use crate::weights::Weights;

/// A network, or a part of one.
///
/// Node 0 is the only [`Op::Input`], a node's inputs come before it, and the last node's output is
/// the network's. [`Graph::shapes`] checks all of this; the fields are free to change.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// The network's name, for example `mobilenet-v2`.
    pub name: String,
    /// Input shape: channels, height, width.
    pub input: [usize; 3],
    /// The nodes in topological order.
    pub nodes: Vec<Node>,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Unique within the graph; parameters are named after it.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The nodes whose outputs it takes, as indices into [`Graph::nodes`].
    pub inputs: Vec<usize>,
}

/// The shape of a node's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Channels x height x width.
    Map {
        /// Channels, at least 1.
        channels: usize,
        /// Rows, at least 1.
        height: usize,
        /// Columns, at least 1.
        width: usize,
    },
    /// A vector of so many features, at least 1.
    Features(usize),
}

/// A tensor that a graph needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The node's name and the parameter's, for example `stem.conv.weight`.
    pub name: String,
    /// Its shape, see [`Weights`] for the layouts.
    pub shape: Vec<usize>,
    /// False for the running statistics of a batch norm, which no gradient changes.
    pub trained: bool,
}

impl Graph {
    /// The output shape of every node, in order; checks the whole graph.
    pub fn shapes(&self) -> Result<Vec<Shape>, GraphError> {
        infer::shapes(self)
    }

    /// Every tensor that the graph needs, in the order of the nodes.
    pub fn parameters(&self) -> Result<Vec<Parameter>, GraphError> {
        let shapes = self.shapes()?;
        let of_node = |node| infer::parameters(node, &shapes);
        Ok(self.nodes.iter().flat_map(of_node).collect())
    }

    /// The number of trained values, as papers count them: without running statistics.
    pub fn parameter_count(&self) -> Result<u64, GraphError> {
        infer::parameter_count(self)
    }

    /// Multiply-accumulate operations for one image, as papers count them: those of convolutions
    /// (padding included) and dense layers. Bias, norm, activation, pooling and addition are left
    /// out.
    pub fn macs(&self) -> Result<u64, GraphError> {
        infer::macs(self)
    }

    /// The node with this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The node whose output feeds the classifier: the input of the last dense layer, dropout left
    /// out. With everything before it frozen, its outputs can be computed once per image.
    pub fn feature_node(&self) -> Option<usize> {
        let dense = self
            .nodes
            .iter()
            .rposition(|node| matches!(node.op, Op::Dense { .. }))?;
        let mut index = *self.nodes[dense].inputs.first()?;
        while let Op::Dropout { .. } = self.nodes.get(index)?.op {
            index = *self.nodes[index]
                .inputs
                .first()
                .filter(|&&input| input < index)?;
        }
        (index < dense).then_some(index)
    }

    /// The graph that ends with node `last`: all nodes up to it. Panics if there is none.
    pub fn prefix(&self, last: usize) -> Graph {
        Graph {
            name: self.name.clone(),
            input: self.input,
            nodes: self.nodes[..=last].to_vec(),
        }
    }

    /// Checks that `weights` are exactly the graph's parameters: names, shapes, finite values.
    pub fn check(&self, weights: &Weights) -> Result<(), GraphError> {
        let parameters = self.parameters()?;
        for Parameter { name, shape, .. } in &parameters {
            let tensor = weights
                .get(name)
                .ok_or_else(|| GraphError::MissingParameter { name: name.clone() })?;
            if tensor.shape != *shape {
                return Err(GraphError::ParameterShape {
                    name: name.clone(),
                    expected: shape.clone(),
                    found: tensor.shape.clone(),
                });
            }
            let expected = shape.iter().product();
            let found = tensor.data.len();
            if found != expected {
                return Err(GraphError::ParameterLength {
                    name: name.clone(),
                    expected,
                    found,
                });
            }
            if !tensor.data.iter().all(|value| value.is_finite()) {
                return Err(GraphError::NotFinite { name: name.clone() });
            }
        }
        let known: HashSet<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
        match weights.keys().find(|name| !known.contains(name.as_str())) {
            Some(name) => Err(GraphError::UnknownParameter { name: name.clone() }),
            None => Ok(()),
        }
    }
}

impl Shape {
    /// The number of values, which [`Graph::shapes`] has checked to be a `usize`.
    pub fn len(&self) -> usize {
        match *self {
            Shape::Map {
                channels,
                height,
                width,
            } => channels * height * width,
            Shape::Features(features) => features,
        }
    }

    /// Whether there is no value; never so for a shape from [`Graph::shapes`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of channels of a map, or of features.
    pub fn channels(&self) -> usize {
        match *self {
            Shape::Map { channels, .. } => channels,
            Shape::Features(features) => features,
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shape::Map {
                channels,
                height,
                width,
            } => {
                write!(f, "a map of {channels}x{height}x{width}")
            }
            Shape::Features(features) => write!(f, "{features} features"),
        }
    }
}
