//! Depthwise convolution of bytes, where the CPU multiplies those faster than words.
//!
//! The rows that some rows of the output see are copied, 16 channels at a time, with zeros around.

use crate::Aligned;
use crate::arch::{self, BLOCK, ByteSource, End, PairSource};
use crate::conv::take_back;
use crate::factor::Factor;
use crate::sliding::Sliding;
use crate::workers::Scratch;

/// The weights of a depthwise convolution.
#[derive(Debug)]
pub(super) struct Bytes {
    /// Block after block of channels; in each for every row and column those of each channel.
    weights: Aligned<i8>,
    /// Whether a weight is -128.
    extreme: bool,
}

impl Bytes {
    /// Channels that are computed together.
    pub(super) const BLOCK: usize = BLOCK;

    /// Packs `weights`, which are in the order channel, row, column.
    pub(super) fn new(sliding: &mut Sliding, weights: &[i8]) -> Bytes {
        let taps = sliding.window.kernel[0] * sliding.window.kernel[1];
        let zero = i8::zero(sliding.input_zero_point).into();
        take_back(zero, weights, taps, &mut sliding.bias);
        let mut packed = Aligned::new(sliding.input.channels.div_ceil(BLOCK) * taps * BLOCK);
        for (channel, weights) in weights.chunks_exact(taps).enumerate() {
            for (tap, weight) in weights.iter().enumerate() {
                packed[(channel / BLOCK * taps + tap) * BLOCK + channel % BLOCK] = *weight;
            }
        }
        Bytes {
            weights: packed,
            extreme: weights.contains(&i8::MIN),
        }
    }

    /// Some rows of the output, from `first` on.
    pub(super) fn rows(
        &self,
        sliding: &Sliding,
        input: &[u8],
        first: usize,
        out: &mut [u8],
        scratch: &mut Scratch,
    ) {
        for block in 0..sliding.input.channels.div_ceil(BLOCK) {
            self.block(sliding, input, first, block, out, scratch);
        }
    }

    /// As [`Bytes::rows`], in one block of channels.
    fn block(
        &self,
        sliding: &Sliding,
        input: &[u8],
        first: usize,
        block: usize,
        out: &mut [u8],
        scratch: &mut Scratch,
    ) {
        let Sliding {
            input: image,
            output,
            window,
            ..
        } = sliding;
        let height = out.len() / (output.width * output.channels);
        let row = sliding.padded_width() * BLOCK;
        let rows = (height - 1) * window.stride[0] + window.kernel[0];
        let (factors, _) = scratch.byte_rows(rows * row, 0);
        let channel = block * BLOCK;
        let channels = BLOCK.min(image.channels - channel);
        let zero = i8::zero(sliding.input_zero_point);
        let left = window.pad_before[1].min(row / BLOCK);
        for (index, factors) in factors.chunks_exact_mut(row).enumerate() {
            let y = (first * window.stride[0] + index).wrapping_sub(window.pad_before[0]);
            if y >= image.height {
                factors.fill(zero);
                continue;
            }
            let source = PairSource {
                bytes: &input[y * image.width * image.channels + channel..],
                columns: image.width.min(row / BLOCK - left),
                step: image.channels,
                channels,
            };
            arch::byte_row(&source, zero, left, factors);
        }
        let taps = window.kernel[0] * window.kernel[1];
        let source = ByteSource {
            factors,
            row,
            kernel: window.kernel,
            stride: window.stride,
            output: [height, output.width],
            weights: &self.weights[block * taps * BLOCK..][..taps * BLOCK],
            end: End {
                bias: &sliding.bias[channel..][..BLOCK],
                scale: &sliding.scale[channel..][..BLOCK],
                range: sliding.range,
                columns: channels,
                step: output.channels,
                fits_words: sliding.fits_words,
            },
        };
        arch::byte_plane(&source, self.extreme, &mut out[channel..]);
    }
}
