//! Convolution of all input channels with all output channels, as a matrix product.
//!
//! A thread takes some output pixels. It converts the input under them to factors, with zeros for
//! padding, in its scratch memory, unless they lie ready in the input; the values under one row of
//! the window then lie next to each other, so the sum for a pixel runs over `kernel rows` segments.
//! Weights are packed in panels of 16 output channels, a group of input values at a time. A tile is
//! the sums of some pixels and one panel, held in registers until they are requantized.

mod band;
pub(crate) mod paired;
pub(crate) mod quads;

use crate::arch::{End, PANEL, Rows};
use crate::factor::{Factor, Packed, Unsigned};
use crate::sliding::Sliding;
use crate::workers::{Scratch, Workers};
use crate::{Image, Isa, KernelError, Requantize, Window};
use band::Band;
use paired::Paired;
use quads::Quads;

/// The factors and the output of one part of the work: they stay in the nearest cache while panel
/// after panel passes. Where panels pass side by side, they come less often, and the second cache is
/// near enough.
const BLOCK_BYTES: usize = 48 << 10;

/// The most output pixels in one part.
const MAX_PIXELS: usize = 1020;

/// Products of a byte and a weight that a 32-bit sum takes without overflow.
const MAX_DEPTH: usize = (i32::MAX as usize) / (255 * 128);

/// A convolution, packed.
#[derive(Debug)]
pub struct Conv {
    sliding: Sliding,
    weights: Weights,
}

/// The weights in the form that the CPU multiplies fastest.
#[derive(Debug)]
enum Weights {
    Words(Packed<i16>),
    Bytes(Packed<i8>),
    Unsigned(Unsigned),
}

/// What a form can be chosen by; a test chooses each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Words,
    Bytes,
    Pairs,
    Quads,
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
        let forms: &[Form] = if isa.multiplies_bytes() {
            &[Form::Bytes]
        } else if isa.adds_quads() && requantize.is_small() {
            &[Form::Quads]
        } else if isa.adds_pairs() {
            &[Form::Pairs, Form::Words]
        } else {
            &[Form::Words]
        };
        Conv::with_forms(
            isa,
            input,
            window,
            input_zero_point,
            weights,
            requantize,
            forms,
        )
    }

    /// With the first of the `forms` that the weights can have; the last they always can.
    fn with_forms(
        isa: Isa,
        input: Image,
        window: Window,
        input_zero_point: u8,
        weights: &[i8],
        requantize: &Requantize,
        forms: &[Form],
    ) -> Result<Conv, KernelError> {
        let mut sliding = Sliding::new(isa, input, window, input_zero_point, requantize, PANEL)?;
        let [segments, columns] = window.kernel;
        let segment = columns * input.channels;
        if segments * segment > MAX_DEPTH {
            return Err(KernelError::Shape("the number of products in a sum"));
        }
        sliding.check_weights(weights, segments * segment)?;
        let packed = forms.iter().find_map(|form| match form {
            Form::Words => Some(Weights::Words(Packed::new::<2>(weights, segments, segment))),
            Form::Bytes => {
                let packed = Packed::new::<4>(weights, segments, segment);
                Some(Weights::Bytes(packed.in_order(isa, segment)))
            }
            Form::Pairs => {
                let row = sliding.padded_width() * input.channels;
                let paired = Paired::new(weights, segments, segment, row);
                paired.map(|paired| Weights::Unsigned(Unsigned::Pairs(paired)))
            }
            Form::Quads => {
                let quads = Quads::new(weights, segments, segment);
                Some(Weights::Unsigned(Unsigned::Quads(quads)))
            }
        });
        let packed = packed.ok_or(KernelError::Shape("the weights' form"))?;
        let zero = match packed {
            Weights::Words(_) => i16::zero(input_zero_point).into(),
            Weights::Bytes(_) => i8::zero(input_zero_point).into(),
            Weights::Unsigned(_) => u8::zero(input_zero_point).into(),
        };
        take_back(zero, weights, segments * segment, &mut sliding.bias);
        Ok(Conv {
            sliding,
            weights: packed,
        })
    }

    /// The size of the output.
    pub fn output(&self) -> Image {
        self.sliding.output
    }

    /// How many products one run sums.
    pub fn products(&self) -> usize {
        let Sliding {
            input,
            output,
            window,
            ..
        } = &self.sliding;
        output.len() * window.kernel[0] * window.kernel[1] * input.channels
    }

    /// Computes `output` from `input`.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[u8], output: &mut [u8], workers: &mut Workers) {
        assert_eq!(input.len(), self.sliding.input.len());
        assert_eq!(output.len(), self.sliding.output.len());
        match &self.weights {
            Weights::Words(weights) => self.product::<i16>(weights).run(input, output, workers),
            Weights::Bytes(weights) => self.product::<i8>(weights).run(input, output, workers),
            Weights::Unsigned(weights) => self.product::<u8>(weights).run(input, output, workers),
        }
    }

    fn product<'a, T: Factor>(&'a self, weights: &'a T::Packed) -> Product<'a, T> {
        let sliding = &self.sliding;
        Product { sliding, weights }
    }
}

