//! Convolution of each channel by itself.
//!
//! A thread takes some rows of the output and in them a block of channels at a time. It spreads the
//! rows that the window sees, every column together with the next ones, so that one instruction
//! multiplies neighbours in a row by their weights; rows that windows share are spread once.

#[cfg(target_arch = "aarch64")]
mod bytes;
mod pairs;
mod quads;

use crate::arch::PairSource;
use crate::sliding::Sliding;
use crate::workers::{Scratch, Workers};
use crate::{Image, Isa, KernelError, Requantize, Window};
#[cfg(target_arch = "aarch64")]
use bytes::Bytes;
use pairs::Pairs;
use quads::Quads;

/// Bytes of input under the rows that one part of the work computes.
const BAND_BYTES: usize = 96 << 10;

/// The most rows of a window.
const MAX_ROWS: usize = 16;

/// A depthwise convolution, packed.
#[derive(Debug)]
pub struct Depthwise {
    sliding: Sliding,
    weights: Weights,
}

/// The weights in the form that the CPU multiplies fastest.
#[derive(Debug)]
enum Weights {
    Pairs(Pairs),
    Quads(Quads<u8>),
    #[cfg(any(test, target_arch = "aarch64"))]
    SignedQuads(Quads<i8>),
    #[cfg(target_arch = "aarch64")]
    Bytes(Bytes),
}

/// What a form can be chosen by; a test chooses each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Pairs,
    Quads,
    #[cfg(any(test, target_arch = "aarch64"))]
    SignedQuads,
    #[cfg(target_arch = "aarch64")]
    Bytes,
}

/// How many neighbours in a row are multiplied at once, and how they are spread for that.
trait Neighbours: Sync {
    /// Channels that are computed together.
    const BLOCK: usize;
    type Value: Send;

    /// Spread values of a row of the input.
    fn row(&self, sliding: &Sliding) -> usize;

    /// Columns of the input that they stand for.
    fn columns(row: usize) -> usize;

    /// `len` values of unspecified content.
    fn scratch(scratch: &mut Scratch, len: usize) -> &mut [Self::Value];

    /// Spreads a row of the input: at the column `left` its first one, around it what stands for 0.
    fn spread(sliding: &Sliding, source: &PairSource<'_>, left: usize, values: &mut [Self::Value]);

    /// A row of outputs in the block that begins at `channel`; `rows` are where those under the
    /// window start in `values`.
    fn line(
        &self,
        sliding: &Sliding,
        channel: usize,
        values: &[Self::Value],
        rows: &[usize],
        out: &mut [u8],
    );
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
        let form = if isa.adds_quads() && Quads::<u8>::can(window) && requantize.is_small() {
            Form::Quads
        } else {
            Form::Pairs
        };
        #[cfg(target_arch = "aarch64")]
        let form = if isa.adds_signed_quads() && Quads::<i8>::can(window) {
            Form::SignedQuads
        } else if isa.multiplies_bytes() {
            Form::Bytes
        } else {
            form
        };
        Depthwise::with_form(
            isa,
            input,
            window,
            input_zero_point,
            weights,
            requantize,
            form,
        )
    }

    fn with_form(
        isa: Isa,
        input: Image,
        window: Window,
        input_zero_point: u8,
        weights: &[i8],
        requantize: &Requantize,
        form: Form,
    ) -> Result<Depthwise, KernelError> {
        let [rows, columns] = window.kernel;
        if rows > MAX_ROWS || columns > MAX_ROWS {
            return Err(KernelError::Shape("the kernel of a depthwise convolution"));
        }
        requantize.check(input.channels)?;
        let block = match form {
            Form::Pairs => Pairs::BLOCK,
            Form::Quads => Quads::<u8>::BLOCK,
            #[cfg(any(test, target_arch = "aarch64"))]
            Form::SignedQuads => Quads::<i8>::BLOCK,
            #[cfg(target_arch = "aarch64")]
            Form::Bytes => Bytes::BLOCK,
        };
        let mut sliding = Sliding::new(isa, input, window, input_zero_point, requantize, block)?;
        sliding.check_weights(weights, rows * columns)?;
        let weights = match form {
            Form::Pairs => Weights::Pairs(Pairs::new(&mut sliding, weights)),
            Form::Quads => Weights::Quads(Quads::new(&mut sliding, weights)),
            #[cfg(any(test, target_arch = "aarch64"))]
            Form::SignedQuads => Weights::SignedQuads(Quads::new(&mut sliding, weights)),
            #[cfg(target_arch = "aarch64")]
            Form::Bytes => Weights::Bytes(Bytes::new(&mut sliding, weights)),
        };
        Ok(Depthwise { sliding, weights })
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
        let Sliding {
            input: image,
            output: size,
            window,
            ..
        } = &self.sliding;
        let row = image.width * image.channels * window.stride[0];
        let parts = (size.height * row).div_ceil(BAND_BYTES);
        let rows = size
            .height
            .div_ceil(parts.next_multiple_of(workers.count()));
        let chunk = rows * size.width * size.channels;
        workers.for_each_chunk(output, chunk, &|index, out, scratch| {
            let first = index * rows;
            match &self.weights {
                Weights::Pairs(form) => self.rows(form, input, first, out, scratch),
                Weights::Quads(form) => self.rows(form, input, first, out, scratch),
                #[cfg(any(test, target_arch = "aarch64"))]
                Weights::SignedQuads(form) => self.rows(form, input, first, out, scratch),
                #[cfg(target_arch = "aarch64")]
                Weights::Bytes(bytes) => bytes.rows(&self.sliding, input, first, out, scratch),
            }
        });
    }

