//! Which parts of the belt downstream have never been in view: something unknown may lie there.

use serde::{Deserialize, Serialize};

/// The stretches that nobody has seen, in places on the belt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    half_view_mm: f64,
    end_mm: f64,
    /// From upstream to downstream end.
    unseen: Vec<[f64; 2]>,
    /// Upstream end of what the frame before showed.
    seen_to_mm: Option<f64>,
}

/// More stretches than this are joined, gaps and all.
const MOST: usize = 16;

impl Coverage {
    /// Nothing has been seen of a belt that ends at `end_mm`.
    pub(crate) fn new(half_view_mm: f64, end_mm: f64) -> Self {
        Self {
            half_view_mm,
            end_mm,
            unseen: Vec::with_capacity(MOST),
            seen_to_mm: None,
        }
    }

    /// Everything downstream of the next frame is unknown again.
    pub(crate) fn forget_all(&mut self) {
        self.unseen.clear();
        self.seen_to_mm = None;
    }

    /// A frame was captured when the belt had travelled `travel_mm`.
    pub(crate) fn see(&mut self, travel_mm: f64) {
        let front_mm = self.half_view_mm - travel_mm;
        match self.seen_to_mm {
            // What had just come into view, or is about to leave it, may not be recognised for an item.
            Some(known_to_mm) if front_mm < known_to_mm => {
                self.add([-travel_mm, known_to_mm + self.half_view_mm]);
            }
            Some(_) => {}
            None => self.add([-travel_mm, self.end_mm - travel_mm]),
        }
        self.seen_to_mm = Some(-self.half_view_mm - travel_mm);
        let end_mm = self.end_mm;
        self.unseen.retain(|[low, _]| low + travel_mm < end_mm);
    }

    fn add(&mut self, stretch: [f64; 2]) {
        if self.unseen.len() == MOST
            && let Some(last) = self.unseen.last_mut()
        {
            *last = [last[0].min(stretch[0]), last[1].max(stretch[1])];
            return;
        }
        self.unseen.push(stretch);
    }

    /// Whether everything between two places on the belt has been in view.
    pub(crate) fn is_known(&self, [from_mm, to_mm]: [f64; 2]) -> bool {
        let mut unseen = self.unseen.iter();
        self.seen_to_mm.is_some() && unseen.all(|[low, high]| *high < from_mm || to_mm < *low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEED: f64 = 100.0;

    /// Whether a gate at 400 mm, open at `t_s` for an instant, finds only what has been seen.
    fn known(coverage: &Coverage, t_s: f64) -> bool {
        coverage.is_known([390.0, 410.0].map(|mm| mm - SPEED * t_s))
    }

    fn watch(coverage: &mut Coverage, seconds: std::ops::RangeInclusive<i32>) {
        seconds.for_each(|s| coverage.see(SPEED * f64::from(s)));
    }

    #[test]
    fn what_was_downstream_at_the_beginning_is_unknown_until_it_has_gone() {
        let mut coverage = Coverage::new(100.0, 500.0);
        assert!(!known(&coverage, 0.0));
        // At 4 s the gate has before it what was in the middle of the view at the beginning.
        watch(&mut coverage, 0..=3);
        assert!(!known(&coverage, 3.8));
        watch(&mut coverage, 4..=4);
        assert!(known(&coverage, 4.2));
    }

    #[test]
    fn what_passed_while_the_camera_was_blind_is_unknown() {
        let mut coverage = Coverage::new(100.0, 500.0);
        watch(&mut coverage, 0..=5);
        // From 5 s to 9 s the belt moves 400 mm, twice the view: 200 mm pass unseen, and half the view on
        // both sides was not seen for long.
        watch(&mut coverage, 9..=9);
        for (t_s, expect) in [(8.8, true), (9.3, false), (12.7, false), (13.3, true)] {
            assert_eq!(known(&coverage, t_s), expect, "{t_s} s");
        }
    }

    #[test]
    fn after_forgetting_everything_downstream_is_unknown() {
        let mut coverage = Coverage::new(100.0, 500.0);
        watch(&mut coverage, 0..=5);
        coverage.forget_all();
        assert!(!known(&coverage, 5.5));
        watch(&mut coverage, 6..=9);
        assert!(!known(&coverage, 9.8));
        watch(&mut coverage, 10..=10);
        assert!(known(&coverage, 10.2));
    }

    #[test]
    fn many_gaps_need_no_more_room() {
        let mut coverage = Coverage::new(1.0, 5000.0);
        watch(&mut coverage, 0..=40);
        assert!(coverage.unseen.len() <= MOST);
        assert!(!known(&coverage, 35.5));
    }
}
