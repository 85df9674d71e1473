//! Features of mean 0 and deviation 1, and the classifier on top of them.

use models::Weights;
use serde::{Deserialize, Serialize};

/// Scales features to mean 0 and deviation 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scaler {
    pub(crate) mean: Vec<f32>,
    pub(crate) deviation: Vec<f32>,
}

impl Scaler {
    /// Measures `features`, rows of `width` values.
    pub(crate) fn measure(features: &[f32], width: usize) -> Scaler {
        let rows = (features.len() / width).max(1) as f64;
        let mut sums = vec![(0.0f64, 0.0f64); width];
        for row in features.chunks_exact(width) {
            for ((sum, squares), &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
                *squares += f64::from(value) * f64::from(value);
            }
        }
        let moments = sums.iter().map(|(sum, squares)| {
            let mean = sum / rows;
            let deviation = (squares / rows - mean * mean).max(0.0).sqrt();
            // A feature that never changes says nothing: leave its scale alone.
            (
                mean as f32,
                if deviation > 1e-6 {
                    deviation as f32
                } else {
                    1.0
                },
            )
        });
        let (mean, deviation) = moments.unzip();
        Scaler { mean, deviation }
    }

    /// Scales rows of features.
    pub(crate) fn apply(&self, features: &mut [f32]) {
        for row in features.chunks_exact_mut(self.mean.len()) {
            for ((value, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
                *value = (*value - mean) / deviation;
            }
        }
    }

    /// Makes a classifier that was trained on scaled features work on unscaled ones.
    pub(crate) fn fold_into(&self, weights: &mut Weights, classifier: &str) {
        self.change(weights, classifier, |weight, mean, deviation| {
            let folded = weight / f64::from(deviation);
            (folded, -folded * f64::from(mean))
        });
    }

    /// The reverse of [`Scaler::fold_into`].
    pub(crate) fn unfold_from(&self, weights: &mut Weights, classifier: &str) {
        self.change(weights, classifier, |weight, mean, deviation| {
            (weight * f64::from(deviation), weight * f64::from(mean))
        });
    }

    /// Replaces each weight, and adds to the bias of its row, what `new` says.
    fn change(
        &self,
        weights: &mut Weights,
        classifier: &str,
        new: impl Fn(f64, f32, f32) -> (f64, f64),
    ) {
        let mut biases = vec![];
        if let Some(matrix) = weights.get_mut(&format!("{classifier}.weight")) {
            for row in matrix.data.chunks_exact_mut(self.mean.len()) {
                let mut bias = 0.0;
                for ((value, &mean), &deviation) in
                    row.iter_mut().zip(&self.mean).zip(&self.deviation)
                {
                    let (weight, summand) = new(f64::from(*value), mean, deviation);
                    *value = weight as f32;
                    bias += summand;
                }
                biases.push(bias);
            }
        }
        if let Some(bias) = weights.get_mut(&format!("{classifier}.bias")) {
            for (value, summand) in bias.data.iter_mut().zip(biases) {
                *value = (f64::from(*value) + summand) as f32;
            }
        }
    }
}
