//! One step of learning, and prediction: work on a batch, split over threads.

use std::ops::Range;

use anyhow::Result;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use models::LabelSet;

use crate::dropout::Dropout;
use crate::loader::in_order;
use crate::network::{BatchStatistics, Mode, Network, Norm};
use crate::value::{Value, floats};

/// How a batch is learned from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lesson {
    /// The node whose output the rows are: 0 for images.
    pub(crate) from: usize,
    /// The last node, from `from` on, that keeps its weights and statistics. All that is read after it
    /// must come from it alone.
    pub(crate) frozen: usize,
    /// Parts that are computed side by side, each with its own batch statistics.
    pub(crate) shards: usize,
    /// Threads that compute them; the result does not depend on it.
    pub(crate) threads: usize,
    /// How batch norms behave.
    pub(crate) norm: Norm,
    /// See `StageConfig::label_smoothing`.
    pub(crate) label_smoothing: f64,
    /// Seed of the dropout masks.
    pub(crate) seed: u64,
    /// Steps before this one, over all stages.
    pub(crate) step: u64,
}

/// What a row should be recognised as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) item: usize,
    /// The item of what was mixed into the row, and how much of the row that is.
    pub(crate) mixed: (usize, f32),
    /// How much the row counts; 1 on average.
    pub(crate) weight: f32,
}

impl Target {
    /// This item alone.
    pub(crate) fn new(item: usize) -> Target {
        Target {
            item,
            mixed: (item, 0.0),
            weight: 1.0,
        }
    }
}

/// What a batch taught.
pub(crate) struct Learned {
    pub(crate) gradients: GradientsParams,
    pub(crate) statistics: Vec<Vec<BatchStatistics>>,
    /// Mean over the rows.
    pub(crate) loss: f64,
    /// Rows whose item had the highest output.
    pub(crate) correct: usize,
}

/// The gradient of the mean loss over rows with these targets; `rows` gives the numbers of a range.
pub(crate) fn learn(
    network: &Network,
    device: &Device,
    lesson: Lesson,
    targets: &[Target],
    rows: impl Fn(Range<usize>) -> Result<Vec<f32>> + Sync,
) -> Result<Learned> {
    let parts = split(targets.len(), lesson.shards);
    let learn_part = |part: usize| {
        let range = parts[part].clone();
        let input = Value::new(rows(range.clone())?, network.shape(lesson.from), device);
        // Nothing is recorded in the part that does not learn.
        let input = network.run(lesson.from, lesson.frozen, input, Mode::Inference);
        let input = input.0.autodiff();
        let network = network.tracked(lesson.frozen);
        let dropout = Dropout {
            seed: lesson.seed,
            step: lesson.step,
            first_row: range.start,
        };
        let mode = Mode::Training {
            norm: lesson.norm,
            dropout: &dropout,
        };
        let (logits, statistics) = network.forward(lesson.frozen, input, mode);
        let here = &targets[range];
        let correct = count_correct(logits.clone().inner(), here);
        let loss = cross_entropy(logits, here, lesson.label_smoothing, targets.len());
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        Ok((gradients, statistics, floats(loss.inner())[0], correct))
    };
    let mut sum = GradientsAccumulator::new();
    let mut learned = Learned {
        gradients: GradientsParams::new(),
        statistics: Vec::new(),
        loss: 0.0,
        correct: 0,
    };
    in_order(lesson.threads, parts.len(), learn_part, |_, part| {
        let (gradients, statistics, loss, correct) = part;
        sum.accumulate(network, gradients);
        learned.statistics.push(statistics);
        learned.loss += f64::from(loss);
        learned.correct += correct;
        Ok(())
    })?;
    learned.gradients = sum.grads();
    Ok(learned)
}

