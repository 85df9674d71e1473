//! Convolution of all input channels with all output channels, as a matrix product.
//!
//! A thread takes some output pixels. It widens the input under them to 16 bit, less the zero point
//! and with zeros for padding, into its scratch memory; the values under one row of the window then
//! lie next to each other, so the sum for a pixel runs over `kernel rows` segments. Weights are
//! packed in panels of 16 output channels, two input values at a time. A tile is the sums of some
//! pixels and one panel, held in registers until they are requantized.

use crate::arch::{self, PANEL, Panel, Rows};
use crate::workers::{Scratch, Workers};
use crate::{Image, Isa, KernelError, Range, Requantize, Window};

/// Scratch memory for the widened input of one part of the work.
const BLOCK_BYTES: usize = 48 << 10;

/// The most output pixels in one part.
const MAX_PIXELS: usize = 1020;

/// Products of a byte and a weight that a 32-bit sum takes without overflow.
const MAX_DEPTH: usize = (i32::MAX as usize) / (255 * 128);

/// A convolution, packed.
#[derive(Debug)]
pub struct Conv {
    isa: Isa,
    input: Image,
    output: Image,
    window: Window,
    input_zero_point: u8,
    /// Panel after panel; in each for every row of the window and every pair of input values the
    /// two weights of each output channel.
    weights: Vec<i16>,
    bias: Vec<i32>,
    scale: Vec<f32>,
    range: Range,
    /// Pairs of input values under one row of the window.
    pairs: usize,
}

impl Conv {
    /// Packs `weights`, which are in the order output channel, row, column, input channel.
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
    ) -> Result<Conv, KernelError> {
        let output = window.output(input, requantize.bias.len())?;
        requantize.check(output.channels)?;
        let segment = window.kernel[1] * input.channels;
        let depth = window.kernel[0] * segment;
        if depth > MAX_DEPTH {
            return Err(KernelError::Shape("the number of products in a sum"));
        }
        if weights.len() != depth * output.channels {
            return Err(KernelError::Count {
                what: "weights",
                expected: depth * output.channels,
                found: weights.len(),
            });
        }
        let padded = requantize.padded(output.channels.next_multiple_of(PANEL));
        Ok(Conv {
            isa,
            input,
            output,
            window,
            input_zero_point,
            weights: pack(weights, output.channels, window.kernel[0], segment),
            bias: padded.bias,
            scale: padded.scale,
            range: padded.range,
            pairs: segment.div_ceil(2),
        })
    }

    /// The size of the output.
    pub fn output(&self) -> Image {
        self.output
    }

    /// How many products one run sums.
    pub fn products(&self) -> usize {
        self.output.len() * self.window.kernel[0] * self.window.kernel[1] * self.input.channels
    }

    /// Computes `output` from `input`.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[u8], output: &mut [u8], workers: &mut Workers) {
        assert_eq!(input.len(), self.input.len());
        assert_eq!(output.len(), self.output.len());
        let channels = self.output.channels;
        if self.output.pixels() == 1 {
            let panels = channels.div_ceil(PANEL).div_ceil(workers.count());
            let part = panels * PANEL;
            workers.for_each_chunk(output, part, &|index, out, scratch| {
                self.columns(input, index * part, out, scratch);
            });
        } else if self.gathers() {
            let row = 2 * self.pairs * size_of::<i16>();
            let most = (BLOCK_BYTES / row).min(MAX_PIXELS);
            let part = share(self.output.pixels(), most, 6, workers.count());
            workers.for_each_chunk(output, part * channels, &|index, out, scratch| {
                self.pixels(input, index * part, out, scratch);
            });
        } else {
            let row = self.padded_width() * self.input.channels * size_of::<i16>();
            let rows = BLOCK_BYTES / row / self.window.stride[0];
            let part = share(self.output.height, rows, 1, workers.count());
            let chunk = part * self.output.width * channels;
            workers.for_each_chunk(output, chunk, &|index, out, scratch| {
                self.band(input, index * part, out, scratch);
            });
        }
    }

    /// Whether each output pixel sees one input pixel.
    fn gathers(&self) -> bool {
        self.window.kernel == [1, 1]
            && self.window.pad_before == [0, 0]
            && self.window.pad_after == [0, 0]
    }

    /// Some output channels of the only output pixel.
    fn columns(&self, input: &[u8], first: usize, out: &mut [u8], scratch: &mut Scratch) {
        let band = Band::new(self, 0, 1);
        let words = scratch.words(band.words());
        band.widen(self, input, words);
        let rows = self.rows(words, &[0], band.row_words);
        for (index, out) in out.chunks_mut(PANEL).enumerate() {
            let step = out.len();
            self.panel(&rows, first / PANEL + index, out, step);
        }
    }

    /// Some output pixels of a convolution that sees one pixel at a time.
    fn pixels(&self, input: &[u8], first: usize, out: &mut [u8], scratch: &mut Scratch) {
        let channels = self.input.channels;
        let row = 2 * self.pairs;
        let count = out.len() / self.output.channels;
        let (words, starts) = scratch.rows(count * row, count);
        let zero_point = self.input_zero_point;
        for (index, start) in starts.iter_mut().enumerate() {
            *start = index * row;
        }
        if self.window.stride == [1, 1] && row == channels {
            let bytes = &input[first * channels..][..count * channels];
            arch::widen(self.isa, bytes, zero_point, words);
        } else {
            for (index, words) in words.chunks_exact_mut(row).enumerate() {
                let (y, x) = (
                    (first + index) / self.output.width,
                    (first + index) % self.output.width,
                );
                let pixel =
                    y * self.window.stride[0] * self.input.width + x * self.window.stride[1];
                let bytes = &input[pixel * channels..][..channels];
                arch::widen(self.isa, bytes, zero_point, &mut words[..channels]);
                words[channels..].fill(0);
            }
        }
        self.panels(&self.rows(words, starts, 0), out);
    }

    /// Some rows of the output.
    fn band(&self, input: &[u8], first: usize, out: &mut [u8], scratch: &mut Scratch) {
        let width = self.output.width;
        let count = out.len() / self.output.channels;
        let band = Band::new(self, first, count / width);
        let (words, starts) = scratch.rows(band.words(), count);
        band.widen(self, input, words);
        let [step_y, step_x] = self.window.stride;
        for (y, starts) in starts.chunks_exact_mut(width).enumerate() {
            for (x, start) in starts.iter_mut().enumerate() {
                *start = y * step_y * band.row_words + x * step_x * self.input.channels;
            }
        }
        self.panels(&self.rows(words, starts, band.row_words), out);
    }

    fn rows<'a>(&self, words: &'a [i16], starts: &'a [usize], segment_step: usize) -> Rows<'a> {
        Rows {
            words,
            starts,
            segments: self.window.kernel[0],
            segment_step,
            pairs: self.pairs,
        }
    }

    fn panels(&self, rows: &Rows<'_>, out: &mut [u8]) {
        for panel in 0..self.output.channels.div_ceil(PANEL) {
            let out = &mut out[panel * PANEL..];
            self.panel(rows, panel, out, self.output.channels);
        }
    }

    fn panel(&self, rows: &Rows<'_>, panel: usize, out: &mut [u8], step: usize) {
        let len = self.window.kernel[0] * self.pairs * 2 * PANEL;
        let panel = Panel {
            weights: &self.weights[panel * len..][..len],
            bias: &self.bias[panel * PANEL..][..PANEL],
            scale: &self.scale[panel * PANEL..][..PANEL],
            range: self.range,
            columns: PANEL.min(self.output.channels - panel * PANEL),
            step,
        };
        arch::multiply(self.isa, rows, &panel, out);
    }

    fn padded_width(&self) -> usize {
        (self.output.width - 1) * self.window.stride[1] + self.window.kernel[1]
    }
}