    /// Some rows of the output, from `first` on.
    fn rows<N: Neighbours>(
        &self,
        form: &N,
        input: &[u8],
        first: usize,
        out: &mut [u8],
        scratch: &mut Scratch,
    ) {
        for channel in (0..self.sliding.input.channels).step_by(N::BLOCK) {
            self.block(form, input, first, channel, out, scratch);
        }
    }

    /// As [`Depthwise::rows`], in the block that begins at `channel`.
    fn block<N: Neighbours>(
        &self,
        form: &N,
        input: &[u8],
        first: usize,
        channel: usize,
        out: &mut [u8],
        scratch: &mut Scratch,
    ) {
        let Sliding { output, window, .. } = &self.sliding;
        let height = window.kernel[0];
        let row_len = form.row(&self.sliding);
        let values = N::scratch(scratch, height * row_len);
        // The next row of the padded image to spread; row `r` is kept in slot `r % height`.
        let mut next = 0;
        let mut rows = [0; MAX_ROWS];
        let rows = &mut rows[..height];
        for (index, out) in out
            .chunks_exact_mut(output.width * output.channels)
            .enumerate()
        {
            let top = (first + index) * window.stride[0];
            for row in next.max(top)..top + height {
                let values = &mut values[row % height * row_len..][..row_len];
                self.spread::<N>(input, row, channel, values);
            }
            next = top + height;
            for (offset, row) in rows.iter_mut().enumerate() {
                *row = (top + offset) % height * row_len;
            }
            form.line(&self.sliding, channel, values, rows, &mut out[channel..]);
        }
    }

    /// Spreads row `row` of the padded image.
    fn spread<N: Neighbours>(
        &self,
        input: &[u8],
        row: usize,
        channel: usize,
        values: &mut [N::Value],
    ) {
        let image = self.sliding.input;
        let [above, left] = self.sliding.window.pad_before;
        let room = N::columns(values.len());
        let left = left.min(room);
        let (from, columns) = if (above..above + image.height).contains(&row) {
            let from = (row - above) * image.width * image.channels + channel;
            (from, image.width.min(room - left))
        } else {
            (0, 0)
        };
        let source = PairSource {
            bytes: &input[from..],
            columns,
            step: image.channels,
            channels: N::BLOCK.min(image.channels - channel),
        };
        N::spread(&self.sliding, &source, left, values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Range;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[cfg(not(target_arch = "aarch64"))]
    const FORMS: [Form; 3] = [Form::Pairs, Form::Quads, Form::SignedQuads];
    #[cfg(target_arch = "aarch64")]
    const FORMS: [Form; 4] = [Form::Pairs, Form::Quads, Form::SignedQuads, Form::Bytes];

    proptest! {
        /// Some forms are left to CPUs that this one may not be.
        #[test]
        fn all_forms_give_the_same_bytes(
            height in 1..=7_usize, width in 1..=20_usize, channels in 1..=70_usize,
            kernel in 1..=7_usize, pad in 0..=6_usize, stride in 1..=2_usize,
            zero_point: u8, seed in vec(any::<u8>(), 50..90),
        ) {
            let input = Image { height, width, channels };
            let pad = pad.min(kernel - 1);
            let window = Window {
                kernel: [kernel; 2], stride: [stride; 2], pad_before: [pad; 2], pad_after: [0, pad],
            };
            prop_assume!(window.output(input, channels).is_ok());
            let drawn = |len: usize| seed.iter().copied().cycle().take(len);
            let values: Vec<u8> = drawn(input.len()).collect();
            let weights: Vec<i8> =
                drawn(kernel * kernel * channels).map(u8::cast_signed).collect();
            let requantize = Requantize {
                bias: drawn(channels).map(|byte| 50 * i32::from(byte)).collect(),
                scale: vec![1e-3; channels],
                range: Range::full(100),
            };
            let [pairs, others @ ..] = FORMS.map(|form| {
                let layer = Depthwise::with_form(
                    Isa::PORTABLE, input, window, zero_point, &weights, &requantize, form,
                ).unwrap();
                let mut output = vec![0; layer.output().len()];
                layer.run(&values, &mut output, &mut Workers::single());
                output
            });
            for other in others {
                prop_assert_eq!(&pairs, &other);
            }
        }
    }
}
