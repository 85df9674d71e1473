//! Sums what was seen of an item over all its views.

/// What the views of one item say so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Votes {
    /// Per category, the sum of the scores.
    sums: Vec<f32>,
    pub(crate) views: u32,
    /// Capture instant of the view that was counted last.
    pub(crate) settled_us: i64,
}

/// The best category and its mean score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    pub(crate) category: usize,
    pub(crate) score: f32,
}

impl Votes {
    /// Counts one view. Scores that are no numbers, or too few, are not counted.
    pub(crate) fn add(&mut self, categories: usize, scores: &[f32], captured_us: i64) {
        if scores.len() != categories || !scores.iter().all(|s| s.is_finite()) {
            return;
        }
        self.sums.resize(categories, 0.0);
        for (sum, score) in self.sums.iter_mut().zip(scores) {
            *sum += score;
        }
        self.views += 1;
        self.settled_us = self.settled_us.max(captured_us);
    }

    /// `None` without a view. The first of equals wins.
    pub(crate) fn standing(&self) -> Option<Standing> {
        let best = self.sums.iter().enumerate().reduce(
            |best, next| {
                if next.1 > best.1 { next } else { best }
            },
        );
        best.map(|(category, sum)| Standing {
            category,
            score: sum / self.views as f32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(views: &[&[f32]], expect: Option<(usize, f32)>) {
        let mut votes = Votes::default();
        for view in views {
            votes.add(2, view, 0);
        }
        let found = votes.standing().map(|s| (s.category, s.score));
        assert_eq!(found, expect);
    }

    #[test]
    fn scores_are_averaged_over_the_views() {
        check(&[], None);
        check(&[&[0.25, 0.75]], Some((1, 0.75)));
        check(&[&[0.25, 0.75], &[1.0, 0.0]], Some((0, 0.625)));
        check(&[&[0.5, 0.5]], Some((0, 0.5)));
    }

    #[test]
    fn what_is_no_score_does_not_count() {
        check(&[&[], &[f32::NAN, 1.0], &[0.5]], None);
        check(&[&[f32::INFINITY, 0.0], &[0.0, 1.0]], Some((1, 1.0)));
    }
}