/// A convolution with weights in one form.
struct Product<'a, T: Factor> {
    sliding: &'a Sliding,
    weights: &'a T::Packed,
}

impl<T: Factor> Product<'_, T> {
    fn run(&self, input: &[u8], output: &mut [u8], workers: &mut Workers) {
        let Sliding {
            output: image,
            window,
            ..
        } = self.sliding;
        let channels = image.channels;
        if image.pixels() == 1 {
            let part = share(channels, channels, self.abreast(), workers.count());
            let part = part.next_multiple_of(self.abreast());
            workers.for_each_chunk(output, part, &|index, out, scratch| {
                self.columns(input, index * part, out, scratch);
            });
        } else if self.gathers() {
            let row = T::GROUP * self.groups() * size_of::<T>() + channels;
            let most = (self.block_bytes() / row).min(MAX_PIXELS);
            let part = share(image.pixels(), most, T::ROWS, workers.count());
            workers.for_each_chunk(output, part * channels, &|index, out, scratch| {
                self.pixels(input, index * part, out, scratch);
            });
        } else {
            let row = self.sliding.padded_width() * self.sliding.input.channels * size_of::<T>();
            let rows = self.block_bytes() / (row * window.stride[0] + image.width * channels);
            let part = share(image.height, rows, 1, workers.count());
            let chunk = part * image.width * channels;
            workers.for_each_chunk(output, chunk, &|index, out, scratch| {
                self.band(input, index * part, out, scratch);
            });
        }
    }

    /// Whether each output pixel sees one input pixel.
    fn gathers(&self) -> bool {
        let window = &self.sliding.window;
        window.kernel == [1, 1] && window.pad_before == [0, 0] && window.pad_after == [0, 0]
    }

    fn block_bytes(&self) -> usize {
        BLOCK_BYTES * T::abreast(self.weights)
    }

    /// Output channels that are computed side by side.
    fn abreast(&self) -> usize {
        PANEL * T::abreast(self.weights)
    }

    /// Groups of input values under one row of the window.
    fn groups(&self) -> usize {
        (self.sliding.window.kernel[1] * self.sliding.input.channels).div_ceil(T::GROUP)
    }

    /// Some output channels of the only output pixel.
    fn columns(&self, input: &[u8], first: usize, out: &mut [u8], scratch: &mut Scratch) {
        let band = Band::new(self.sliding, 0, 1);
        let (factors, starts) = T::scratch(scratch, band.len::<T>(), 1);
        band.convert(self.sliding, input, factors);
        starts.fill(0);
        let rows = self.rows(factors, starts, band.row);
        for (index, out) in out.chunks_mut(self.abreast()).enumerate() {
            let step = out.len();
            self.panel(&rows, first + index * self.abreast(), out, step);
        }
    }

    /// Some output pixels of a convolution that sees one pixel at a time.
    fn pixels(&self, input: &[u8], first: usize, out: &mut [u8], scratch: &mut Scratch) {
        let Sliding {
            isa,
            input: image,
            output,
            window,
            input_zero_point: zero_point,
            ..
        } = *self.sliding;
        let row = T::GROUP * self.groups();
        let count = out.len() / output.channels;
        // Where the pixel that an output sees begins.
        let pixel = |index: usize| {
            let at = first + index;
            let pixel = if window.stride == [1, 1] {
                at
            } else {
                let (y, x) = (at / output.width, at % output.width);
                y * window.stride[0] * image.width + x * window.stride[1]
            };
            pixel * image.channels
        };
        if let Some(factors) = T::as_they_are(input).filter(|_| row == image.channels) {
            let (_, starts) = T::scratch(scratch, 0, count);
            for (index, start) in starts.iter_mut().enumerate() {
                *start = pixel(index);
            }
            return self.panels(&self.rows(factors, starts, 0), out);
        }
        let (factors, starts) = T::scratch(scratch, count * row, count);
        for (index, start) in starts.iter_mut().enumerate() {
            *start = index * row;
        }
        if window.stride == [1, 1] && row == image.channels {
            let bytes = &input[first * row..][..count * row];
            T::convert(isa, bytes, zero_point, factors);
        } else {
            for (index, factors) in factors.chunks_exact_mut(row).enumerate() {
                let bytes = &input[pixel(index)..][..image.channels];
                let (inside, rest) = factors.split_at_mut(image.channels);
                T::convert(isa, bytes, zero_point, inside);
                rest.fill(T::default());
            }
        }
        self.panels(&self.rows(factors, starts, 0), out);
    }

    /// Some rows of the output.
    fn band(&self, input: &[u8], first: usize, out: &mut [u8], scratch: &mut Scratch) {
        let width = self.sliding.output.width;
        let count = out.len() / self.sliding.output.channels;
        let band = Band::new(self.sliding, first, count / width);
        let (factors, starts) = T::scratch(scratch, band.len::<T>(), count);
        band.convert(self.sliding, input, factors);
        let [step_y, step_x] = self.sliding.window.stride;
        for (y, starts) in starts.chunks_exact_mut(width).enumerate() {
            for (x, start) in starts.iter_mut().enumerate() {
                *start = y * step_y * band.row + x * step_x * self.sliding.input.channels;
            }
        }
        self.panels(&self.rows(factors, starts, band.row), out);
    }

    fn rows<'a>(&self, factors: &'a [T], starts: &'a [usize], segment_step: usize) -> Rows<'a, T> {
        let segments = [self.sliding.window.kernel[0], segment_step];
        Rows::new(factors, starts, segments, self.groups())
    }

    fn panels(&self, rows: &Rows<'_, T>, out: &mut [u8]) {
        let channels = self.sliding.output.channels;
        for first in (0..channels).step_by(self.abreast()) {
            self.panel(rows, first, &mut out[first..], channels);
        }
    }

    /// The output channels from `first` on that are computed side by side.
    fn panel(&self, rows: &Rows<'_, T>, first: usize, out: &mut [u8], step: usize) {
        let channels = first..self.sliding.bias.len().min(first + self.abreast());
        let end = End {
            bias: &self.sliding.bias[channels.clone()],
            scale: &self.sliding.scale[channels.clone()],
            range: self.sliding.range,
            columns: channels.end.min(self.sliding.output.channels) - first,
            step,
            fits_words: self.sliding.fits_words,
        };
        let index = first / PANEL;
        T::multiply(self.sliding.isa, rows, self.weights, index, &end, out);
    }
}

