//! Runs a bundle with tract: frame in, verdict out, on host and board alike.
//!
//! ```text
//! frame ── Preprocessor ──▶ [1,3,S,S] ── tract ──▶ logits ── softmax, sums ──▶ Verdict
//! ```
//!
//! [`Classifier`] holds one network ready to run, with its buffers; what it computes for a frame
//! does not depend on the frames before. Evaluation on the host and sorting on the board both go
//! through it, so that what is measured is what runs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod classifier;
mod extractor;
mod float;
mod network;
mod onnx;
mod profile;
mod quantized;
mod quiet;
mod ranks;
mod region;
mod verdict;

use models::PreprocessError;
use models::manifest::ManifestError;
use thiserror::Error;

pub use classifier::Classifier;
pub use extractor::Extractor;
pub use kernels::cores;
pub use profile::{Engine, LayerTime};
pub use verdict::{Decision, Verdict};

/// Why a bundle cannot be run, or a frame not be classified.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InferenceError {
    /// The bundle's manifest contradicts itself.
    #[error("the bundle's manifest is not valid: {0}")]
    Manifest(#[from] ManifestError),
    /// A thread count of 0.
    #[error("a classifier needs at least one thread")]
    NoThreads,
    /// Cores that threads cannot be kept on.
    #[error("threads cannot be kept on the cores {0:?}: {1}")]
    Cores(Vec<usize>, String),
    /// The network is no ONNX that can be loaded and run.
    #[error("the bundle's network cannot be run: {0}")]
    Network(String),
    /// The network uses an operator that no classifier needs.
    #[error(
        "the bundle's network uses the operator {operator:?} (node {node:?}), which is not run here"
    )]
    Operator {
        /// The ONNX operator, with its domain where that is not the standard one.
        operator: String,
        /// The node's name.
        node: String,
    },
    /// Input or output are not what the manifest says.
    #[error("the bundle's network has the {end} {found}, but its manifest says {expected}")]
    Facts {
        /// `input` or `output`.
        end: &'static str,
        /// What the manifest implies.
        expected: String,
        /// What the network has.
        found: String,
    },
    /// A frame or region that cannot be preprocessed.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// A tensor of the wrong length.
    #[error("the network takes {expected} values, not {found}")]
    TensorLength {
        /// `3 * S * S`.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The network failed on an input.
    #[error("the network failed: {0}")]
    Run(String),
}
