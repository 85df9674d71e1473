//! How the range of a tensor follows from what was seen of it.

use super::{Affine, Histogram};

/// Part of the values that [`Observer::Percentile`] gives up at each end.
const TAIL: f64 = 1e-4;
/// Parts of the full range that are tried.
const TRIED: u32 = 64;
/// The smallest of them.
const SMALLEST: f64 = 0.1;
/// Counts below are not told from none when distributions are compared.
const LEAST: f64 = 1e-9;

/// A rule for the range of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Observer {
    /// From the smallest to the largest value.
    MinMax,
    /// Without the 0.01 % largest and smallest values.
    Percentile,
    /// The range with the smallest mean square error.
    MeanSquare,
    /// The range after which the distribution of the values is closest to what it was, in the sense
    /// of Kullback and Leibler (Migacz, "8-bit Inference with TensorRT", 2017).
    Entropy,
}

impl Observer {
    /// All of them.
    pub const ALL: [Observer; 4] = [
        Observer::MinMax,
        Observer::Percentile,
        Observer::MeanSquare,
        Observer::Entropy,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Observer::MinMax => "min-max",
            Observer::Percentile => "percentile",
            Observer::MeanSquare => "mean square",
            Observer::Entropy => "entropy",
        }
    }

    /// The range for values like these; 0 lies in it.
    pub fn range(self, seen: &Histogram) -> [f32; 2] {
        let [low, high] = seen.range();
        match self {
            Observer::MinMax => [low, high],
            Observer::Percentile => percentile(seen),
            Observer::MeanSquare => least_error(seen),
            Observer::Entropy => {
                let loss = |part: f64| divergence(seen, [low, high].map(|end| scaled(end, part)));
                let part = best(loss);
                [low, high].map(|end| scaled(end, part))
            }
        }
    }
}

fn scaled(end: f32, part: f64) -> f32 {
    (f64::from(end) * part) as f32
}

/// The part of the range, of those tried, where `loss` is lowest; the largest of equal ones.
fn best(loss: impl Fn(f64) -> f64) -> f64 {
    let part = |n: u32| SMALLEST + (1.0 - SMALLEST) * f64::from(n) / f64::from(TRIED);
    let tried = (0..=TRIED).rev().map(part).map(|part| (loss(part), part));
    tried
        .reduce(|best, next| if next.0 < best.0 { next } else { best })
        .map_or(1.0, |(_, part)| part)
}

fn percentile(seen: &Histogram) -> [f32; 2] {
    let [low, high] = seen.range();
    let given_up = seen.total() as f64 * TAIL;
    let end = |bins: &mut dyn Iterator<Item = (f64, u64)>| {
        let mut passed = 0.0;
        for (value, count) in bins {
            passed += count as f64;
            if passed > given_up {
                return value as f32;
            }
        }
        0.0
    };
    let (first, last) = (end(&mut seen.bins()), end(&mut seen.bins().rev()));
    [first.clamp(low, 0.0), last.clamp(0.0, high)]
}

/// Both ends in turn, until they stay.
fn least_error(seen: &Histogram) -> [f32; 2] {
    let [low, high] = seen.range();
    let mut range = [low, high];
    let error = |range: [f32; 2]| seen.mean_square_error(Affine::covering(range));
    for _ in 0..3 {
        let before = range;
        range[1] = scaled(high, best(|part| error([range[0], scaled(high, part)])));
        range[0] = scaled(low, best(|part| error([scaled(low, part), range[1]])));
        if range == before {
            break;
        }
    }
    range
}

/// How far the distribution within `range`, with what lies beyond at its ends, is from the same after
/// all values of a step were spread evenly over the places in it that had any.
fn divergence(seen: &Histogram, range: [f32; 2]) -> f64 {
    let affine = Affine::covering(range);
    let [low, high] = affine.range().map(f64::from);
    let mut steps = vec![(0.0f64, 0.0f64); 256];
    let step = |value: f64| usize::from(affine.quantize(value as f32));
    let inside = |value: f64| (low..=high).contains(&value);
    // The places of a step and what they hold, without what is cut off.
    for (value, count) in seen.bins().filter(|(value, _)| inside(*value)) {
        let (places, held) = &mut steps[step(value)];
        *places += 1.0;
        *held += count as f64;
    }
    let kept: f64 = steps.iter().map(|(_, held)| held).sum();
    let total = seen.total() as f64;
    let [mut below, mut above] = [0.0, 0.0];
    for (value, count) in seen.bins().filter(|(value, _)| !inside(*value)) {
        *(if value < low { &mut below } else { &mut above }) += count as f64;
    }
    let mut sum = 0.0;
    let bins: Vec<(f64, u64)> = seen.bins().filter(|(value, _)| inside(*value)).collect();
    for (index, &(value, count)) in bins.iter().enumerate() {
        let mut count = count as f64;
        count += if index == 0 { below } else { 0.0 };
        count += if index + 1 == bins.len() { above } else { 0.0 };
        let (places, held) = steps[step(value)];
        let (was, is) = (count / total, (held / places / kept).max(LEAST));
        sum += was * (was / is).ln();
    }
    if bins.is_empty() { f64::INFINITY } else { sum }
}
