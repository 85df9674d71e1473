//! From a network's logits to what is said about a frame.

use models::Manifest;

/// What to do with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It belongs to this category (an index into the label set's categories).
    Category(usize),
    /// The best category's score is below its threshold, or the scores are no numbers.
    Reject,
}

/// What a classifier says about one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Softmax over the items, by item id; adds up to 1. All 0 where the network gave no numbers.
    pub item_scores: Vec<f32>,
    /// The sum of its items' scores, by category; adds up to 1.
    pub category_scores: Vec<f32>,
    /// The best item of the best category. It need not be the best item of all, see
    /// [`Verdict::best_item`].
    pub item: usize,
    /// The category with the largest sum.
    pub category: usize,
    /// The category, or a reject.
    pub decision: Decision,
}

impl Verdict {
    /// The item with the largest score of all, whatever its category.
    pub fn best_item(&self) -> usize {
        largest(self.item_scores.iter().copied().enumerate())
    }

    /// The score of [`Verdict::item`], 0 to 1.
    pub fn item_score(&self) -> f32 {
        self.item_scores[self.item]
    }

    /// The score of [`Verdict::category`], 0 to 1.
    pub fn category_score(&self) -> f32 {
        self.category_scores[self.category]
    }
}

/// Makes verdicts: which item is of which category, and when to reject.
pub(crate) struct Judge {
    category_of: Vec<usize>,
    thresholds: Vec<f32>,
}

impl Judge {
    pub(crate) fn new(manifest: &Manifest) -> Judge {
        let labels = &manifest.labels;
        Judge {
            category_of: (0..labels.len())
                .map(|item| labels.category_of(item))
                .collect(),
            thresholds: manifest.reject_thresholds.clone(),
        }
    }

    pub(crate) fn blank(&self) -> Verdict {
        Verdict {
            item_scores: vec![0.0; self.category_of.len()],
            category_scores: vec![0.0; self.thresholds.len()],
            item: 0,
            category: 0,
            decision: Decision::Reject,
        }
    }

    /// Fills `verdict` (made by [`Judge::blank`]) from one logit per item.
    pub(crate) fn judge(&self, logits: &[f32], verdict: &mut Verdict) {
        verdict.category_scores.fill(0.0);
        let sane = softmax(logits, &mut verdict.item_scores);
        for (score, category) in verdict.item_scores.iter().zip(&self.category_of) {
            verdict.category_scores[*category] += score;
        }
        for sum in &mut verdict.category_scores {
            // Rounding may carry a sum just over 1.
            *sum = sum.min(1.0);
        }
        let category = largest(verdict.category_scores.iter().copied().enumerate());
        let of_category = verdict.item_scores.iter().copied().enumerate();
        verdict.category = category;
        verdict.item = largest(of_category.filter(|(item, _)| self.category_of[*item] == category));
        verdict.decision = if sane && verdict.category_score() >= self.thresholds[category] {
            Decision::Category(category)
        } else {
            Decision::Reject
        };
    }
}

/// Softmax in f64, so that no sum over many items drifts; false, and zeros, where it has no value.
fn softmax(logits: &[f32], scores: &mut [f32]) -> bool {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |logit: f32| f64::from(logit - max).exp();
    let sum: f64 = logits.iter().map(|logit| exp(*logit)).sum();
    // A NaN, or an infinity as the maximum, makes the sum NaN.
    let sane = sum.is_finite() && max.is_finite();
    for (score, logit) in scores.iter_mut().zip(logits) {
        *score = if sane {
            (exp(*logit) / sum) as f32
        } else {
            0.0
        };
    }
    sane
}

/// The index of the largest score, the first where several are; 0 where there are none.
fn largest(scores: impl Iterator<Item = (usize, f32)>) -> usize {
    scores
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map_or(0, |(i, _)| i)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(category_of: &[usize], thresholds: &[f32]) -> Judge {
        Judge {
            category_of: category_of.to_vec(),
            thresholds: thresholds.to_vec(),
        }
    }

    #[track_caller]
    fn check(logits: &[f32], thresholds: [f32; 2], item: usize, decision: Decision) -> Verdict {
        let judge = judge(&[0, 1, 1], &thresholds);
        let mut verdict = judge.blank();
        judge.judge(logits, &mut verdict);
        assert_eq!((verdict.item, verdict.decision), (item, decision));
        verdict
    }

    #[test]
    fn the_category_sum_decides_over_the_best_item() {
        let third = [0.4_f32.ln(), 0.25_f32.ln(), 0.35_f32.ln()];
        let verdict = check(&third, [0.5, 0.5], 2, Decision::Category(1));
        assert_eq!(verdict.best_item(), 0);
        assert!((verdict.category_score() - 0.6).abs() < 1e-6);
        assert!((verdict.item_score() - 0.35).abs() < 1e-6);
    }

    #[test]
    fn below_its_own_threshold_is_a_reject() {
        let logits = [0.4_f32.ln(), 0.25_f32.ln(), 0.35_f32.ln()];
        check(&logits, [0.0, 0.7], 2, Decision::Reject);
        check(&logits, [1.0, 0.5], 2, Decision::Category(1));
        check(&[100.0, 0.0, 0.0], [1.0, 1.0], 0, Decision::Category(0));
    }

    #[test]
    fn no_numbers_are_a_reject() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for logits in [
            [nan, 0.0, 1.0],
            [0.0, 1.0, nan],
            [inf, 0.0, 0.0],
            [-inf; 3],
            [nan; 3],
        ] {
            let verdict = check(&logits, [0.0, 0.0], 0, Decision::Reject);
            assert_eq!(verdict.item_scores, [0.0; 3], "{logits:?}");
        }
        check(&[-inf, 3.0, -inf], [0.0, 0.0], 1, Decision::Category(1));
        check(
            &[f32::MAX, f32::MIN, 0.0],
            [0.0, 0.0],
            0,
            Decision::Category(0),
        );
    }

    proptest! {
        #[test]
        fn laws(
            items in prop::collection::vec((0..5_usize, -50.0..50.0_f32), 1..40),
            shift in -100.0..100.0_f32,
        ) {
            let category_of: Vec<usize> = items.iter().map(|(c, _)| *c).collect();
            let logits: Vec<f32> = items.iter().map(|(_, l)| *l).collect();
            let judge = judge(&category_of, &[0.0; 5]);
            let mut verdict = judge.blank();
            judge.judge(&logits, &mut verdict);
            let (items, categories) = (&verdict.item_scores, &verdict.category_scores);
            prop_assert!((items.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            prop_assert!((categories.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            prop_assert_eq!(category_of[verdict.item], verdict.category);
            prop_assert!(categories.iter().all(|c| *c <= verdict.category_score()));
            prop_assert!(items.iter().all(|i| *i <= items[verdict.best_item()]));
            prop_assert_eq!(verdict.decision, Decision::Category(verdict.category));

            let shifted: Vec<f32> = logits.iter().map(|l| l + shift).collect();
            let mut other = judge.blank();
            judge.judge(&shifted, &mut other);
            for (a, b) in items.iter().zip(&other.item_scores) {
                prop_assert!((a - b).abs() < 1e-4);
            }
        }
    }
}
