//! How often a tensor has which values.

use super::Affine;

/// Bins on each side of 0.
const HALF: usize = 4096;

/// Counts of values in equal bins of `-2^e..2^e`, with `e` as large as the values ask for, so that
/// histograms of parts add up to that of the whole, in any order. Zeros are left out: a byte stands
/// for 0 exactly, whatever the range.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    exponent: i32,
    counts: Vec<u64>,
    low: f32,
    high: f32,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            exponent: f32::MIN_EXP,
            counts: vec![0; 2 * HALF],
            low: 0.0,
            high: 0.0,
        }
    }
}

impl Histogram {
    /// The histogram of these values; those that are not finite are left out.
    pub fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        for value in finite() {
            histogram.low = histogram.low.min(value);
            histogram.high = histogram.high.max(value);
        }
        let largest = histogram.high.max(-histogram.low);
        while exp2(histogram.exponent) <= f64::from(largest) {
            histogram.exponent += 1;
        }
        let bins_per_unit = HALF as f64 / exp2(histogram.exponent);
        for value in finite().filter(|value| *value != 0.0) {
            let bin = (f64::from(value) * bins_per_unit).floor() as isize + HALF as isize;
            histogram.counts[bin.clamp(0, 2 * HALF as isize - 1) as usize] += 1;
        }
        histogram
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.widen(other.exponent);
        let mut other = other.clone();
        other.widen(self.exponent);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
    }

    /// Puts pairs of bins together until they reach to `2^exponent`.
    fn widen(&mut self, exponent: i32) {
        if self.counts.iter().all(|count| *count == 0) {
            self.exponent = self.exponent.max(exponent);
        }
        while self.exponent < exponent {
            let mut wider = vec![0; 2 * HALF];
            for (bin, pair) in self.counts.chunks_exact(2).enumerate() {
                wider[HALF / 2 + bin] = pair[0] + pair[1];
            }
            self.counts = wider;
            self.exponent += 1;
        }
    }

    /// The smallest and the largest value, and 0.
    pub fn range(&self) -> [f32; 2] {
        [self.low, self.high]
    }

    /// How many values were not zero.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The middle of every bin that holds a value, and how many it holds, in rising order.
    pub(super) fn bins(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> + '_ {
        let width = exp2(self.exponent) / HALF as f64;
        let middle = move |bin: usize| (bin as f64 - HALF as f64 + 0.5) * width;
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(move |(bin, &count)| (middle(bin), count))
    }

    /// The mean of the squares that values, zeros left out, are off by when they go through a byte:
    /// within the range as rounding to steps makes it on average, beyond it the distance to its end.
    pub fn mean_square_error(&self, affine: Affine) -> f64 {
        let [low, high] = affine.range().map(f64::from);
        let rounding = f64::from(affine.scale).powi(2) / 12.0;
        let error = |(value, count): (f64, u64)| {
            let beyond = value - value.clamp(low, high);
            count as f64 * (rounding + beyond * beyond)
        };
        self.bins().map(error).sum::<f64>() / self.total().max(1) as f64
    }
}

fn exp2(exponent: i32) -> f64 {
    f64::from(exponent).exp2()
}
