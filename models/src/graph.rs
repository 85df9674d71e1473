//! A network as data: named nodes in topological order.
//!
//! A graph says what a network computes, not how. The trainer interprets it, the exporter writes
//! it as ONNX, [passes](crate::passes) rewrite it. All shapes here leave out the batch dimension.

mod infer;

use std::collections::HashSet;

use thiserror::Error;

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

/// What a node computes. "Map" is channels x height x width, "features" a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// The network's input, a map of shape [`Graph::input`].
    Input,
    /// Two-dimensional convolution (cross-correlation, as everywhere in this field): map to map.
    /// Parameters: `weight` `[out, in / groups, height, width]` and, if `bias`, `bias` `[out]`.
    Conv {
        /// Output channels.
        out: usize,
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Step of the kernel, the same in both directions.
        stride: usize,
        /// Zeros put around the input.
        padding: Padding,
        /// Channels are split into so many independent convolutions.
        groups: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Batch normalisation (Ioffe and Szegedy 2015), map to map:
    /// `(x - mean) / sqrt(var + eps) * weight + bias`, each parameter `[channels]`.
    BatchNorm {
        /// Added to the variance.
        eps: f64,
    },
    /// An element-wise function, any shape.
    Activation(Activation),
    /// The mean of every channel: map to features.
    GlobalAvgPool,
    /// A fully connected layer, features to features: `weight` `[out, in]`, `bias` `[out]`.
    Dense {
        /// Output features.
        out: usize,
    },
    /// The sum of two inputs of one shape.
    Add,
    /// Sets inputs to zero with probability `p` while training and scales the others by
    /// `1 / (1 - p)`; does nothing in inference. Any shape.
    Dropout {
        /// In `0.0..1.0`.
        p: f64,
    },
}

/// An element-wise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
}

/// How many zeros are put around a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// TensorFlow's rule: so many that the output has `ceil(input / stride)` rows and columns;
    /// where the number is odd, the bottom and the right get the extra one.
    Same,
    /// These.
    Explicit {
        /// Rows above.
        top: usize,
        /// Columns to the left.
        left: usize,
        /// Rows below.
        bottom: usize,
        /// Columns to the right.
        right: usize,
    },
}

/// Padding in numbers, see [`Padding::resolve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pads {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
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

/// What is wrong with a graph, or with weights that should fit it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphError {
    /// No node.
    #[error("the graph has no nodes")]
    Empty,
    /// Node 0 must be the input, and no other.
    #[error("node {node:?}: the first node, and no other, must be the input")]
    MisplacedInput {
        /// The node's name.
        node: String,
    },
    /// Parameters are named after nodes, so names must be unique.
    #[error("two nodes are called {node:?}")]
    DuplicateName {
        /// The common name.
        node: String,
    },
    /// A node takes its own or a later node's output.
    #[error("node {node:?} takes the output of node {input}, which does not come before it")]
    InputOrder {
        /// The node's name.
        node: String,
        /// The index it names.
        input: usize,
    },
    /// Wrong number of inputs.
    #[error("node {node:?} has {found} inputs and needs {expected}")]
    InputCount {
        /// The node's name.
        node: String,
        /// As many as the operation takes.
        expected: usize,
        /// As many as it has.
        found: usize,
    },
    /// A map where features are needed, or the reverse.
    #[error("node {node:?} needs {expected} and gets {found}")]
    InputKind {
        /// The node's name.
        node: String,
        /// `a map` or `features`.
        expected: &'static str,
        /// The shape it gets.
        found: Shape,
    },
    /// An addition of different shapes.
    #[error("node {node:?} adds {left} and {right}")]
    ShapesDiffer {
        /// The node's name.
        node: String,
        /// The first input.
        left: Shape,
        /// The second.
        right: Shape,
    },
    /// A number that makes no sense there.
    #[error("node {node:?}: {what}")]
    Value {
        /// The node's name.
        node: String,
        /// Which number, and why.
        what: &'static str,
    },
    /// A kernel that does not fit into its padded input.
    #[error("node {node:?}: the kernel is larger than its padded input ({input})")]
    KernelTooLarge {
        /// The node's name.
        node: String,
        /// The input without padding.
        input: Shape,
    },
    /// A size or a count beyond what the machine can number.
    #[error("node {node:?}: sizes too large")]
    Overflow {
        /// The node's name.
        node: String,
    },
    /// The weights lack a parameter.
    #[error("the weights have no {name:?}")]
    MissingParameter {
        /// The parameter's name.
        name: String,
    },
    /// The weights have a tensor for which the graph has no use.
    #[error("the network has no parameter {name:?}")]
    UnknownParameter {
        /// The tensor's name.
        name: String,
    },
    /// A tensor of another shape.
    #[error("{name:?} has the shape {found:?} instead of {expected:?}")]
    ParameterShape {
        /// The parameter's name.
        name: String,
        /// The graph's.
        expected: Vec<usize>,
        /// The tensor's.
        found: Vec<usize>,
    },
    /// A tensor whose data does not fill its shape.
    #[error("{name:?} holds {found} values instead of {expected}")]
    ParameterLength {
        /// The parameter's name.
        name: String,
        /// The product of its shape.
        expected: usize,
        /// The length of its data.
        found: usize,
    },
    /// A value that is infinite or not a number.
    #[error("{name:?} holds a value that is infinite or not a number")]
    NotFinite {
        /// The parameter's name.
        name: String,
    },
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

impl Padding {
    /// The same number of zeros on all four sides.
    pub const fn all(n: usize) -> Padding {
        Padding::Explicit {
            top: n,
            left: n,
            bottom: n,
            right: n,
        }
    }

    /// The padding in numbers for an input of `input` = height, width. `stride` must not be 0.
    pub fn resolve(self, input: [usize; 2], kernel: [usize; 2], stride: usize) -> Pads {
        match self {
            Padding::Explicit {
                top,
                left,
                bottom,
                right,
            } => Pads {
                top,
                left,
                bottom,
                right,
            },
            Padding::Same => {
                let total = |input: usize, kernel: usize| {
                    let covered = (input.div_ceil(stride).saturating_sub(1))
                        .saturating_mul(stride)
                        .saturating_add(kernel);
                    covered.saturating_sub(input)
                };
                let (rows, columns) = (total(input[0], kernel[0]), total(input[1], kernel[1]));
                let (top, left) = (rows / 2, columns / 2);
                Pads {
                    top,
                    left,
                    bottom: rows - top,
                    right: columns - left,
                }
            }
        }
    }
}
