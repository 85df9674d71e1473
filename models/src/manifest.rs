//! What a bundle says about its network.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::labels::LabelSet;
use crate::preprocess::{PreprocessError, PreprocessSpec};

/// Longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// Longest text (the config of a training run), in bytes.
pub const MAX_TEXT_BYTES: usize = 256 * 1024;

/// Everything about a trained network but its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The model's name, chosen by who trained it.
    pub name: String,
    /// Rises with every model of this name.
    pub version: u32,
    /// The network's name in the [zoo](crate::zoo).
    pub network: String,
    /// What the outputs mean, in their order.
    pub labels: LabelSet,
    /// How a frame becomes the input.
    pub preprocess: PreprocessSpec,
    /// Trained values before folding, as papers count them.
    pub parameters: u64,
    /// Multiply-accumulate operations per frame, as papers count them.
    pub macs: u64,
    /// In what numbers the network computes.
    pub precision: Precision,
    /// Per category, in the order of [`LabelSet::categories`]: a category whose summed score is
    /// below it is rejected. In `0.0..=1.0`.
    pub reject_thresholds: Vec<f32>,
    /// What was measured, if anything was.
    pub accuracy: Option<Accuracy>,
    /// Where the model comes from.
    pub provenance: Provenance,
}

/// In what numbers a network computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 8-bit integers.
    Int8,
    /// 32-bit floating point, with weights stored as 8-bit integers.
    Int8Weights,
}

/// Measured on pictures that were not trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Which pictures.
    pub data: String,
    /// How many, at least 1.
    pub items: u64,
    /// Fraction whose item was right, in `0.0..=1.0`.
    pub item_accuracy: f64,
    /// Fraction whose category was right, in `0.0..=1.0`.
    pub category_accuracy: f64,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Hash of the training data.
    pub data_hash: String,
    /// The settings of the training run, as text.
    pub config: String,
    /// Seed of the training run.
    pub seed: u64,
    /// Name and version of the program that wrote the bundle.
    pub tool: String,
}

/// A field of a manifest that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// A name is empty, too long or holds a control character.
    #[error("{field} is empty, longer than {MAX_NAME_BYTES} bytes or holds control characters")]
    Name {
        /// Which.
        field: &'static str,
    },
    /// A text is too long.
    #[error("{field} is longer than {MAX_TEXT_BYTES} bytes")]
    Text {
        /// Which.
        field: &'static str,
    },
    /// The preprocessing is not valid.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// Not as many thresholds as categories.
    #[error("{found} reject thresholds for {expected} categories")]
    ThresholdCount {
        /// Categories.
        expected: usize,
        /// Thresholds.
        found: usize,
    },
    /// A number outside 0 to 1.
    #[error("{field} is not a number from 0 to 1")]
    Fraction {
        /// Which.
        field: &'static str,
    },
    /// An accuracy measured on nothing.
    #[error("the accuracy was measured on 0 items")]
    NoItems,
}

impl Manifest {
    /// Whether every field makes sense.
    pub fn check(&self) -> Result<(), ManifestError> {
        check_name("the name", &self.name)?;
        check_name("the network", &self.network)?;
        check_name("the tool", &self.provenance.tool)?;
        check_text("the data hash", &self.provenance.data_hash)?;
        check_text("the config", &self.provenance.config)?;
        self.preprocess.check()?;
        let (expected, found) = (self.labels.categories().len(), self.reject_thresholds.len());
        if expected != found {
            return Err(ManifestError::ThresholdCount { expected, found });
        }
        for &threshold in &self.reject_thresholds {
            check_fraction("a reject threshold", threshold.into())?;
        }
        if let Some(accuracy) = &self.accuracy {
            check_text("the data of the accuracy", &accuracy.data)?;
            check_fraction("the item accuracy", accuracy.item_accuracy)?;
            check_fraction("the category accuracy", accuracy.category_accuracy)?;
            if accuracy.items == 0 {
                return Err(ManifestError::NoItems);
            }
        }
        Ok(())
    }
}

fn check_name(field: &'static str, name: &str) -> Result<(), ManifestError> {
    let good =
        !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
    if good {
        Ok(())
    } else {
        Err(ManifestError::Name { field })
    }
}

fn check_text(field: &'static str, text: &str) -> Result<(), ManifestError> {
    if text.len() <= MAX_TEXT_BYTES {
        Ok(())
    } else {
        Err(ManifestError::Text { field })
    }
}

fn check_fraction(field: &'static str, value: f64) -> Result<(), ManifestError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(ManifestError::Fraction { field })
    }
}
