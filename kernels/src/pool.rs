//! Pooling.

use crate::arch;
use crate::requantize::check_scale;
use crate::{Image, Isa, KernelError, Quantization, Range, Window, Workers};

/// Channels that are summed at a time.
const LANES: usize = 64;

/// The mean of each channel: `round((sum - pixels * zi) * r) + zero_point`, saturated, where `r` is
/// `input_scale / (output_scale * pixels)`.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalAverage {
    isa: Isa,
    input: Image,
    offset: i32,
    ratio: f32,
    range: Range,
}

impl GlobalAverage {
    /// # Errors
    /// The image is empty or too large, or a scale is not a positive number.
    pub fn new(
        isa: Isa,
        input: Image,
        quantization: Quantization,
        output_scale: f32,
        range: Range,
    ) -> Result<GlobalAverage, KernelError> {
        input.check()?;
        if input.pixels() > 1 << 23 {
            return Err(KernelError::Shape("the number of pixels in a mean"));
        }
        let ratio = quantization.scale / (output_scale * input.pixels() as f32);
        check_scale(ratio)?;
        let offset = input.pixels() as i32 * i32::from(quantization.zero_point);
        Ok(GlobalAverage {
            isa,
            input,
            offset,
            ratio,
            range,
        })
    }

    /// Computes one value per channel.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[u8], output: &mut [u8], workers: &mut Workers) {
        let channels = self.input.channels;
        assert!(input.len() == self.input.len() && output.len() == channels);
        let part = channels.div_ceil(workers.count()).next_multiple_of(LANES);
        workers.for_each_chunk(output, part, &|index, out, _| {
            arch::vectorized(self.isa, || {
                for (lane, out) in out.chunks_mut(LANES).enumerate() {
                    self.lanes(input, index * part + lane * LANES, out);
                }
            });
        });
    }

    #[inline(always)]
    fn lanes(&self, input: &[u8], first: usize, output: &mut [u8]) {
        let mut sums = [0_i32; LANES];
        for pixel in input.chunks_exact(self.input.channels) {
            for (sum, byte) in sums.iter_mut().zip(&pixel[first..][..output.len()]) {
                *sum = sum.wrapping_add(i32::from(*byte));
            }
        }
        for (out, sum) in output.iter_mut().zip(sums) {
            *out = self
                .range
                .round(sum.wrapping_sub(self.offset) as f32 * self.ratio);
        }
    }
}

/// What a pool makes of the values in its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest; padding does not count.
    Max,
    /// The mean; padding counts as zeros or not at all.
    Average {
        /// Whether it counts.
        count_padding: bool,
    },
}

/// Pooling in a window. The maximum keeps the quantization of the input; the mean of `n` values is
/// `round((sum - n * zi) * (input_scale / (output_scale * n))) + zero_point`, saturated.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    isa: Isa,
    kind: PoolKind,
    input: Image,
    output: Image,
    window: Window,
    quantization: Quantization,
    output_scale: f32,
    range: Range,
}

impl Pool {
    /// # Errors
    /// The window does not fit or can lie outside the image, or a scale is not a positive number.
    pub fn new(
        isa: Isa,
        kind: PoolKind,
        input: Image,
        window: Window,
        quantization: Quantization,
        output_scale: f32,
        range: Range,
    ) -> Result<Pool, KernelError> {
        let output = window.output(input, input.channels)?;
        window.check_cover()?;
        check_scale(
            quantization.scale / (output_scale * (window.kernel[0] * window.kernel[1]) as f32),
        )?;
        Ok(Pool {
            isa,
            kind,
            input,
            output,
            window,
            quantization,
            output_scale,
            range,
        })
    }

    /// The size of the output.
    pub fn output(&self) -> Image {
        self.output
    }

    /// Computes `output` from `input`.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[u8], output: &mut [u8], workers: &mut Workers) {
        assert!(input.len() == self.input.len() && output.len() == self.output.len());
        let row = self.output.width * self.output.channels;
        let rows = self.output.height.div_ceil(workers.count());
        workers.for_each_chunk(output, rows * row, &|index, out, _| {
            arch::vectorized(self.isa, || {
                for (y, out) in out.chunks_exact_mut(row).enumerate() {
                    for (x, out) in out.chunks_exact_mut(self.output.channels).enumerate() {
                        self.pixel(input, [index * rows + y, x], out);
                    }
                }
            });
        });
    }

    #[inline(always)]
    fn pixel(&self, input: &[u8], [y, x]: [usize; 2], output: &mut [u8]) {
        let rows = self.window.covered(0, y, self.input.height);
        let columns = self.window.covered(1, x, self.input.width);
        let pixels = rows
            .clone()
            .flat_map(|y| columns.clone().map(move |x| y * self.input.width + x));
        let channels = self.input.channels;
        if self.kind == PoolKind::Max {
            output.fill(0);
            for pixel in pixels {
                for (out, byte) in output
                    .iter_mut()
                    .zip(&input[pixel * channels..][..channels])
                {
                    *out = (*out).max(*byte);
                }
            }
            return;
        }
        let inside = rows.len() * columns.len();
        let count = match self.kind {
            PoolKind::Average {
                count_padding: true,
            } => self.window.kernel[0] * self.window.kernel[1],
            _ => inside,
        };
        let ratio = self.quantization.scale / (self.output_scale * count as f32);
        let offset = inside as i32 * i32::from(self.quantization.zero_point);
        for (lane, output) in output.chunks_mut(LANES).enumerate() {
            let mut sums = [0_i32; LANES];
            for pixel in pixels.clone() {
                let bytes = &input[pixel * channels + lane * LANES..][..output.len()];
                for (sum, byte) in sums.iter_mut().zip(bytes) {
                    *sum = sum.wrapping_add(i32::from(*byte));
                }
            }
            for (out, sum) in output.iter_mut().zip(sums) {
                *out = self.range.round(sum.wrapping_sub(offset) as f32 * ratio);
            }
        }
    }
}
