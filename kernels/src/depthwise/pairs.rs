//! Two neighbours at once, as 16-bit words less the zero point.

use super::Neighbours;
use crate::Aligned;
use crate::arch::{self, BLOCK, LANES, PairSource};
use crate::sliding::Sliding;
use crate::workers::Scratch;

#[derive(Debug)]
pub(super) struct Pairs {
    /// Block after block of channels; in each for every row and pair of columns of the window the
    /// two weights of each channel.
    weights: Aligned<i16>,
    /// Pairs of columns in the window.
    pairs: usize,
}

impl Pairs {
    pub(super) fn new(sliding: &mut Sliding, weights: &[i8]) -> Pairs {
        let [rows, columns] = sliding.window.kernel;
        in_lanes(&mut sliding.bias);
        in_lanes(&mut sliding.scale);
        let pairs = columns.div_ceil(2);
        let channels = sliding.input.channels;
        let mut packed = Aligned::new(channels.div_ceil(BLOCK) * rows * pairs * 2 * BLOCK);
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
        Pairs {
            weights: packed,
            pairs,
        }
    }
}

/// Puts the channels of each block in the order of [`LANES`].
fn in_lanes<T: Copy>(values: &mut [T]) {
    for block in values.as_chunks_mut::<BLOCK>().0 {
        *block = LANES.map(|lane| block[lane]);
    }
}

impl Neighbours for Pairs {
    const BLOCK: usize = BLOCK;
    type Value = i16;

    fn row(&self, sliding: &Sliding) -> usize {
        let step = sliding.window.stride[1];
        ((sliding.output.width - 1) * step + 2 * self.pairs) * 2 * BLOCK
    }

    fn columns(row: usize) -> usize {
        row / (2 * BLOCK)
    }

    fn scratch(scratch: &mut Scratch, len: usize) -> &mut [i16] {
        scratch.words(len)
    }

    fn spread(sliding: &Sliding, source: &PairSource<'_>, left: usize, words: &mut [i16]) {
        arch::pair(sliding.isa, source, sliding.input_zero_point, left, words);
    }

    fn line(
        &self,
        sliding: &Sliding,
        channel: usize,
        words: &[i16],
        rows: &[usize],
        out: &mut [u8],
    ) {
        let len = rows.len() * self.pairs * 2 * BLOCK;
        let end = arch::LineEnd {
            weights: &self.weights[channel / BLOCK * len..][..len],
            bias: &sliding.bias[channel..][..BLOCK],
            scale: &sliding.scale[channel..][..BLOCK],
            range: sliding.range,
            channels: BLOCK.min(sliding.output.channels - channel),
            step: sliding.output.channels,
        };
        let line = arch::Line {
            words,
            rows,
            pairs: self.pairs,
            step: sliding.window.stride[1],
        };
        arch::line(sliding.isa, &line, &end, sliding.output.width, out);
    }
}
