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
        })
    }

    /// # Errors
    /// There are not `depth` weights under the window for every output channel.
    pub(crate) fn check_weights(&self, weights: &[i8], depth: usize) -> Result<(), KernelError> {
        check_count("weights", depth * self.output.channels, weights.len())
    }

    /// The length of the input's rows that the window slides over, padding included.
    pub(crate) fn padded_width(&self) -> usize {
        (self.output.width - 1) * self.window.stride[1] + self.window.kernel[1]
    }
}
