//! What all convolutions begin with.

use crate::{Image, Isa, KernelError, Range, Requantize, Window, check_count};

/// A window that slides over an image, and what becomes of the sums under it.
#[derive(Debug)]
pub(crate) struct Sliding {
    pub(crate) isa: Isa,
    pub(crate) input: Image,
    pub(crate) output: Image,
    pub(crate) window: Window,
    pub(crate) input_zero_point: u8,
    /// Per output channel, and zeros up to a whole number of blocks.
    pub(crate) bias: Vec<i32>,
    /// As `bias`.
    pub(crate) scale: Vec<f32>,
    pub(crate) range: Range,
    /// See [`Sliding::check_weights`].
    pub(crate) fits_words: bool,
}

/// Whether values up to `most`, and down to as much below zero, fit in 16 bits when they are rounded.
pub(crate) fn fits_words(most: f32) -> bool {
    most < 32_000.0
}

impl Sliding {
    /// `block` is how many output channels are computed together.
    ///
    /// # Errors
    /// The window does not fit, counts do not match the shape, or a scale is not a positive number.
    pub(crate) fn new(
        isa: Isa,
        input: Image,
        window: Window,
        input_zero_point: u8,
        requantize: &Requantize,
        block: usize,
    ) -> Result<Sliding, KernelError> {
        let output = window.output(input, requantize.bias.len())?;
        requantize.check(output.channels)?;
        let Requantize { bias, scale, range } =
            requantize.padded(output.channels.next_multiple_of(block));
        Ok(Sliding {
            isa,
            input,
            output,
            window,
            input_zero_point,
            bias,
            scale,
            range,
            fits_words: false,
        })
    }

    /// Finds out whether every sum times its scale stays within 16 bits: in networks it does, and then
    /// it can be rounded and narrowed without saturation.
    ///
    /// # Errors
    /// There are not `depth` weights under the window for every output channel.
    pub(crate) fn check_weights(
        &mut self,
        weights: &[i8],
        depth: usize,
    ) -> Result<(), KernelError> {
        check_count("weights", depth * self.output.channels, weights.len())?;
        let ends = self.bias.iter().zip(&self.scale);
        let mut sums = weights.chunks_exact(depth).zip(ends);
        let fits = |(weights, end): (&[i8], (&i32, &f32))| {
            let weights: u64 = weights.iter().map(|w| u64::from(w.unsigned_abs())).sum();
            let most = (255 * weights + u64::from(end.0.unsigned_abs())).min(1 << 31);
            fits_words(most as f32 * end.1)
        };
        // Nobody else asks.
        self.fits_words = cfg!(target_arch = "aarch64") && sums.all(fits);
        Ok(())
    }

    /// The length of the input's rows that the window slides over, padding included.
    pub(crate) fn padded_width(&self) -> usize {
        (self.output.width - 1) * self.window.stride[1] + self.window.kernel[1]
    }
}
