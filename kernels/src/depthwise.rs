//! Convolution of each channel by itself.
//!
//! A thread takes some rows of the output and in them 16 channels at a time. It widens the rows
//! that the window sees to 16 bit, every column together with the next, so that one instruction
//! multiplies two columns by their weights; rows that windows share are widened once.

use crate::arch::{self, BLOCK, LANES};
use crate::workers::{Scratch, Workers};
use crate::{Image, Isa, KernelError, Range, Requantize, Window};

/// Bytes of input under the rows that one part of the work computes.
const BAND_BYTES: usize = 96 << 10;

/// The most rows of a window.
const MAX_ROWS: usize = 16;

/// A depthwise convolution, packed.
#[derive(Debug)]
pub struct Depthwise {
    isa: Isa,
    input: Image,
    output: Image,
    window: Window,
    input_zero_point: u8,
    /// Block after block of channels; in each for every row and pair of columns of the window the
    /// two weights of each channel.
    weights: Vec<i16>,
    bias: Vec<i32>,
    scale: Vec<f32>,
    range: Range,
}

impl Depthwise {
    /// Packs `weights`, which are in the order channel, row, column.
    ///
    /// # Errors
    /// The window does not fit, counts do not match the shape, or a scale is not a positive number.
    pub fn new(
        isa: Isa,
        input: Image,
        window: Window,
        input_zero_point: u8,
        weights: &[i8],
        requantize: &Requantize,
    ) -> Result<Depthwise, KernelError> {
        let output = window.output(input, input.channels)?;
        requantize.check(output.channels)?;
        let [rows, columns] = window.kernel;
        if rows > MAX_ROWS || columns > MAX_ROWS {
            return Err(KernelError::Shape("the kernel of a depthwise convolution"));
        }
        let expected = rows * columns * input.channels;
        if weights.len() != expected {
            let (what, found) = ("weights", weights.len());
            return Err(KernelError::Count {
                what,
                expected,
                found,
            });
        }
        let blocks = input.channels.div_ceil(BLOCK);
        let padded = requantize.padded(blocks * BLOCK);
        let order = |index: usize| index / BLOCK * BLOCK + LANES[index % BLOCK];
        Ok(Depthwise {
            isa,
            input,
            output,
            window,
            input_zero_point,
            weights: pack(weights, input.channels, window.kernel),
            bias: (0..blocks * BLOCK).map(|i| padded.bias[order(i)]).collect(),
            scale: (0..blocks * BLOCK)
                .map(|i| padded.scale[order(i)])
                .collect(),
            range: padded.range,
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
    pub fn run(&self, input: &[u8], output: &mut [u8], workers: &mut Workers) {
        assert_eq!(input.len(), self.input.len());
        assert_eq!(output.len(), self.output.len());
        let row = self.input.width * self.input.channels * self.window.stride[0];
        let parts = (self.output.height * row).div_ceil(BAND_BYTES);
        let rows = self
            .output
            .height
            .div_ceil(parts.next_multiple_of(workers.count()));
        let chunk = rows * self.output.width * self.output.channels;
        workers.for_each_chunk(output, chunk, &|index, out, scratch| {
            for block in 0..self.input.channels.div_ceil(BLOCK) {
                self.block(input, index * rows, block, out, scratch);
            }
        });
    }

    /// Some rows of the output, from `first` on, in one block of channels.
    fn block(
        &self,
        input: &[u8],
        first: usize,
        block: usize,
        out: &mut [u8],
        scratch: &mut Scratch,
    ) {
        let [kernel_rows, kernel_columns] = self.window.kernel;
        let [step_y, step_x] = self.window.stride;
        let pairs = kernel_columns.div_ceil(2);
        let row_words = ((self.output.width - 1) * step_x + 2 * pairs) * 2 * BLOCK;
        let words = scratch.words(kernel_rows * row_words);
        let channel = block * BLOCK;
        let channels = BLOCK.min(self.input.channels - channel);
        let len = kernel_rows * pairs * 2 * BLOCK;
        let end = arch::LineEnd {
            weights: &self.weights[block * len..][..len],
            bias: &self.bias[channel..][..BLOCK],
            scale: &self.scale[channel..][..BLOCK],
            range: self.range,
            channels,
            step: self.output.channels,
        };
        // The next row of the padded image to widen; row `r` is kept in slot `r % kernel_rows`.
        let mut next = 0;
        let mut rows = [0; MAX_ROWS];
        let rows = &mut rows[..kernel_rows];
        for (index, out) in out
            .chunks_exact_mut(self.output.width * self.output.channels)
            .enumerate()
        {
            let top = (first + index) * step_y;
            for row in next.max(top)..top + kernel_rows {
                let words = &mut words[row % kernel_rows * row_words..][..row_words];
                self.widen(input, row, channel, channels, words);
            }
            next = top + kernel_rows;
            for (offset, row) in rows.iter_mut().enumerate() {
                *row = (top + offset) % kernel_rows * row_words;
            }
            let line = arch::Line {
                words,
                rows,
                pairs,
                step: step_x,
            };
            arch::line(
                self.isa,
                &line,
                &end,
                self.output.width,
                &mut out[channel..],
            );
        }
    }

    /// Row `row` of the padded image, in pairs.
    fn widen(&self, input: &[u8], row: usize, channel: usize, channels: usize, words: &mut [i16]) {
        let image = self.input;
        let [above, left] = self.window.pad_before;
        let inside = (above..above + image.height).contains(&row);
        let room = words.len() / (2 * BLOCK);
        let left = left.min(room);
        let columns = if inside {
            image.width.min(room - left)
        } else {
            0
        };
        let from = if inside {
            (row - above) * image.width * image.channels + channel
        } else {
            0
        };
        let source = arch::PairSource {
            bytes: &input[from..],
            columns,
            step: image.channels,
            channels,
        };
        arch::pair(self.isa, &source, self.input_zero_point, left, words);
    }
}

fn pack(weights: &[i8], channels: usize, [rows, columns]: [usize; 2]) -> Vec<i16> {
    let pairs = columns.div_ceil(2);
    let mut packed = vec![0; channels.div_ceil(BLOCK) * rows * pairs * 2 * BLOCK];
    for (channel, weights) in weights.chunks_exact(rows * columns).enumerate() {
        let lane = LANES
            .iter()
            .position(|lane| *lane == channel % BLOCK)
            .unwrap_or(0);
        for (index, weight) in weights.iter().enumerate() {
            let (row, column) = (index / columns, index % columns);
            let pair = (channel / BLOCK * rows + row) * pairs + column / 2;
            packed[(pair * BLOCK + lane) * 2 + column % 2] = i16::from(*weight);
        }
    }
    packed
}
