//! How exactly the gates move.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// One switching of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Movement {
    pub(crate) gate: usize,
    pub(crate) on: bool,
    pub(crate) planned_us: i64,
    /// When the output had been set.
    pub(crate) actual_us: i64,
    /// When the output had been read back, as it should be.
    pub(crate) read_back_us: i64,
}

/// Times from 0 to 20 ms, to the microsecond, in memory that does not grow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Histogram {
    counts: Vec<u32>,
    count: u64,
    max_us: i64,
}

/// Of a set of times. All 0 when the set is empty.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

const LONGEST_US: usize = 20_000;
/// The rows of the picture, by their upper ends.
const ROWS_US: [i64; 9] = [20, 50, 100, 200, 500, 1_000, 2_000, 5_000, i64::MAX];
const BAR: usize = 40;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; LONGEST_US],
            count: 0,
            max_us: 0,
        }
    }
}

impl Histogram {
    /// Counts a time; one below 0 as 0.
    pub(crate) fn add(&mut self, us: i64) {
        let us = us.max(0);
        let bin = usize::try_from(us)
            .unwrap_or(usize::MAX)
            .min(LONGEST_US - 1);
        self.counts[bin] = self.counts[bin].saturating_add(1);
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Nearest rank, in milliseconds.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |share: f64| {
            let rank = (share * self.count as f64).ceil() as u64;
            let mut passed = 0;
            let bin = self.counts.iter().position(|&n| {
                passed += u64::from(n);
                passed >= rank.max(1)
            });
            // What is longer than the scale is at most the longest.
            let us = bin.map_or(0, |bin| bin as i64);
            let us = if us == LONGEST_US as i64 - 1 {
                self.max_us
            } else {
                us
            };
            us as f64 / 1000.0
        };
        Percentiles {
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            max: self.max_us as f64 / 1000.0,
        }
    }

    /// A picture, a row a range of times.
    pub(crate) fn picture(&self) -> String {
        let mut text = String::new();
        let mut from = 0;
        for upto_us in ROWS_US {
            let end = usize::try_from(upto_us)
                .unwrap_or(usize::MAX)
                .min(LONGEST_US);
            let n: u64 = self.counts[from.min(end)..end]
                .iter()
                .map(|&n| u64::from(n))
                .sum();
            let name = match upto_us {
                i64::MAX => format!(">= {} ms", from as f64 / 1000.0),
                us => format!("< {} ms", us as f64 / 1000.0),
            };
            let bar = "#".repeat((n as usize * BAR).div_ceil(self.count.max(1) as usize));
            let _ = writeln!(text, "  {name:>10} {n:>8}  {bar}");
            from = end;
        }
        text
    }
}

/// The timing of all gates' movements.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Timing {
    /// Between the planned and the actual instant.
    pub(crate) error: Histogram,
    /// Between setting an output and having read it back.
    pub(crate) read_back: Histogram,
    /// Firings that were over before they could begin.
    pub(crate) left_out: u64,
}

impl Timing {
    pub(crate) fn add(&mut self, movement: &Movement) {
        self.error
            .add((movement.actual_us - movement.planned_us).abs());
        self.read_back
            .add(movement.read_back_us - movement.actual_us);
    }

    /// Histogram and percentiles; empty without a movement.
    pub(crate) fn text(&self) -> String {
        let (count, error) = (self.error.count, self.error.percentiles());
        if count == 0 && self.left_out == 0 {
            return String::new();
        }
        let read_back = self.read_back.percentiles();
        let left_out = match self.left_out {
            0 => String::new(),
            n => format!(
                "{n} firings were left out: their time was over when the gates' thread came to them\n"
            ),
        };
        format!(
            "gate movements: {count}, actual less planned time\n{}  p50 {:.3}, p99 {:.3}, max {:.3} ms; \
             read back as set after {:.3} ms (p50), {:.3} ms (max)\n{left_out}",
            self.error.picture(),
            error.p50,
            error.p99,
            error.max,
            read_back.p50,
            read_back.max,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentiles(), Percentiles::default());
        (1..=100).for_each(|n| histogram.add(n * 100));
        let p = histogram.percentiles();
        assert_eq!([p.p50, p.p95, p.p99, p.max], [5.0, 9.5, 9.9, 10.0]);
    }

    proptest! {
        #[test]
        fn every_time_is_in_the_picture_once(times in prop::collection::vec(-10i64..100_000, 1..200)) {
            let mut histogram = Histogram::default();
            times.iter().for_each(|us| histogram.add(*us));
            let rows = histogram.picture();
            let counted = rows.lines().map(|row| {
                let words: Vec<&str> = row.split_whitespace().collect();
                words[3].parse::<usize>().unwrap()
            });
            prop_assert_eq!(counted.sum::<usize>(), times.len());
            let max_ms = *times.iter().max().unwrap() as f64 / 1000.0;
            prop_assert_eq!(histogram.percentiles().max, max_ms.max(0.0));
        }
    }
}
