//! Whether a camera keeps to its rate: a poor cable or port, or a long exposure in poor light, cost
//! frames without any error.

/// How long frames are counted.
const WINDOW_US: i64 = 5_000_000;
/// Less than this share of the rate that the board asks for is too little.
pub(crate) const LEAST_SHARE: f64 = 0.8;

/// Watches the driver's own numbers, so that frames which came too late for us count as well.
pub(crate) struct RateWatch {
    wanted_hz: f64,
    /// Instant and number of the frame with which the window began.
    begun: Option<(i64, u64)>,
    is_slow: bool,
}

impl RateWatch {
    pub(crate) fn new(wanted_hz: f64) -> Self {
        Self {
            wanted_hz,
            begun: None,
            is_slow: false,
        }
    }

    /// Takes in a frame; gives the rate when it has become too low, once.
    pub(crate) fn add(&mut self, captured_us: i64, sequence: u64) -> Option<f64> {
        let (since_us, first) = *self.begun.get_or_insert((captured_us, sequence));
        let us = captured_us - since_us;
        if us < WINDOW_US {
            return None;
        }
        self.begun = Some((captured_us, sequence));
        let rate_hz = sequence.saturating_sub(first) as f64 * 1e6 / us as f64;
        let was_slow = self.is_slow;
        self.is_slow = rate_hz < self.wanted_hz * LEAST_SHARE;
        (self.is_slow && !was_slow).then_some(rate_hz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_falls_is_said_once_each_time() {
        let mut watch = RateWatch::new(30.0);
        let mut said = Vec::new();
        let (mut t_us, mut n) = (0, 0);
        for (seconds, hz) in [(20, 30), (20, 15), (20, 30), (20, 20)] {
            for _ in 0..seconds * hz {
                said.extend(watch.add(t_us, n).map(|rate_hz| rate_hz.round()));
                t_us += 1_000_000 / hz;
                n += 1;
            }
        }
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0] < 24.0 && said[1] < 24.0, "{said:?}");
    }

    #[test]
    fn frames_that_we_missed_are_no_fault_of_the_camera() {
        let mut watch = RateWatch::new(30.0);
        let kept = (0..1_000).filter(|n| n % 3 == 0);
        let said: Vec<f64> = kept
            .filter_map(|n| watch.add(n as i64 * 33_333, n))
            .collect();
        assert!(said.is_empty(), "{said:?}");
    }
}
