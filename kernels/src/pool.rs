//! Pooling.

use crate::pooling::{Pooling, global_average};
use crate::requantize::check_scale;
use crate::{Image, Isa, KernelError, Quantization, Range, Window, Workers};

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
        let mean = |sum: i32| {
            self.range
                .round(sum.wrapping_sub(self.offset) as f32 * self.ratio)
        };
        global_average(self.isa, self.input, input, output, workers, mean);
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
    pooling: Pooling,
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
        let pooling = Pooling::new(isa, kind, input, window)?;
        check_scale(
            quantization.scale / (output_scale * (window.kernel[0] * window.kernel[1]) as f32),
        )?;
        Ok(Pool {
            pooling,
            quantization,
            output_scale,
            range,
        })
    }

    /// The size of the output.
    pub fn output(&self) -> Image {
        self.pooling.output
    }

    /// Computes `output` from `input`.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[u8], output: &mut [u8], workers: &mut Workers) {
        let mean = |inside: usize, count: usize| {
            let ratio = self.quantization.scale / (self.output_scale * count as f32);
            let offset = inside as i32 * i32::from(self.quantization.zero_point);
            move |sum: i32| self.range.round(sum.wrapping_sub(offset) as f32 * ratio)
        };
        self.pooling.run(input, output, workers, mean);
    }
}
