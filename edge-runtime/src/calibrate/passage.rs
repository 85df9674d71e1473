//! One item's way under the camera: a straight line of positions over time.

/// An item has passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Passage {
    pub(crate) speed_mm_s: f64,
    /// When its middle was in the middle of the view.
    pub(crate) centre_us: f64,
    pub(crate) frames: usize,
    /// Root of the mean square by which the frames are off the line.
    pub(crate) error_mm: f64,
}

impl Passage {
    /// Where the item's middle is at a time.
    pub(crate) fn position_mm(&self, t_us: i64) -> f64 {
        (t_us as f64 - self.centre_us) * self.speed_mm_s / 1e6
    }

    /// The line through positions. A few that are far off, as when half of the item was seen, are left out.
    fn of(mut points: Vec<(i64, f64)>) -> Option<Self> {
        loop {
            let passage = Self::fit(&points)?;
            let off_mm = |p: &(i64, f64)| (passage.position_mm(p.0) - p.1).abs();
            let mut all: Vec<f64> = points.iter().map(off_mm).collect();
            let limit_mm = (FAR_OFF * median_and_spread(&mut all).0).max(LEAST_OFF_MM);
            let before = points.len();
            points.retain(|p| off_mm(p) <= limit_mm);
            if points.len() == before || points.len() < FEWEST {
                return Some(passage);
            }
        }
    }

    /// The line through positions, by least squares. `None` where they do not move.
    fn fit(points: &[(i64, f64)]) -> Option<Self> {
        let first_us = points.first()?.0;
        let n = points.len() as f64;
        let seconds = |t_us: i64| (t_us - first_us) as f64 / 1e6;
        let mean_s = points.iter().map(|p| seconds(p.0)).sum::<f64>() / n;
        let mean_mm = points.iter().map(|p| p.1).sum::<f64>() / n;
        let moment = |f: &dyn Fn(f64, f64) -> f64| {
            let terms = points.iter();
            terms
                .map(|p| f(seconds(p.0) - mean_s, p.1 - mean_mm))
                .sum::<f64>()
        };
        let speed_mm_s = moment(&|s, mm| s * mm) / moment(&|s, _| s * s);
        let error_mm = (moment(&|s, mm| (mm - speed_mm_s * s).powi(2)) / n).sqrt();
        let centre_s = mean_s - mean_mm / speed_mm_s;
        centre_s.is_finite().then_some(Self {
            speed_mm_s,
            centre_us: first_us as f64 + centre_s * 1e6,
            frames: points.len(),
            error_mm,
        })
    }
}

/// A position is left out that is off the line by more than this many times the median, but not by less
/// than so much.
const FAR_OFF: f64 = 4.0;
const LEAST_OFF_MM: f64 = 1.0;
/// Fewer positions make no passage.
const FEWEST: usize = 5;
/// Nor does less of the view.
const LEAST_SHARE: f64 = 0.2;
/// From frame to frame an item does not move further than this share of the view.
const LONGEST_STEP: f64 = 0.3;

/// What is no further apart along the belt than this share of the view is one item.
const BESIDE: f64 = 0.05;

/// Follows a single item.
pub(crate) struct Follower {
    view_mm: f64,
    points: Vec<(i64, f64)>,
}

impl Follower {
    pub(crate) fn new(view_mm: f64) -> Self {
        Self {
            view_mm,
            points: Vec::new(),
        }
    }

    /// Takes the middles of what is in view with both its ends; gives the passage that has ended.
    pub(crate) fn see(&mut self, t_us: i64, middles_mm: &[f64]) -> Option<Passage> {
        let Some(middle_mm) = self.single(middles_mm) else {
            return self.end();
        };
        let last = self.points.last();
        let jumps =
            last.is_some_and(|(_, mm)| (middle_mm - mm).abs() > LONGEST_STEP * self.view_mm);
        let ended = if jumps { self.end() } else { None };
        self.points.push((t_us, middle_mm));
        ended
    }

    /// Where the one item is. Parts of it may lie beside each other across the belt.
    fn single(&self, middles_mm: &[f64]) -> Option<f64> {
        let least = middles_mm.iter().copied().reduce(f64::min)?;
        let most = middles_mm.iter().copied().reduce(f64::max)?;
        (most - least <= BESIDE * self.view_mm).then_some((least + most) / 2.0)
    }

    fn end(&mut self) -> Option<Passage> {
        let points = std::mem::take(&mut self.points);
        let way_mm = points.last()?.1 - points.first()?.1;
        let is_passage = points.len() >= FEWEST && way_mm.abs() >= LEAST_SHARE * self.view_mm;
        is_passage.then(|| Passage::of(points)).flatten()
    }
}