/// The widened rows of the input that some rows of the output see.
struct Band {
    /// The first of them; above the image if negative.
    top: isize,
    rows: usize,
    row_words: usize,
}

impl Band {
    fn new(conv: &Conv, first: usize, output_rows: usize) -> Band {
        let [step, _] = conv.window.stride;
        Band {
            top: (first * step) as isize - conv.window.pad_before[0] as isize,
            rows: (output_rows - 1) * step + conv.window.kernel[0],
            row_words: conv.padded_width() * conv.input.channels,
        }
    }

    /// One more than the values: a segment of odd length is read in pairs.
    fn words(&self) -> usize {
        self.rows * self.row_words + 1
    }

    fn widen(&self, conv: &Conv, input: &[u8], words: &mut [i16]) {
        let image = conv.input;
        let row_bytes = image.width * image.channels;
        let left = (conv.window.pad_before[1] * image.channels).min(self.row_words);
        let used = row_bytes.min(self.row_words - left);
        for (index, words) in words[..self.rows * self.row_words]
            .chunks_exact_mut(self.row_words)
            .enumerate()
        {
            let y = self.top + index as isize;
            if y < 0 || y >= image.height as isize {
                words.fill(0);
                continue;
            }
            words[..left].fill(0);
            let bytes = &input[y as usize * row_bytes..][..used];
            arch::widen(
                conv.isa,
                bytes,
                conv.input_zero_point,
                &mut words[left..][..used],
            );
            words[left + used..].fill(0);
        }
        words[self.rows * self.row_words..].fill(0);
    }
}

/// How many of `total` equal pieces one part of the work takes: at most `most`, a multiple of
/// `step` where there is more than one part, and about the same for each of `workers`.
fn share(total: usize, most: usize, step: usize, workers: usize) -> usize {
    let parts = total.div_ceil(most.max(1)).next_multiple_of(workers);
    total.div_ceil(parts).next_multiple_of(step)
}

fn pack(weights: &[i8], channels: usize, segments: usize, segment: usize) -> Vec<i16> {
    let pairs = segment.div_ceil(2);
    let panels = channels.div_ceil(PANEL);
    let mut packed = vec![0; panels * segments * pairs * 2 * PANEL];
    for (channel, weights) in weights.chunks_exact(segments * segment).enumerate() {
        for (index, weight) in weights.iter().enumerate() {
            let (row, at) = (index / segment, index % segment);
            let pair = (channel / PANEL * segments + row) * pairs + at / 2;
            packed[(pair * PANEL + channel % PANEL) * 2 + at % 2] = i16::from(*weight);
        }
    }
    packed
}