/// How many of `total` equal pieces one part of the work takes: at most about `most`, and about the
/// same for each of `workers`; a multiple of `step` unless that makes parts unequal.
pub(crate) fn share(total: usize, most: usize, step: usize, workers: usize) -> usize {
    let parts = total.div_ceil(most.max(1)).next_multiple_of(workers);
    let part = total.div_ceil(parts);
    let whole = part.next_multiple_of(step);
    if workers > 1 && (whole - part) * 20 > part {
        part
    } else {
        whole
    }
}

/// Takes from each channel's bias what the factor of zero adds to its sums of `depth` products.
pub(crate) fn take_back(zero: i32, weights: &[i8], depth: usize, bias: &mut [i32]) {
    for (bias, weights) in bias.iter_mut().zip(weights.chunks_exact(depth)) {
        let sum = weights
            .iter()
            .fold(0_i32, |sum, weight| sum.wrapping_add((*weight).into()));
        *bias = bias.wrapping_sub(zero.wrapping_mul(sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Range;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        /// Some forms are left to CPUs that this one may not be.
        #[test]
        fn all_forms_of_factors_give_the_same_bytes(
            height in 1..=7_usize, width in 1..=7_usize, channels in 1..=9_usize,
            kernel in 1..=3_usize, pad in 0..=2_usize, stride in 1..=2_usize,
            outputs in 1..=80_usize, zero_point: u8, seed in vec(any::<u8>(), 50..90),
        ) {
            let input = Image { height, width, channels };
            let pad = [pad.min(kernel - 1), 0];
            let window = Window {
                kernel: [kernel; 2], stride: [stride; 2], pad_before: pad, pad_after: pad,
            };
            prop_assume!(window.output(input, outputs).is_ok());
            let drawn = |len: usize| seed.iter().copied().cycle().take(len);
            let values: Vec<u8> = drawn(input.len()).collect();
            let weights: Vec<i8> =
                drawn(kernel * kernel * channels * outputs).map(|byte| byte.cast_signed() / 2).collect();
            let requantize = Requantize {
                bias: drawn(outputs).map(|byte| 50 * i32::from(byte)).collect(),
                scale: vec![1e-3; outputs],
                range: Range::full(100),
            };
            let forms = [Form::Words, Form::Bytes, Form::Pairs, Form::Quads];
            let [words, bytes, pairs, quads] = forms.map(|form| {
                let conv = Conv::with_forms(
                    Isa::PORTABLE, input, window, zero_point, &weights, &requantize, &[form],
                ).unwrap();
                let mut output = vec![0; conv.output().len()];
                conv.run(&values, &mut output, &mut Workers::single());
                output
            });
            prop_assert_eq!(&words, &bytes);
            prop_assert_eq!(&words, &pairs);
            prop_assert_eq!(&words, &quads);
        }
    }
}