/// The median, and how far the least and the most are from it; all 0 of nothing.
pub(crate) fn median_and_spread(values: &mut [f64]) -> (f64, [f64; 2]) {
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else {
        return (0.0, [0.0; 2]);
    };
    let half = values.len() / 2;
    let median = match values.len() % 2 {
        0 => (values[half - 1] + values[half]) / 2.0,
        _ => values[half],
    };
    (median, [median - least, most - median])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An item at this speed, seen every 33 ms, off by `noise` in turn; the passages in the end.
    fn follow(speed_mm_s: f64, centre_us: i64, noise_mm: f64) -> Vec<Passage> {
        let mut follower = Follower::new(400.0);
        let frames = (0..400).map(|n| n * 33_000);
        frames
            .filter_map(|t_us| {
                let sign = if t_us / 33_000 % 2 == 0 { 1.0 } else { -1.0 };
                let at_mm = (t_us - centre_us) as f64 * speed_mm_s / 1e6;
                let seen = (at_mm.abs() < 180.0).then_some(at_mm + sign * noise_mm);
                follower.see(t_us, &seen.into_iter().collect::<Vec<_>>())
            })
            .collect()
    }

    proptest! {
        #[test]
        fn speed_and_place_are_found(
            speed in 40.0f64..800.0,
            backwards: bool,
            centre_us in 5_000_000i64..6_000_000,
            noise_mm in 0.0f64..2.0,
        ) {
            let speed = if backwards { -speed } else { speed };
            let passages = follow(speed, centre_us, noise_mm);
            prop_assert_eq!(passages.len(), 1);
            let passage = passages[0];
            prop_assert!((passage.speed_mm_s / speed - 1.0).abs() < 0.02 * noise_mm.max(0.001));
            prop_assert!(passage.position_mm(centre_us).abs() <= 2.0 * noise_mm + 0.01);
            prop_assert!(passage.error_mm <= noise_mm + 0.01);
            let later_mm = passage.position_mm(centre_us + 1_000_000);
            prop_assert!((later_mm - speed).abs() < 0.04 * speed.abs() * noise_mm.max(0.01) + 4.0);
        }
    }

    #[test]
    fn what_stands_is_seen_briefly_or_jumps_is_no_passage() {
        let mut follower = Follower::new(400.0);
        for n in 0..50 {
            assert_eq!(follower.see(n * 33_000, &[20.0]), None);
        }
        assert_eq!(follower.see(2_000_000, &[]), None);
        for (n, mm) in [-100.0, -50.0, 0.0, 50.0].into_iter().enumerate() {
            assert_eq!(follower.see(3_000_000 + n as i64 * 33_000, &[mm]), None);
        }
        assert_eq!(follower.see(3_200_000, &[]), None, "four frames");
        for n in 0..20 {
            let mm = if n % 2 == 0 { -150.0 } else { 150.0 };
            assert_eq!(follower.see(4_000_000 + n * 33_000, &[mm]), None);
        }
    }

    #[test]
    fn an_item_that_follows_closely_is_another_passage() {
        let mut follower = Follower::new(400.0);
        let mut passages = Vec::new();
        for n in 0..40_i64 {
            let mm = -180.0 + (n % 20) as f64 * 18.0;
            passages.extend(follower.see(n * 50_000, &[mm - 5.0, mm + 5.0]));
        }
        passages.extend(follower.see(2_000_000, &[-180.0, 0.0]));
        let speeds: Vec<f64> = passages.iter().map(|p| p.speed_mm_s.round()).collect();
        assert_eq!(speeds, [360.0, 360.0]);
    }

    #[test]
    fn a_few_wrong_positions_do_not_count() {
        let right = (0..40).map(|n| (n * 50_000, n as f64 * 10.0 - 200.0));
        let wrong = right.map(|(t_us, mm)| (t_us, if t_us < 150_000 { mm + 60.0 } else { mm }));
        let passage = Passage::of(wrong.collect()).unwrap();
        assert_eq!(passage.frames, 37);
        assert!((passage.speed_mm_s - 200.0).abs() < 1e-6);
        assert!((passage.centre_us - 1_000_000.0).abs() < 1.0);
    }

    #[test]
    fn the_median_stands_between_the_ends() {
        assert_eq!(median_and_spread(&mut []), (0.0, [0.0; 2]));
        assert_eq!(median_and_spread(&mut [3.0]), (3.0, [0.0; 2]));
        let mut four = [4.0, 1.0, 2.0, 8.0];
        assert_eq!(median_and_spread(&mut four), (3.0, [2.0, 5.0]));
    }
}
