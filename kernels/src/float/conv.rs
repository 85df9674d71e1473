//! Convolution of all input channels with all output channels, as a matrix product.
//!
//! The values under one row of the window lie next to each other in the input, so the sum for a
//! pixel runs over `kernel rows` segments of it. Where there is padding, a thread copies the rows
//! that its part needs, with zeros around them, to its scratch memory.

use crate::arch::float::{LANES, Lanes, Product, multiply};
use crate::conv::share;
use crate::float::Activation;
use crate::workers::{Scratch, Workers};
use crate::{Aligned, Image, Isa, KernelError, Window, check_count};

/// Input and output of one part of the work: they stay in the second cache while panel after panel
/// of weights passes.
const PART_BYTES: usize = 192 << 10;

/// Rows that tiles have on no CPU more of; parts are multiples where that matters little.
const ROWS: usize = 14;

/// Values that are so many apart fall in the same few lines of the first cache.
const COLLIDING: usize = 1024;

/// A convolution, packed.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    isa: Isa,
    input: Image,
    output: Image,
    window: Window,
    weights: Aligned<Lanes>,
    bias: Aligned<Lanes>,
    activation: Activation,
}

impl Conv {
    /// Packs `weights`, which are in the order output channel, row, column, input channel.
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
    ) -> Result<Conv, KernelError> {
        let output = window.output(input, bias.len())?;
        let depth = window.kernel[0] * window.kernel[1] * input.channels;
        check_count("weights", depth * output.channels, weights.len())?;
        Ok(Conv {
            isa,
            input,
            output,
            window,
            weights: Lanes::side_by_side(weights, depth),
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
        self.output.len() * self.depth()
    }

    /// Products in the sum for one output.
    fn depth(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1] * self.input.channels
    }

    /// Computes `output` from `input`; `addend` is added before the activation.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(
        &self,
        input: &[f32],
        addend: Option<&[f32]>,
        output: &mut [f32],
        workers: &mut Workers,
    ) {
        assert_eq!(input.len(), self.input.len());
        assert_eq!(output.len(), self.output.len());
        assert!(addend.is_none_or(|addend| addend.len() == output.len()));
        let Image {
            height,
            width,
            channels,
        } = self.output;
        let padded = self.window.pad_before != [0, 0] || self.window.pad_after != [0, 0];
        let part = if self.output.pixels() == 1 {
            channels.div_ceil(LANES).div_ceil(workers.count()) * LANES
        } else if padded {
            let bytes = self.row() * self.window.stride[0] + width * channels;
            share(height, PART_BYTES / 4 / bytes, 1, workers.count()) * width * channels
        } else {
            let bytes = self.depth() + channels;
            let pixels = PART_BYTES / 4 / bytes;
            share(height * width, pixels, ROWS, workers.count()) * channels
        };
        workers.for_each_chunk(output, part, &|index, out, scratch| {
            let first = index * part;
            let addend = addend.map(|addend| &addend[first..][..out.len()]);
            if padded {
                self.band(input, addend, first, out, scratch);
            } else if self.collides() {
                self.apart(input, addend, first, out, scratch);
            } else {
                let (_, starts) = scratch.float_rows(0, out.len().div_ceil(channels));
                let row = self.input.width * self.input.channels;
                self.starts(first / channels, row, starts);
                self.product(input, row, starts, addend, first % channels, out);
            }
            self.activation.after_limits().apply(self.isa, out);
        });
    }

    /// Whether all pixels start in the same few lines of the first cache.
    fn collides(&self) -> bool {
        self.window.kernel == [1, 1]
            && self.output.pixels() > 1
            && (self.input.channels * self.window.stride[1]).is_multiple_of(COLLIDING)
    }

    /// Some pixels of a convolution that sees one at a time, copied to where they do not collide.
    fn apart(
        &self,
        input: &[f32],
        addend: Option<&[f32]>,
        first: usize,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let channels = self.input.channels;
        let row = channels + LANES;
        let count = out.len() / self.output.channels;
        let (values, starts) = scratch.float_rows(count * row, count);
        self.starts(
            first / self.output.channels,
            self.input.width * channels,
            starts,
        );
        for (index, (to, start)) in values
            .chunks_exact_mut(row)
            .zip(starts.iter_mut())
            .enumerate()
        {
            to[..channels].copy_from_slice(&input[*start..][..channels]);
            *start = index * row;
        }
        self.product(values, row, starts, addend, 0, out);
    }

    /// From one row to the next where the input is padded.
    fn row(&self) -> usize {
        let Window { kernel, stride, .. } = self.window;
        let row = ((self.output.width - 1) * stride[1] + kernel[1]) * self.input.channels;
        if (stride[1] * self.input.channels).is_multiple_of(COLLIDING) {
            row + 4 * LANES
        } else {
            row
        }
    }

    /// Outputs from number `first` on, of whole rows unless there is one pixel only.
    fn band(
        &self,
        input: &[f32],
        addend: Option<&[f32]>,
        first: usize,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let Window {
            kernel,
            stride,
            pad_before,
            ..
        } = self.window;
        let channels = self.output.channels;
        let pixels = out.len().div_ceil(channels);
        let row = self.row();
        let rows = (pixels.div_ceil(self.output.width) - 1) * stride[0] + kernel[0];
        let top = first / channels / self.output.width * stride[0];
        let (values, starts) = scratch.float_rows(rows * row, pixels);
        let left = (pad_before[1] * self.input.channels).min(row);
        let wide = self.input.width * self.input.channels;
        for (y, to) in values.chunks_exact_mut(row).enumerate() {
            match (top + y).checked_sub(pad_before[0]) {
                Some(y) if y < self.input.height => {
                    let from = &input[y * wide..][..wide.min(row - left)];
                    let (before, rest) = to.split_at_mut(left);
                    let (inside, after) = rest.split_at_mut(from.len());
                    before.fill(0.0);
                    inside.copy_from_slice(from);
                    after.fill(0.0);
                }
                _ => to.fill(0.0),
            }
        }
        self.starts(0, row, starts);
        self.product(values, row, starts, addend, first % channels, out);
    }

    /// Where the values of outputs from number `first` on start, in rows of `row` values.
    fn starts(&self, first: usize, row: usize, starts: &mut [usize]) {
        let [down, right] = self.window.stride;
        for (index, start) in starts.iter_mut().enumerate() {
            let (y, x) = (
                (first + index) / self.output.width,
                (first + index) % self.output.width,
            );
            *start = y * down * row + x * right * self.input.channels;
        }
    }

    /// All channels of some pixels, or from `channel` on some of the only pixel.
    fn product(
        &self,
        values: &[f32],
        row: usize,
        starts: &[usize],
        addend: Option<&[f32]>,
        channel: usize,
        out: &mut [f32],
    ) {
        let [segments, columns] = self.window.kernel;
        let channels = self.output.channels.min(out.len());
        let panels = channel / LANES..(channel + channels).div_ceil(LANES);
        let depth = self.depth();
        let product = Product {
            values,
            starts,
            segments,
            segment_step: row,
            depth: columns * self.input.channels,
            weights: &self.weights[panels.start * depth..panels.end * depth],
            bias: &self.bias[panels],
            addend,
            limits: self.activation.limits(),
            columns: channels,
            step: self.output.channels,
        };
        multiply(self.isa, &product, out);
    }
}
