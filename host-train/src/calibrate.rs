//! Scores that mean what they say, and thresholds that follow from a wanted purity.

use models::LabelSet;

use crate::step::highest;

/// How strongly a temperature is held at 1: as if its logarithm had a deviation of a half. With few
/// photos there is little to fit it to.
const LOG_DEVIATION: f64 = 0.5;
/// Temperatures that are tried.
const TEMPERATURES: [f64; 2] = [0.05, 20.0];
/// Probabilities below are not told apart.
const LEAST: f64 = 1e-30;

/// The temperature by which logits are to be divided, so that scores fit how often they are right (Guo
/// et al., "On Calibration of Modern Neural Networks", 2017). `scores`: the softmax of each photo.
pub(crate) fn temperature(scores: &[Vec<f32>], items: &[usize]) -> f64 {
    let loss = |log: f64| {
        let scaled: Vec<Vec<f32>> = scores.iter().map(|row| rescaled(row, log.exp())).collect();
        log_loss(&scaled, items) * items.len() as f64 + (log / LOG_DEVIATION).powi(2) / 2.0
    };
    lowest(loss, TEMPERATURES.map(f64::ln)).exp()
}

/// Mean of the negative logarithm of the score that the right item has.
pub(crate) fn log_loss(scores: &[Vec<f32>], items: &[usize]) -> f64 {
    let photos = scores.iter().zip(items);
    let losses = photos.map(|(row, &item)| -f64::from(row[item]).max(LEAST).ln());
    losses.sum::<f64>() / items.len().max(1) as f64
}

/// Where a function with one valley is lowest (golden-section search).
fn lowest(f: impl Fn(f64) -> f64, [mut low, mut high]: [f64; 2]) -> f64 {
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    while high - low > 1e-4 {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if f(left) < f(right) {
            high = right;
        } else {
            low = left;
        }
    }
    (low + high) / 2.0
}

/// What a softmax would be after its logits were divided by the temperature.
pub(crate) fn rescaled(scores: &[f32], temperature: f64) -> Vec<f32> {
    let top = f64::from(scores[highest(scores)]).max(LEAST).ln();
    let power = |&score: &f32| ((f64::from(score).max(LEAST).ln() - top) / temperature).exp();
    let powers: Vec<f64> = scores.iter().map(power).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| (power / sum) as f32).collect()
}

/// The expected calibration error: how far the highest score is from how often it is right, over 15
/// equal ranges of the score, weighted by the photos in each.
pub(crate) fn calibration_error(scores: &[Vec<f32>], items: &[usize]) -> f64 {
    const RANGES: usize = 15;
    let mut apart = [0.0f64; RANGES];
    for (row, &item) in scores.iter().zip(items) {
        let best = highest(row);
        let range = ((row[best] * RANGES as f32) as usize).min(RANGES - 1);
        apart[range] += f64::from(row[best]) - f64::from(u8::from(best == item));
    }
    let sum: f64 = apart.iter().map(|difference| difference.abs()).sum();
    sum / scores.len().max(1) as f64
}

/// For every category the lowest threshold of its score, at least `floor`, with which at least its part
/// in `purity` of what is accepted as this category is of it; 1 where none of these photos allow that.
pub(crate) fn thresholds(
    scores: &[Vec<f32>],
    items: &[usize],
    labels: &LabelSet,
    purity: &[f64],
    floor: f32,
) -> Vec<f32> {
    let mut decided: Vec<Vec<(f32, bool)>> = vec![Vec::new(); labels.categories().len()];
    for (row, &item) in scores.iter().zip(items) {
        let sums = category_scores(row, labels);
        let category = highest(&sums);
        let right = category == labels.category_of(item);
        decided[category].push((sums[category], right));
    }
    let lowest = |(mut photos, &purity): (Vec<(f32, bool)>, &f64)| {
        photos.retain(|(score, _)| *score >= floor);
        if photos.is_empty() {
            return floor;
        }
        photos.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut right, mut threshold) = (0usize, 1.0);
        for (index, (score, is_right)) in photos.iter().enumerate() {
            right += usize::from(*is_right);
            let ends = photos.get(index + 1).is_none_or(|next| next.0 < *score);
            if ends && right as f64 >= purity * (index + 1) as f64 {
                // Halfway to the next one, which is not wanted; or all of them are.
                threshold = photos.get(index + 1).map_or(floor, |next| {
                    let middle = (score + next.0) / 2.0;
                    if middle > next.0 { middle } else { *score }
                });
            }
        }
        threshold
    };
    decided.into_iter().zip(purity).map(lowest).collect()
}

