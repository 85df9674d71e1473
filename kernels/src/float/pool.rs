//! Pooling.

use crate::workers::Workers;
use crate::{Image, Isa, KernelError, PoolKind, Window, arch};

/// Channels that are summed at a time.
const LANES: usize = 64;

/// The mean of each channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlobalAverage {
    isa: Isa,
    input: Image,
}

impl GlobalAverage {
    /// # Errors
    /// The image is empty or too large.
    pub fn new(isa: Isa, input: Image) -> Result<GlobalAverage, KernelError> {
        input.check()?;
        Ok(GlobalAverage { isa, input })
    }

    /// Computes one value per channel.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[f32], output: &mut [f32], workers: &mut Workers) {
        let channels = self.input.channels;
        assert!(input.len() == self.input.len() && output.len() == channels);
        let part = channels.div_ceil(workers.count()).next_multiple_of(LANES);
        let count = self.input.pixels() as f32;
        workers.for_each_chunk(output, part, &|index, out, _| {
            arch::vectorized(self.isa, || {
                for (lane, out) in out.chunks_mut(LANES).enumerate() {
                    let first = index * part + lane * LANES;
                    let mut sums = [0.0_f32; LANES];
                    for pixel in input.chunks_exact(channels) {
                        for (sum, value) in sums.iter_mut().zip(&pixel[first..][..out.len()]) {
                            *sum += value;
                        }
                    }
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = sum / count;
                    }
                }
            });
        });
    }
}

/// Pooling in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool {
    isa: Isa,
    kind: PoolKind,
    input: Image,
    output: Image,
    window: Window,
}

impl Pool {
    /// # Errors
    /// The window does not fit or can lie outside the image.
    pub fn new(
        isa: Isa,
        kind: PoolKind,
        input: Image,
        window: Window,
    ) -> Result<Pool, KernelError> {
        let output = window.output(input, input.channels)?;
        window.check_cover()?;
        Ok(Pool {
            isa,
            kind,
            input,
            output,
            window,
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
    pub fn run(&self, input: &[f32], output: &mut [f32], workers: &mut Workers) {
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
    fn pixel(&self, input: &[f32], [y, x]: [usize; 2], output: &mut [f32]) {
        let rows = self.window.covered(0, y, self.input.height);
        let columns = self.window.covered(1, x, self.input.width);
        let pixels = rows
            .clone()
            .flat_map(|y| columns.clone().map(move |x| y * self.input.width + x));
        let channels = self.input.channels;
        let count = match self.kind {
            PoolKind::Average {
                count_padding: true,
            } => self.window.kernel[0] * self.window.kernel[1],
            _ => rows.len() * columns.len(),
        };
        for (lane, output) in output.chunks_mut(LANES).enumerate() {
            let inside = pixels
                .clone()
                .map(|pixel| &input[pixel * channels + lane * LANES..][..output.len()]);
            if self.kind == PoolKind::Max {
                let mut most = [f32::NEG_INFINITY; LANES];
                for values in inside {
                    for (most, value) in most.iter_mut().zip(values) {
                        // What is no number wins.
                        let more = *value > *most || value.is_nan();
                        *most = if more { *value } else { *most };
                    }
                }
                output.copy_from_slice(&most[..output.len()]);
            } else {
                let mut sums = [0.0; LANES];
                for values in inside {
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum += value;
                    }
                }
                for (out, sum) in output.iter_mut().zip(sums) {
                    *out = sum / count as f32;
                }
            }
        }
    }
}
