//! What a trained network is worth, measured as the sorting program will run it.

use anyhow::Result;
use dataset::Dataset;
use models::{Accuracy, Bundle, Weights};

use super::{Destination, Trained};
use crate::calibrate;
use crate::progress::Progress;
use crate::squares::Squares;
use crate::trainer::classifier;

/// A temperature, and what follows from it.
pub(crate) struct Calibration {
    temperature: f64,
    /// Per category, where a purity is wanted.
    thresholds: Option<Vec<f32>>,
}

impl Trained {
    /// Photos as this network takes them.
    pub(crate) fn squares(&self, data: &Dataset) -> Result<Squares> {
        Squares::read(data, &self.spec, self.config.threads)
    }

    /// What a bundle says about photos.
    pub(crate) fn scores(&self, bundle: &Bundle, photos: &Squares) -> Result<Vec<Vec<f32>>> {
        let progress = Progress::new("measuring", "photos", photos.len() as u64);
        let scores = photos.scores(bundle, &progress)?;
        progress.finish();
        Ok(scores)
    }

    /// The temperature that makes scores fit these photos, and thresholds that give the wanted purity on
    /// them.
    pub(crate) fn calibration(
        &self,
        wanted: &Destination,
        scores: &[Vec<f32>],
        items: &[usize],
    ) -> Result<Calibration> {
        let temperature = calibrate::temperature(scores, items);
        let rescale = |row: &Vec<f32>| calibrate::rescaled(row, temperature);
        let rescaled: Vec<Vec<f32>> = scores.iter().map(rescale).collect();
        say!(
            "calibrated on {} photos: temperature {temperature:.2}, log loss {:.4} before and {:.4} after, \
             expected calibration error {:.2}% and {:.2}%",
            items.len(),
            calibrate::log_loss(scores, items),
            calibrate::log_loss(&rescaled, items),
            calibrate::calibration_error(scores, items) * 100.0,
            calibrate::calibration_error(&rescaled, items) * 100.0
        );
        let thresholds = wanted.wanted_purity(&self.labels)?.map(|purity| {
            let floor = wanted.reject_below;
            let found = calibrate::thresholds(&rescaled, items, &self.labels, &purity, floor);
            for (category, threshold) in self.labels.categories().iter().zip(&found) {
                say!("{category}: rejected below {threshold:.3}");
            }
            found
        });
        Ok(Calibration {
            temperature,
            thresholds,
        })
    }

    /// The accuracy that these scores mean.
    pub(crate) fn accuracy(
        &self,
        data: &Dataset,
        photos: &Squares,
        scores: &[Vec<f32>],
    ) -> Accuracy {
        let count = photos.len();
        let [items, categories] = photos.right(scores, &self.labels);
        let folder = data
            .root
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let split = data.samples[0].split.as_deref().unwrap_or("validation");
        Accuracy {
            data: format!("{} {split}", folder.as_deref().unwrap_or("data")),
            items: count as u64,
            item_accuracy: items as f64 / count as f64,
            category_accuracy: categories as f64 / count as f64,
        }
    }

    /// The last layer of these weights with logits divided by the temperature.
    pub(crate) fn cool(&self, weights: &mut Weights, calibration: &Calibration) {
        let node = classifier(&self.graph);
        for name in [format!("{node}.weight"), format!("{node}.bias")] {
            let values = weights.get_mut(&name).into_iter().flat_map(|t| &mut t.data);
            values.for_each(|value| *value = (f64::from(*value) / calibration.temperature) as f32);
        }
    }
}

impl Calibration {
    /// Sets the thresholds, if there are any.
    pub(crate) fn apply(&self, bundle: &mut Bundle) {
        if let Some(thresholds) = &self.thresholds {
            bundle.manifest.reject_thresholds.clone_from(thresholds);
        }
    }
}
