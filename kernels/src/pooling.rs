//! What pools of bytes and of `f32` have in common.

use std::ops::Range;

use crate::arch::{Vectorize, vectorized};
use crate::{Image, Isa, KernelError, PoolKind, Window, Workers};

/// Channels that are taken at a time.
const LANES: usize = 64;

/// What is pooled.
pub(crate) trait Value: Copy + Send + Sync {
    type Sum: Copy;
    const ZERO: Self::Sum;
    const LEAST: Self;

    fn add(sum: Self::Sum, value: Self) -> Self::Sum;
    fn larger(self, other: Self) -> Self;
}

impl Value for u8 {
    type Sum = i32;
    const ZERO: i32 = 0;
    const LEAST: u8 = 0;

    #[inline(always)]
    fn add(sum: i32, value: u8) -> i32 {
        sum.wrapping_add(i32::from(value))
    }

    #[inline(always)]
    fn larger(self, other: u8) -> u8 {
        self.max(other)
    }
}

impl Value for f32 {
    type Sum = f32;
    const ZERO: f32 = 0.0;
    const LEAST: f32 = f32::NEG_INFINITY;

    #[inline(always)]
    fn add(sum: f32, value: f32) -> f32 {
        sum + value
    }

    /// What is no number wins.
    #[inline(always)]
    fn larger(self, other: f32) -> f32 {
        let larger = if other > self { other } else { self };
        // A choice would become a store with a mask, which is slow.
        let all_ones = u32::from(other.is_nan()).wrapping_neg();
        f32::from_bits(larger.to_bits() | all_ones)
    }
}

/// Some pixels of an image.
struct Under<'a, T> {
    values: &'a [T],
    image: Image,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<T: Value> Under<'_, T> {
    /// One value for each channel from `first` on.
    #[inline(always)]
    fn fold<S: Copy>(
        &self,
        mut first: usize,
        output: &mut [T],
        start: S,
        add: impl Fn(S, T) -> S,
        end: impl Fn(S) -> T,
    ) {
        let (whole, rest) = output.as_chunks_mut::<LANES>();
        for lanes in whole {
            // Of a known size they stay in registers.
            let mut sums = [start; LANES];
            self.each_pixel(first, LANES, |values| {
                sums = std::array::from_fn(|lane| add(sums[lane], values[lane]));
            });
            *lanes = sums.map(&end);
            first += LANES;
        }
        let mut sums = [start; LANES];
        self.each_pixel(first, rest.len(), |values| {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = add(*sum, *value);
            }
        });
        for (out, sum) in rest.iter_mut().zip(sums) {
            *out = end(sum);
        }
    }

    /// `count` channels of each pixel, from `first` on.
    #[inline(always)]
    fn each_pixel(&self, first: usize, count: usize, mut take: impl FnMut(&[T])) {
        if count == 0 {
            return;
        }
        for y in self.rows.clone() {
            for x in self.columns.clone() {
                let pixel = (y * self.image.width + x) * self.image.channels;
                take(&self.values[pixel + first..][..count]);
            }
        }
    }
}

/// What `mean` makes of the sum of each channel.
///
/// # Panics
/// A length is not that of the image.
pub(crate) fn global_average<T: Value>(
    isa: Isa,
    image: Image,
    input: &[T],
    output: &mut [T],
    workers: &mut Workers,
    mean: impl Fn(T::Sum) -> T + Sync,
) {
    assert!(input.len() == image.len() && output.len() == image.channels);
    let under = Under {
        values: input,
        image,
        rows: 0..image.height,
        columns: 0..image.width,
    };
    let part = image.channels.div_ceil(workers.count());
    let part = part.next_multiple_of(LANES);
    workers.for_each_chunk(output, part, &|index, out, _| {
        vectorized(isa, || {
            under.fold(index * part, out, T::ZERO, T::add, &mean)
        });
    });
}

/// Pooling in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pooling {
    isa: Isa,
    kind: PoolKind,
    input: Image,
    pub(crate) output: Image,
    window: Window,
}

impl Pooling {
    /// # Errors
    /// The window does not fit or can lie outside the image.
    pub(crate) fn new(
        isa: Isa,
        kind: PoolKind,
        input: Image,
        window: Window,
    ) -> Result<Pooling, KernelError> {
        let output = window.output(input, input.channels)?;
        window.check_cover()?;
        Ok(Pooling {
            isa,
            kind,
            input,
            output,
            window,
        })
    }

    /// Computes `output` from `input`. `mean` is told how many pixels lie under the window and how
    /// many count, and says what becomes of their sums.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub(crate) fn run<T: Value, M: Fn(T::Sum) -> T>(
        &self,
        input: &[T],
        output: &mut [T],
        workers: &mut Workers,
        mean: impl Fn(usize, usize) -> M + Sync,
    ) {
        assert!(input.len() == self.input.len() && output.len() == self.output.len());
        let rows = self.output.height.div_ceil(workers.count());
        let part = rows * self.output.width * self.output.channels;
        workers.for_each_chunk(output, part, &|index, output, _| {
            let (pooling, mean) = (self, &mean);
            vectorized(
                self.isa,
                Rows {
                    pooling,
                    input,
                    first: index * rows,
                    output,
                    mean,
                },
            );
        });
    }
}

/// Some rows of the output, from `first` on.
struct Rows<'a, T, F> {
    pooling: &'a Pooling,
    input: &'a [T],
    first: usize,
    output: &'a mut [T],
    mean: &'a F,
}

impl<T: Value, M: Fn(T::Sum) -> T, F: Fn(usize, usize) -> M> Vectorize for Rows<'_, T, F> {
    #[inline(always)]
    fn run(self) {
        let Pooling {
            input: image,
            output: Image {
                width, channels, ..
            },
            window,
            ..
        } = *self.pooling;
        for (y, out) in self.output.chunks_exact_mut(width * channels).enumerate() {
            for (x, out) in out.chunks_exact_mut(channels).enumerate() {
                let rows = window.covered(0, self.first + y, image.height);
                let columns = window.covered(1, x, image.width);
                let inside = rows.len() * columns.len();
                let under = Under {
                    values: self.input,
                    image,
                    rows,
                    columns,
                };
                match self.pooling.kind {
                    PoolKind::Max => under.fold(0, out, T::LEAST, T::larger, |most| most),
                    PoolKind::Average { count_padding } => {
                        let [height, width] = window.kernel;
                        let count = if count_padding {
                            height * width
                        } else {
                            inside
                        };
                        under.fold(0, out, T::ZERO, T::add, (self.mean)(inside, count));
                    }
                }
            }
        }
    }
}
