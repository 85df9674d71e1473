//! What a model is, for the trainer and the sorting program alike: networks as data, label sets,
//! preprocessing and the bundle that carries all of it from one to the other.
//!
//! This crate knows no training or inference framework and touches no device. Its parts:
//!
//! - [`graph`]: a network as a list of named nodes, with shape inference and counts;
//! - [`zoo`]: functions that build the graphs of published networks;
//! - [`weights`]: named tensors that belong to a graph;
//! - [`passes`]: rewrites of graph and weights together;
//! - [`mod@quantize`]: what a network is in 8 bits;
//! - [`reference`](mod@reference): a slow, plain evaluator that says what a graph means;
//! - [`labels`]: which item belongs to which category;
//! - [`preprocess`]: from a frame to the network's input, the only place where pixels become
//!   numbers;
//! - [`bundle`]: the file format; [`key`]: who signs it.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod blob;
pub mod bundle;
pub mod graph;
pub mod key;
pub mod labels;
pub mod manifest;
pub mod passes;
pub mod preprocess;
pub mod quantize;
pub mod reference;
pub mod weights;
pub mod zoo;

pub use blob::Blob;
pub use bundle::{Bundle, BundleError};
pub use graph::{Graph, GraphError, Node, Op};
pub use labels::{LabelError, LabelSet};
pub use manifest::{Accuracy, Manifest, Precision, Provenance};
pub use preprocess::{Filter, PreprocessError, PreprocessSpec, Preprocessor, Region, RgbView};
pub use weights::{Tensor, Weights};
