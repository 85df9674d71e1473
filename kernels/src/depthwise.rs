//! Convolution of each channel by itself.
//!
//! A thread takes some rows of the output and in them 16 channels at a time. It widens the rows
//! that the window sees to 16 bit, every column together with the next, so that one instruction
//! multiplies two columns by their weights; rows that windows share are widened once.

#[cfg(target_arch = "aarch64")]
mod bytes;

use crate::arch::{self, BLOCK, LANES};
use crate::sliding::Sliding;
use crate::workers::{Scratch, Workers};
use crate::{Image, Isa, KernelError, Requantize, Window};

/// Bytes of input under the rows that one part of the work computes.
const BAND_BYTES: usize = 96 << 10;

/// The most rows of a window.
const MAX_ROWS: usize = 16;

/// A depthwise convolution, packed.
#[derive(Debug)]
pub struct Depthwise {
    sliding: Sliding,
    /// Block after block of channels; in each for every row and pair of columns of the window the
    /// two weights of each channel.
    weights: Vec<i16>,
    /// Instead of those.
    #[cfg(target_arch = "aarch64")]
    bytes: Option<bytes::Bytes>,
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
        let [rows, columns] = window.kernel;
        if rows > MAX_ROWS || columns > MAX_ROWS {
            return Err(KernelError::Shape("the kernel of a depthwise convolution"));
        }
        requantize.check(input.channels)?;
        let mut sliding = Sliding::new(isa, input, window, input_zero_point, requantize, BLOCK)?;
        sliding.check_weights(weights, rows * columns)?;
        #[cfg(target_arch = "aarch64")]
        if isa.multiplies_bytes() {
            let bytes = bytes::Bytes::new(&mut sliding, weights);
            return Ok(Depthwise {
                weights: Vec::new(),
                bytes: Some(bytes),
                sliding,
            });
        }
        in_lanes(&mut sliding.bias);
        in_lanes(&mut sliding.scale);
        Ok(Depthwise {
            weights: pack(weights, input.channels, window.kernel),
            #[cfg(target_arch = "aarch64")]
            bytes: None,
            sliding,
        })
    }

    /// The size of the output.
    pub fn output(&self) -> Image {
        self.sliding.output
    }

    /// How many products one run sums.
    pub fn products(&self) -> usize {
        self.sliding.output.len() * self.sliding.window.kernel[0] * self.sliding.window.kernel[1]
    }

    /// Computes `output` from `input`.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[u8], output: &mut [u8], workers: &mut Workers) {
        assert_eq!(input.len(), self.sliding.input.len());
        assert_eq!(output.len(), self.sliding.output.len());
        let row =
            self.sliding.input.width * self.sliding.input.channels * self.sliding.window.stride[0];
        let parts = (self.sliding.output.height * row).div_ceil(BAND_BYTES);
        let rows = self
            .sliding
            .output
            .height
            .div_ceil(parts.next_multiple_of(workers.count()));
        let chunk = rows * self.sliding.output.width * self.sliding.output.channels;
        workers.for_each_chunk(output, chunk, &|index, out, scratch| {
            for block in 0..self.sliding.input.channels.div_ceil(BLOCK) {
                #[cfg(target_arch = "aarch64")]
                if let Some(bytes) = &self.bytes {
                    bytes.block(&self.sliding, input, index * rows, block, out, scratch);
                    continue;
                }
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
        let [kernel_rows, kernel_columns] = self.sliding.window.kernel;
        let [step_y, step_x] = self.sliding.window.stride;
        let pairs = kernel_columns.div_ceil(2);
        let row_words = ((self.sliding.output.width - 1) * step_x + 2 * pairs) * 2 * BLOCK;
        let words = scratch.words(kernel_rows * row_words);
        let channel = block * BLOCK;
        let channels = BLOCK.min(self.sliding.input.channels - channel);
        let len = kernel_rows * pairs * 2 * BLOCK;
        let end = arch::LineEnd {
            weights: &self.weights[block * len..][..len],
            bias: &self.sliding.bias[channel..][..BLOCK],
            scale: &self.sliding.scale[channel..][..BLOCK],
            range: self.sliding.range,
            channels,
            step: self.sliding.output.channels,
        };
        // The next row of the padded image to widen; row `r` is kept in slot `r % kernel_rows`.
        let mut next = 0;
        let mut rows = [0; MAX_ROWS];
        let rows = &mut rows[..kernel_rows];
        for (index, out) in out
            .chunks_exact_mut(self.sliding.output.width * self.sliding.output.channels)
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
                self.sliding.isa,
                &line,
                &end,
                self.sliding.output.width,
                &mut out[channel..],
            );
        }
    }

    /// Row `row` of the padded image, in pairs.
    fn widen(&self, input: &[u8], row: usize, channel: usize, channels: usize, words: &mut [i16]) {
        let image = self.sliding.input;
        let [above, left] = self.sliding.window.pad_before;
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
        arch::pair(
            self.sliding.isa,
            &source,
            self.sliding.input_zero_point,
            left,
            words,
        );
    }
}

/// Puts the channels of each block in the order of [`LANES`].
fn in_lanes<T: Copy>(values: &mut [T]) {
    for block in values.as_chunks_mut::<BLOCK>().0 {
        *block = LANES.map(|lane| block[lane]);
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
