//! Separable resampling of packed RGB in integers.
//!
//! Columns first, then rows, each with a table of weights in fixed point. The weights come from
//! `f64` additions, multiplications and divisions, which IEEE 754 rounds alike everywhere; all the
//! rest is integers. So every CPU gives the same bytes, and they are those of Pillow.

use super::{Filter, Region};

/// Weights are multiples of `2^-PRECISION`. The absolute weights of a position sum up to at most
/// 1.3, so `255 * 1.3 * 2^22` and the rounding stay below `2^31`.
const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);

pub(super) type Pixel = [u8; 3];

/// A region of rows that are `stride` pixels long. It lies inside.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) pixels: &'a [Pixel],
    pub(super) stride: usize,
    pub(super) region: Region,
}

/// Like [`Source`], to write to.
pub(super) struct Target<'a> {
    pub(super) pixels: &'a mut [Pixel],
    pub(super) stride: usize,
    pub(super) region: Region,
}

/// Keeps its tables and buffers from frame to frame.
#[derive(Debug, Clone)]
pub(super) struct Resampler {
    filter: Filter,
    columns: Axis,
    rows: Axis,
    /// The rows of the source with the columns of the target.
    narrowed: Vec<Pixel>,
    /// One row of the target before rounding.
    sums: Vec<i32>,
}

impl Resampler {
    pub(super) fn new(filter: Filter) -> Resampler {
        let (columns, rows) = (Axis::default(), Axis::default());
        Resampler {
            filter,
            columns,
            rows,
            narrowed: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// Fills the target's region with the source's.
    pub(super) fn resample(&mut self, source: Source<'_>, target: Target<'_>) {
        let (from, to) = (source.region, target.region);
        let source = if from.width == to.width {
            source
        } else {
            let (width, height) = (to.width as usize, from.height as usize);
            self.columns
                .prepare(self.filter, from.width as usize, width);
            self.narrowed.resize(width * height, [0; 3]);
            for (y, out) in self.narrowed.chunks_exact_mut(width).enumerate() {
                self.columns.resample_row(source.row(y), out);
            }
            let region = Region {
                x: 0,
                y: 0,
                width: to.width,
                height: from.height,
            };
            Source {
                pixels: &self.narrowed,
                stride: width,
                region,
            }
        };
        if from.height == to.height {
            target
                .rows()
                .enumerate()
                .for_each(|(y, out)| out.copy_from_slice(source.row(y)));
        } else {
            self.rows
                .prepare(self.filter, from.height as usize, to.height as usize);
            self.sums.resize(to.width as usize * 3, 0);
            self.rows.resample_rows(source, target, &mut self.sums);
        }
    }
}

impl<'a> Source<'a> {
    fn row(&self, y: usize) -> &'a [Pixel] {
        let first = (self.region.y as usize + y) * self.stride + self.region.x as usize;
        &self.pixels[first..][..self.region.width as usize]
    }
}

impl<'a> Target<'a> {
    fn rows(self) -> impl Iterator<Item = &'a mut [Pixel]> {
        let Region {
            x,
            y,
            width,
            height,
        } = self.region;
        let rows = self.pixels.chunks_exact_mut(self.stride);
        let rows = rows.skip(y as usize).take(height as usize);
        rows.map(move |row| &mut row[x as usize..][..width as usize])
    }
}

/// Which source positions make up each target position along one axis, and with what weights.
#[derive(Debug, Clone, Default)]
struct Axis {
    from: usize,
    to: usize,
    /// For each target position, its first source position and where its weights begin.
    starts: Vec<(usize, usize)>,
    weights: Vec<i32>,
    /// The weights of one position before rounding.
    exact: Vec<f64>,
}

impl Axis {
    /// Makes the table for `from` positions that become `to`, both at least 1.
    fn prepare(&mut self, filter: Filter, from: usize, to: usize) {
        if (self.from, self.to) == (from, to) {
            return;
        }
        (self.from, self.to) = (from, to);
        self.starts.clear();
        self.weights.clear();
        let scale = from as f64 / to as f64;
        let widening = scale.max(1.0);
        let support = filter.support() * widening;
        let per_pixel = 1.0 / widening;
        for position in 0..to {
            let centre = (position as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let exact = |at: usize| filter.weight((at as f64 - centre + 0.5) * per_pixel);
            self.exact.clear();
            self.exact.extend((first..end).map(exact));
            let total: f64 = self.exact.iter().sum();
            let fixed = |weight: &f64| (weight / total * f64::from(1 << PRECISION)).round() as i32;
            self.starts.push((first, self.weights.len()));
            self.weights.extend(self.exact.iter().map(fixed));
        }
    }

    /// For each target position, its first source position and the weights from there on.
    fn taps(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let ends = self.starts.iter().skip(1).map(|&(_, begin)| begin);
        let taps = self.starts.iter().zip(ends.chain([self.weights.len()]));
        taps.map(|(&(first, begin), end)| (first, &self.weights[begin..end]))
    }

    // Sums wrap in name only, see PRECISION: checked sums would not be vectorised.

    fn resample_row(&self, row: &[Pixel], out: &mut [Pixel]) {
        for ((first, weights), out) in self.taps().zip(out) {
            let mut sums = [HALF; 3];
            for (pixel, &weight) in row[first..].iter().zip(weights) {
                for (sum, &byte) in sums.iter_mut().zip(pixel) {
                    *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(byte)));
                }
            }
            *out = sums.map(to_byte);
        }
    }

    fn resample_rows(&self, source: Source<'_>, target: Target<'_>, sums: &mut [i32]) {
        for ((first, weights), out) in self.taps().zip(target.rows()) {
            sums.fill(HALF);
            for (y, &weight) in (first..).zip(weights) {
                for (sum, &byte) in sums.iter_mut().zip(source.row(y).as_flattened()) {
                    *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(byte)));
                }
            }
            for (byte, &sum) in out.as_flattened_mut().iter_mut().zip(&*sums) {
                *byte = to_byte(sum);
            }
        }
    }
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

impl Filter {
    /// Beyond this distance from the centre, in pixels, the weight is 0.
    fn support(self) -> f64 {
        match self {
            Filter::Triangle => 1.0,
            Filter::CatmullRom => 2.0,
        }
    }

    /// The weight at a distance from the centre; not yet divided by the sum of all.
    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Filter::Triangle => (1.0 - x).max(0.0),
            // Keys 1981 with a = -0.5.
            Filter::CatmullRom if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Filter::CatmullRom if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            Filter::CatmullRom => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the wrapping sums rest on, and that one colour stays itself.
    #[test]
    fn weights_add_up_to_one_and_never_overflow() {
        let sizes = (1..=64).chain([97, 224, 1000, 65_535]);
        for filter in [Filter::Triangle, Filter::CatmullRom] {
            let mut axis = Axis::default();
            for (from, to) in sizes
                .clone()
                .flat_map(|from| sizes.clone().map(move |to| (from, to)))
            {
                if to > 2048 {
                    continue;
                }
                axis.prepare(filter, from, to);
                assert_eq!(axis.taps().count(), to);
                for (first, weights) in axis.taps() {
                    assert!(!weights.is_empty() && first + weights.len() <= from);
                    let sum: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
                    let magnitude: i64 =
                        weights.iter().map(|&weight| i64::from(weight).abs()).sum();
                    let one = 1 << PRECISION;
                    assert!(
                        255 * (sum - one).abs() < one / 2,
                        "{filter:?} {from} to {to}: {sum}"
                    );
                    assert!(255 * magnitude + i64::from(HALF) < 1 << 31, "{magnitude}");
                }
            }
        }
    }
}
