//! Which parts of the belt downstream have not been seen well enough: something unknown may lie there.

use serde::{Deserialize, Serialize};

/// The stretches that nobody has seen, in places on the belt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    half_view_mm: f64,
    end_mm: f64,
    /// From upstream to downstream end.
    unseen: Vec<[f64; 2]>,
    /// The belt's travel in the last frames, the latest last.
    travels_mm: Vec<f64>,
}

/// More stretches than this are joined, gaps and all.
const MOST: usize = 16;
/// What so many frames showed is seen: in one alone an item may be missed.
const FRAMES: usize = 3;
/// What is closer to an end of the view than this share of its half is not shown for certain: an item
/// there is cut off.
const MARGIN: f64 = 0.25;

impl Coverage {
    /// Nothing has been seen of a belt that ends at `end_mm`.
    pub(crate) fn new(half_view_mm: f64, end_mm: f64) -> Self {
        Self {
            half_view_mm,
            end_mm,
            unseen: Vec::with_capacity(MOST),
            travels_mm: Vec::with_capacity(FRAMES),
        }
    }

    /// Everything downstream of the next frame is unknown again.
    pub(crate) fn forget_all(&mut self) {
        self.unseen.clear();
        self.travels_mm.clear();
    }

    /// A frame was captured when the belt had travelled `travel_mm`.
    pub(crate) fn see(&mut self, travel_mm: f64) {
        let front_mm = self.shown_mm() - travel_mm;
        match self.known_to_mm() {
            // It goes out of sight before it was seen often enough.
            Some(known_mm) if front_mm < known_mm => self.add([front_mm, known_mm]),
            Some(_) => {}
            // At the beginning.
            None => self.add([-travel_mm, self.end_mm - travel_mm]),
        }
        if self.travels_mm.len() == FRAMES {
            self.travels_mm.remove(0);
        }
        self.travels_mm.push(travel_mm);
        let end_mm = self.end_mm;
        self.unseen.retain(|[low, _]| low + travel_mm < end_mm);
    }

    /// Stretches come from downstream to upstream; those that touch become one.
    fn add(&mut self, [low_mm, high_mm]: [f64; 2]) {
        let full = self.unseen.len() == MOST;
        match self.unseen.last_mut() {
            Some(last) if full || last[0] <= high_mm => {
                *last = [last[0].min(low_mm), last[1].max(high_mm)];
            }
            _ => self.unseen.push([low_mm, high_mm]),
        }
    }

    /// Whether everything between two places on the belt has been seen.
    pub(crate) fn is_known(&self, [from_mm, to_mm]: [f64; 2]) -> bool {
        let mut unseen = self.unseen.iter();
        let came = self
            .known_to_mm()
            .is_some_and(|known_mm| known_mm <= from_mm);
        came && unseen.all(|[low, high]| *high < from_mm || to_mm < *low)
    }

    /// What is upstream of this place has not been seen yet.
    fn known_to_mm(&self) -> Option<f64> {
        let full = self.travels_mm.len() == FRAMES;
        full.then(|| -self.shown_mm() - self.travels_mm[0])
    }

    /// From the centre of the view, how far it shows items for certain.
    fn shown_mm(&self) -> f64 {
        self.half_view_mm * (1.0 - MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEED: f64 = 100.0;
    const RATE: i32 = 10;

    /// Whether a gate at 400 mm, open at `t_s` for an instant, finds only what has been seen.
    fn known(coverage: &Coverage, t_s: f64) -> bool {
        coverage.is_known([390.0, 410.0].map(|mm| mm - SPEED * t_s))
    }

    /// The view is 200 mm, of which 150 mm count; a frame every 10 mm.
    fn watch(coverage: &mut Coverage, seconds: std::ops::Range<i32>) {
        let frames = RATE * seconds.start..RATE * seconds.end;
        frames.for_each(|frame| coverage.see(SPEED * f64::from(frame) / f64::from(RATE)));
    }

    #[test]
    fn what_was_downstream_at_the_beginning_is_unknown_until_it_has_gone() {
        let mut coverage = Coverage::new(100.0, 500.0);
        assert!(!known(&coverage, 0.0));
        // At 4.2 s the gate has before it what was in the middle of the view in the third frame.
        watch(&mut coverage, 0..5);
        assert!(!known(&coverage, 4.2));
        assert!(known(&coverage, 4.4));
    }

    /// Frames until the belt has travelled 490 mm, then none until `again_s`; then `known` is as expected.
    #[track_caller]
    fn blind(again_s: std::ops::Range<i32>, expect: &[(f64, bool)]) {
        let mut coverage = Coverage::new(100.0, 500.0);
        watch(&mut coverage, 0..5);
        watch(&mut coverage, again_s);
        for (t_s, expect) in expect {
            assert_eq!(known(&coverage, *t_s), *expect, "{t_s} s");
        }
    }

    // Of what is before the gate at t, the middle is at (4 - t) * 100 mm. Three frames showed all down to
    // -545 mm: those at 470, 480 and 490 mm of travel.
    const LAST_KNOWN: [(f64, bool); 3] = [(9.2, true), (9.3, true), (9.4, false)];

    #[test]
    fn what_has_not_been_seen_yet_is_unknown() {
        blind(5..5, &LAST_KNOWN);
        blind(5..5, &[(12.0, false), (20.0, false)]);
    }

    #[test]
    fn what_passed_while_the_camera_was_blind_is_unknown() {
        // The third frame again, at 920 mm, shows all from -845 mm on.
        blind(9..10, &LAST_KNOWN);
        blind(9..10, &[(12.5, false), (12.6, true)]);
    }

    #[test]
    fn what_was_seen_too_shortly_while_the_camera_was_blind_is_unknown() {
        // What goes out of sight first again has been seen in two frames before.
        let mut coverage = Coverage::new(100.0, 500.0);
        watch(&mut coverage, 0..5);
        for travel_mm in [625.0, 635.0, 645.0] {
            coverage.see(travel_mm);
        }
        let expect = [(9.2, true), (9.5, false), (9.8, true), (10.0, true)];
        for (t_s, expect) in expect {
            assert_eq!(known(&coverage, t_s), expect, "{t_s} s");
        }
    }

    #[test]
    fn after_forgetting_everything_downstream_is_unknown() {
        let mut coverage = Coverage::new(100.0, 500.0);
        watch(&mut coverage, 0..6);
        assert!(known(&coverage, 5.5));
        coverage.forget_all();
        assert!(!known(&coverage, 5.5));
        watch(&mut coverage, 6..11);
        assert!(!known(&coverage, 10.2));
        assert!(known(&coverage, 10.4));
    }

    #[test]
    fn many_gaps_need_no_more_room() {
        let mut coverage = Coverage::new(1.0, 5000.0);
        (0..=40).for_each(|s| coverage.see(SPEED * f64::from(s)));
        assert!(coverage.unseen.len() <= MOST);
        assert!(!known(&coverage, 35.5));
    }
}
