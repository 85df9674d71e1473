//! What can be wrong with a graph.

use thiserror::Error;

use super::Shape;

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
    /// A product of a map and features where the counts do not match.
    #[error("node {node:?} multiplies {map} by {features}")]
    ChannelsDiffer {
        /// The node's name.
        node: String,
        /// The first input.
        map: Shape,
        /// The second.
        features: Shape,
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
    #[error("node {node:?}: a kernel of {kernel} on a padded input of {padded}")]
    KernelTooLarge {
        /// The node's name.
        node: String,
        /// Rows or columns of the input with its padding.
        padded: usize,
        /// Rows or columns of the kernel.
        kernel: usize,
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
