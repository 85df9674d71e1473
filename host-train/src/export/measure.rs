//! What a trained network is worth, measured as the sorting program will run it.

use anyhow::{Context, Result};
use dataset::Dataset;
use inference::Classifier;
use models::{Accuracy, Bundle, RgbView, passes};

use super::{Args, Trained};
use crate::calibrate;
use crate::loader::in_order;
use crate::onnx::encode;
use crate::progress::Progress;
use crate::step::highest;
use crate::trainer::classifier;

impl Trained {
    /// The scores of what is going to run, through the code that is going to run it.
    pub(crate) fn scores(&self, bundle: &Bundle, data: &Dataset) -> Result<Vec<Vec<f32>>> {
        let count = data.samples.len();
        let threads = self.config.threads.min(count);
        let progress = Progress::new("measuring", "photos", count as u64);
        let measure_part = |part: usize| {
            let mut classifier = Classifier::new(bundle, 1)?;
            let mut scores = Vec::new();
            for sample in data.samples.iter().skip(part).step_by(threads) {
                let path = data.path(sample);
                let name = || path.display().to_string();
                let photo = dataset::decode(&path).with_context(name)?;
                let view = RgbView::new(photo.as_raw(), photo.width(), photo.height())?;
                let verdict = classifier.classify(view, None).with_context(name)?;
                scores.push(verdict.item_scores.clone());
                progress.advance(1);
            }
            Ok(scores)
        };
        let mut all = vec![Vec::new(); count];
        in_order(threads, threads, measure_part, |part, scores| {
            for (index, row) in scores.into_iter().enumerate() {
                all[index * threads + part] = row;
            }
            Ok(())
        })?;
        progress.finish();
        Ok(all)
    }

    /// Divides the logits by the temperature that makes the scores fit these photos, and sets the
    /// thresholds that give the wanted purity on them.
    pub(super) fn calibrate(
        &mut self,
        args: &Args,
        bundle: &mut Bundle,
        data: &Dataset,
    ) -> Result<()> {
        let scores = self.scores(bundle, data)?;
        let items: Vec<usize> = data.samples.iter().map(|sample| sample.item).collect();
        let temperature = calibrate::temperature(&scores, &items);
        let rescale = |row: &Vec<f32>| calibrate::rescaled(row, temperature);
        let rescaled: Vec<Vec<f32>> = scores.iter().map(rescale).collect();
        say!(
            "calibrated on {} photos: temperature {temperature:.2}, log loss {:.4} before and {:.4} after, \
             expected calibration error {:.2}% and {:.2}%",
            items.len(),
            calibrate::log_loss(&scores, &items),
            calibrate::log_loss(&rescaled, &items),
            calibrate::calibration_error(&scores, &items) * 100.0,
            calibrate::calibration_error(&rescaled, &items) * 100.0
        );
        let node = classifier(&self.graph);
        for name in [format!("{node}.weight"), format!("{node}.bias")] {
            for value in self
                .weights
                .get_mut(&name)
                .iter_mut()
                .flat_map(|t| &mut t.data)
            {
                *value = (f64::from(*value) / temperature) as f32;
            }
        }
        let (graph, weights) = passes::fold_batch_norm(&self.graph, &self.weights)?;
        bundle.onnx = encode(&graph, &weights, args.weights)?;
        if let Some(purity) = args.purity {
            let labels = &self.labels;
            let floor = args.reject_below;
            let found = calibrate::thresholds(&rescaled, &items, labels, purity, floor);
            for (category, threshold) in labels.categories().iter().zip(&found) {
                say!("{category}: rejected below {threshold:.3}");
            }
            bundle.manifest.reject_thresholds = found;
        }
        Ok(())
    }

    /// The accuracy of what is going to run.
    pub(super) fn measure(&self, bundle: &Bundle, data: &Dataset) -> Result<Accuracy> {
        let count = data.samples.len();
        let (mut items, mut categories) = (0u64, 0u64);
        for (scores, sample) in self.scores(bundle, data)?.iter().zip(&data.samples) {
            let category = highest(&calibrate::category_scores(scores, &self.labels));
            items += u64::from(highest(scores) == sample.item);
            categories += u64::from(category == self.labels.category_of(sample.item));
        }
        let folder = data
            .root
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let split = data.samples[0].split.as_deref().unwrap_or("validation");
        Ok(Accuracy {
            data: format!("{} {split}", folder.as_deref().unwrap_or("data")),
            items: count as u64,
            item_accuracy: items as f64 / count as f64,
            category_accuracy: categories as f64 / count as f64,
        })
    }
}
