//! Sums what was seen of an item over all its views.

use serde::{Deserialize, Serialize};

/// What the views of one item say so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Votes {
    /// Per item of the bundle, the sum of the scores.
    sums: Vec<f32>,
    pub(crate) views: u32,
    /// Capture instant of the view that was counted last.
    pub(crate) settled_us: i64,
}

impl Votes {
    /// Counts one view. Scores that are no numbers, or too few, are not counted.
    pub(crate) fn add(&mut self, items: usize, scores: &[f32], captured_us: i64) {
        if scores.len() != items || !scores.iter().all(|s| s.is_finite()) {
            return;
        }
        self.sums.resize(items, 0.0);
        for (sum, score) in self.sums.iter_mut().zip(scores) {
            *sum += score;
        }
        self.views += 1;
        self.settled_us = self.settled_us.max(captured_us);
    }

    /// Per item of the bundle the mean score; empty without a view.
    pub(crate) fn means(&self) -> impl Iterator<Item = f32> {
        let views = self.views as f32;
        self.sums.iter().map(move |sum| sum / views)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(views: &[&[f32]], expect: &[f32]) {
        let mut votes = Votes::default();
        for view in views {
            votes.add(2, view, 0);
        }
        assert_eq!(votes.means().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn scores_are_averaged_over_the_views() {
        check(&[], &[]);
        check(&[&[0.25, 0.75]], &[0.25, 0.75]);
        check(&[&[0.25, 0.75], &[1.0, 0.0]], &[0.625, 0.375]);
    }

    #[test]
    fn what_is_no_score_does_not_count() {
        check(&[&[], &[f32::NAN, 1.0], &[0.5]], &[]);
        check(&[&[f32::INFINITY, 0.0], &[0.0, 1.0]], &[0.0, 1.0]);
    }
}