/// The outputs of node `to` for `count` rows of node `from`, computed in parts of `part` rows.
pub(crate) fn predict(
    network: &Network,
    device: &Device,
    [from, to]: [usize; 2],
    threads: usize,
    count: usize,
    part: usize,
    rows: impl Fn(Range<usize>) -> Result<Vec<f32>> + Sync,
) -> Result<Vec<f32>> {
    let compute = |index: usize| {
        let range = index * part..((index + 1) * part).min(count);
        let input = Value::new(rows(range)?, network.shape(from), device);
        Ok(network.run(from, to, input, Mode::Inference).0.floats())
    };
    let mut outputs = Vec::with_capacity(count * network.shape(to).len());
    in_order(threads, count.div_ceil(part), compute, |_, output| {
        outputs.extend_from_slice(&output);
        Ok(())
    })?;
    Ok(outputs)
}

/// `count` rows in at most `parts` parts of nearly the same size, none of them empty.
pub(crate) fn split(count: usize, parts: usize) -> Vec<Range<usize>> {
    let parts = parts.clamp(1, count.max(1));
    (0..parts)
        .map(|part| part * count / parts..(part + 1) * count / parts)
        .collect()
}

/// The summed cross entropy with smoothed labels, over `total`.
fn cross_entropy(logits: Tensor<2>, targets: &[Target], smoothing: f64, total: usize) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    let device = logits.device();
    let wanted = wanted(targets, classes, smoothing);
    let wanted = Tensor::<2>::from_data(TensorData::new(wanted, [rows, classes]), &device);
    (log_softmax(logits, 1) * wanted).sum() / -(total as f32)
}

/// The wanted probabilities, times the rows' weights.
fn wanted(targets: &[Target], classes: usize, smoothing: f64) -> Vec<f32> {
    let mut wanted = vec![(smoothing / classes as f64) as f32; targets.len() * classes];
    for (row, target) in wanted.chunks_exact_mut(classes).zip(targets) {
        let (other, share) = target.mixed;
        let sure = (1.0 - smoothing) as f32;
        row[target.item] += sure * (1.0 - share);
        row[other] += sure * share;
        row.iter_mut().for_each(|value| *value *= target.weight);
    }
    wanted
}

fn count_correct(logits: Tensor<2>, targets: &[Target]) -> usize {
    let [_, classes] = logits.dims();
    let rows = floats(logits);
    rows.chunks_exact(classes)
        .zip(targets)
        .filter(|(row, target)| highest(row) == target.item)
        .count()
}

/// The index of the highest value, the first of equal ones.
pub(crate) fn highest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// How well outputs fit the items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Score {
    /// Mean cross entropy, without smoothing.
    pub(crate) loss: f64,
    pub(crate) item_accuracy: f64,
    pub(crate) category_accuracy: f64,
}

/// Scores logits, rows of one value per item: the item with the highest one, and the category with
/// the highest summed probability, as the sorting program decides.
pub(crate) fn score(logits: &[f32], items: &[usize], labels: &LabelSet) -> Score {
    let (mut loss, mut right_items, mut right_categories) = (0.0, 0usize, 0usize);
    for (row, &item) in logits.chunks_exact(labels.len()).zip(items) {
        let top = f64::from(row[highest(row)]);
        let powers: Vec<f64> = row.iter().map(|&x| (f64::from(x) - top).exp()).collect();
        loss += powers.iter().sum::<f64>().ln() + top - f64::from(row[item]);
        let mut sums = vec![0.0f32; labels.categories().len()];
        for (index, power) in powers.iter().enumerate() {
            sums[labels.category_of(index)] += *power as f32;
        }
        let category = highest(&sums);
        right_categories += usize::from(category == labels.category_of(item));
        right_items += usize::from(highest(row) == item);
    }
    let count = items.len().max(1) as f64;
    Score {
        loss: loss / count,
        item_accuracy: right_items as f64 / count,
        category_accuracy: right_categories as f64 / count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_probabilities_are_smoothed_mixed_and_weighted() {
        let plain = Target::new(1);
        let mixed = Target {
            mixed: (3, 0.25),
            weight: 2.0,
            ..Target::new(0)
        };
        let found = wanted(&[plain, mixed], 4, 0.1);
        let expected = [0.025, 0.925, 0.025, 0.025, 1.4, 0.05, 0.05, 0.5];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
