//! How far everything in view has moved between two frames, from the ends of what was detected.

use super::geometry::Span;
use serde::{Deserialize, Serialize};

/// The frame before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registration {
    captured_us: Option<i64>,
    ends: Vec<Mark>,
    next: Vec<Mark>,
}

/// One end of one detection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Mark {
    is_front: bool,
    mm: f64,
    side_mm: [f64; 2],
}

/// Ends that agree on a shift to within this belong together.
const AGREE_MM: f64 = 4.0;
/// Shifts further apart than this are different.
const DIFFERENT_MM: f64 = 2.0 * AGREE_MM;
/// So many ends at least have to agree: those of one item that is seen whole.
const LEAST: usize = 2;
/// More ends than this are not looked at.
const MOST_MARKS: usize = 24;

impl Registration {
    /// Forgets the frame before.
    pub(crate) fn clear(&mut self) {
        self.captured_us = None;
        self.ends.clear();
    }

    /// The capture instant of the frame before, and the shift since then that most ends agree on,
    /// between `least_mm` and `reach_mm(since_us)`. No shift where too few agree or two do as well.
    pub(crate) fn shift_mm(
        &mut self,
        captured_us: i64,
        spans: &[Span],
        least_mm: f64,
        reach_mm: impl Fn(i64) -> f64,
    ) -> Option<(i64, Option<f64>)> {
        self.next.clear();
        for span in spans {
            for (is_front, mm) in [(true, span.front_mm), (false, span.rear_mm)] {
                let side_mm = span.side_mm;
                let mark = mm.map(|mm| Mark {
                    is_front,
                    mm,
                    side_mm,
                });
                self.next.extend(mark);
            }
        }
        self.next.truncate(MOST_MARKS);
        let before = self.captured_us.replace(captured_us);
        let found = before.map(|since_us| {
            let range = (least_mm, reach_mm(since_us));
            (since_us, agreed_mm(&self.ends, &self.next, range))
        });
        std::mem::swap(&mut self.ends, &mut self.next);
        found
    }
}

fn agreed_mm(before: &[Mark], after: &[Mark], (least, most): (f64, f64)) -> Option<f64> {
    let mut best: Option<(usize, f64)> = None;
    let mut is_alone = true;
    for (a, b) in pairs(before, after) {
        let shift_mm = b.mm - a.mm;
        if !(least..=most).contains(&shift_mm) {
            continue;
        }
        let (votes, mean_mm) = support(before, after, shift_mm);
        let (most_votes, best_mm) = best.unwrap_or((0, f64::MAX));
        let same = (mean_mm - best_mm).abs() <= DIFFERENT_MM;
        if votes > most_votes {
            is_alone = true;
            best = Some((votes, mean_mm));
        } else if votes == most_votes && !same {
            is_alone = false;
        }
    }
    best.filter(|(votes, _)| is_alone && *votes >= LEAST)
        .map(|(_, mm)| mm)
}

/// How many ends have moved by about `shift_mm`, and by how much on average.
fn support(before: &[Mark], after: &[Mark], shift_mm: f64) -> (usize, f64) {
    let (mut votes, mut sum_mm) = (0, 0.0);
    for a in before {
        let candidates = after.iter().filter(|b| a.is_like(b));
        let nearest_mm = candidates
            .map(|b| b.mm - a.mm)
            .min_by(|x, y| (x - shift_mm).abs().total_cmp(&(y - shift_mm).abs()));
        if let Some(mm) = nearest_mm.filter(|mm| (mm - shift_mm).abs() <= AGREE_MM) {
            votes += 1;
            sum_mm += mm;
        }
    }
    (votes, sum_mm / votes.max(1) as f64)
}

fn pairs<'m>(before: &'m [Mark], after: &'m [Mark]) -> impl Iterator<Item = (&'m Mark, &'m Mark)> {
    before
        .iter()
        .flat_map(move |a| after.iter().map(move |b| (a, b)))
        .filter(|(a, b)| a.is_like(b))
}

impl Mark {
    /// Whether both may be the same end of the same item.
    fn is_like(&self, other: &Mark) -> bool {
        let overlap = self.side_mm[0] < other.side_mm[1] && other.side_mm[0] < self.side_mm[1];
        self.is_front == other.is_front && overlap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(rear_mm: f64, front_mm: f64) -> Span {
        Span {
            front_mm: Some(front_mm),
            rear_mm: Some(rear_mm),
            side_mm: [-40.0, 40.0],
            side_cut: false,
            seen_mm: [rear_mm, front_mm],
        }
    }

    fn shift(before: &[Span], after: &[Span]) -> Option<f64> {
        let mut registration = Registration::default();
        assert_eq!(registration.shift_mm(0, before, -5.0, |_| 40.0), None);
        let found = registration.shift_mm(50_000, after, -5.0, |_| 40.0);
        found.unwrap().1
    }

    #[test]
    fn nothing_in_view_says_nothing() {
        assert_eq!(shift(&[], &[]), None);
        assert_eq!(shift(&[span(0.0, 80.0)], &[]), None);
        // One end only may be anything.
        let cut = Span {
            rear_mm: None,
            ..span(-200.0, -100.0)
        };
        let moved = Span {
            rear_mm: None,
            ..span(-200.0, -80.0)
        };
        assert_eq!(shift(&[cut], &[moved]), None);
    }

    #[test]
    fn something_else_in_view_is_no_shift() {
        assert_eq!(shift(&[span(0.0, 80.0)], &[span(10.0, 140.0)]), None);
    }

    proptest! {
        #[test]
        fn a_shift_is_found_whatever_comes_into_view_or_leaves_it(
            mm in -4.0..36.0f64,
            lengths in prop::collection::vec(30.0..120.0, 1..4),
            gaps in prop::collection::vec(50.0..90.0, 4),
            noise in prop::collection::vec(-1.0..1.0, 16),
            newcomer: bool,
        ) {
            let mut noise = noise.iter();
            let mut rear_mm = -190.0;
            let (mut before, mut after) = (Vec::new(), Vec::new());
            for (length, gap) in lengths.iter().zip(&gaps) {
                let mut next = || noise.next().unwrap();
                before.push(span(rear_mm + next(), rear_mm + length + next()));
                after.push(span(rear_mm + mm + next(), rear_mm + length + mm + next()));
                rear_mm += length + gap;
            }
            if newcomer && after.len() > 1 {
                before.pop();
            }
            let found = shift(&before, &after);
            prop_assert!(found.is_none_or(|found| (found - mm).abs() <= 2.0), "{found:?}");
            if before.len() == 1 && after.len() == 1 {
                prop_assert!(found.is_some());
            }
        }
    }
}