/// The summed scores of every category's items, as the sorting program decides.
pub(crate) fn category_scores(scores: &[f32], labels: &LabelSet) -> Vec<f32> {
    let mut sums = vec![0.0; labels.categories().len()];
    for (item, score) in scores.iter().enumerate() {
        sums[labels.category_of(item)] += score;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator, normal, unit};
    use proptest::prelude::*;

    /// Scores of random logits, and items that follow the softmax of the logits over `temperature`.
    fn drawn(photos: usize, temperature: f64) -> (Vec<Vec<f32>>, Vec<usize>) {
        let mut rng = generator(5, Purpose::Parity, [0; 3]);
        let mut all = (Vec::new(), Vec::new());
        for _ in 0..photos {
            let powers: Vec<f32> = (0..6).map(|_| (3.0 * normal(&mut rng)).exp()).collect();
            let sum: f32 = powers.iter().sum();
            let scores: Vec<f32> = powers.iter().map(|power| power / sum).collect();
            let mut left = unit(&mut rng);
            let truth = rescaled(&scores, temperature);
            let item = truth.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            all.0.push(scores);
            all.1.push(item.unwrap_or(5));
        }
        all
    }

    #[test]
    fn the_temperature_is_found_and_makes_scores_true() {
        for wanted in [0.6, 1.0, 2.5] {
            let (scores, items) = drawn(4000, wanted);
            let found = temperature(&scores, &items);
            assert!((found / wanted - 1.0).abs() < 0.08, "{found} {wanted}");
            let scaled: Vec<Vec<f32>> = scores.iter().map(|row| rescaled(row, found)).collect();
            let error = calibration_error(&scaled, &items);
            assert!(error < 0.025, "{error}");
            if wanted != 1.0 {
                assert!(calibration_error(&scores, &items) > 2.0 * error);
            }
        }
    }

    #[test]
    fn few_photos_hardly_move_it() {
        assert_eq!(temperature(&[], &[]).round(), 1.0);
        let found = temperature(&[vec![0.9, 0.1], vec![0.2, 0.8]], &[0, 1]);
        assert!((0.7..1.1).contains(&found), "{found}");
    }

    fn labels() -> LabelSet {
        let item = |category: &str, name: &str| (category.to_owned(), name.to_owned());
        let items = vec![item("a", "1"), item("a", "2"), item("b", "3")];
        LabelSet::new("test", items).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_as_pure_as_wanted(
            rows in proptest::collection::vec((0.0f32..1.0, 0.0f32..1.0, 0usize..3), 1..80),
            purity in 0.5f64..1.0,
        ) {
            let labels = labels();
            let scores: Vec<Vec<f32>> = rows
                .iter()
                .map(|(x, y, _)| vec![x * y, x * (1.0 - y), 1.0 - x])
                .collect();
            let items: Vec<usize> = rows.iter().map(|row| row.2).collect();
            let thresholds = thresholds(&scores, &items, &labels, &[purity; 2], 0.5);
            for (category, threshold) in thresholds.into_iter().enumerate() {
                prop_assert!((0.5..=1.0).contains(&threshold));
                let accepted: Vec<bool> = scores
                    .iter()
                    .zip(&items)
                    .filter(|(row, _)| {
                        let sums = category_scores(row, &labels);
                        highest(&sums) == category && sums[category] >= threshold
                    })
                    .map(|(_, &item)| labels.category_of(item) == category)
                    .collect();
                let right = accepted.iter().filter(|right| **right).count();
                // A threshold of 1 may still accept a score of 1.
                prop_assert!(
                    threshold == 1.0 || right as f64 >= purity * accepted.len() as f64,
                    "{right} of {}", accepted.len()
                );
            }
        }
    }
}
