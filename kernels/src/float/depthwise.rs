//! Convolution of each channel by itself.
//!
//! A thread takes some rows of the output and in them 16 channels at a time, so that the rows that
//! windows share stay in the first cache. Windows at the edge are cut to what lies in the image.

use crate::arch::float::{LANES, Lanes, Rows, rows};
use crate::conv::share;
use crate::float::Activation;
use crate::workers::Workers;
use crate::{Aligned, Image, Isa, KernelError, Window, check_count};

/// Output of one part of the work.
const PART_BYTES: usize = 128 << 10;

/// A depthwise convolution, packed.
#[derive(Clone, Debug, PartialEq)]
pub struct Depthwise {
    isa: Isa,
    input: Image,
    output: Image,
    window: Window,
    /// Block after block of channels; in each for every row and column of the window its weights.
    weights: Aligned<Lanes>,
    bias: Aligned<Lanes>,
    activation: Activation,
}

impl Depthwise {
    /// Packs `weights`, which are in the order channel, row, column.
    ///
    /// # Errors
    /// The window does not fit, or counts do not match the shape.
    pub fn new(
        isa: Isa,
        input: Image,
        window: Window,
        weights: &[f32],
        bias: &[f32],
        activation: Activation,
    ) -> Result<Depthwise, KernelError> {
        let output = window.output(input, input.channels)?;
        let taps = window.kernel[0] * window.kernel[1];
        check_count("weights", taps * output.channels, weights.len())?;
        check_count("biases", output.channels, bias.len())?;
        Ok(Depthwise {
            isa,
            input,
            output,
            window,
            weights: Lanes::side_by_side(weights, taps),
            bias: Lanes::pack(bias),
            activation,
        })
    }

    /// The size of the output.
    pub fn output(&self) -> Image {
        self.output
    }

    /// How many products one run sums.
    pub fn products(&self) -> usize {
        self.output.len() * self.window.kernel[0] * self.window.kernel[1]
    }

    /// Computes `output` from `input`.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[f32], output: &mut [f32], workers: &mut Workers) {
        assert_eq!(input.len(), self.input.len());
        assert_eq!(output.len(), self.output.len());
        let row = self.output.width * self.output.channels;
        let count = share(self.output.height, PART_BYTES / 4 / row, 1, workers.count());
        workers.for_each_chunk(output, count * row, &|index, out, _| {
            for (block, (weights, bias)) in self.blocks().enumerate() {
                let layer = Rows {
                    values: input,
                    input: self.input,
                    output: self.output,
                    window: self.window,
                    weights,
                    bias,
                    limits: self.activation.limits(),
                    first: index * count,
                    channel: block * LANES,
                };
                rows(self.isa, &layer, out);
            }
            self.activation.after_limits().apply(self.isa, out);
        });
    }

    fn blocks(&self) -> impl Iterator<Item = (&[Lanes], &Lanes)> {
        let taps = self.window.kernel[0] * self.window.kernel[1];
        self.weights.chunks_exact(taps).zip(self.bias.iter())
    }
}
