//! Four neighbours at once, as bytes.
//!
//! The four begin at every other column: for an output whose window begins in between, the weights
//! are moved by one.

use super::Neighbours;
use crate::arch::{self, End, PairSource, WIDE};
use crate::conv::take_back;
use crate::sliding::Sliding;
use crate::workers::Scratch;
use crate::{Aligned, Window};

/// Columns at once.
const GROUP: usize = 4;

#[derive(Debug)]
pub(super) struct Quads {
    /// Block after block of channels; in each for every row of the window, every four columns of it
    /// and both places where a window may begin four weights of each channel.
    weights: Aligned<i8>,
    /// Fours of columns under a row of the window.
    fours: usize,
    /// Places where a window may begin.
    places: usize,
}

impl Quads {
    /// Whether windows are close to each other.
    pub(super) fn can(window: Window) -> bool {
        window.stride[1] <= 2
    }

    pub(super) fn new(sliding: &mut Sliding, weights: &[i8]) -> Quads {
        let [rows, columns] = sliding.window.kernel;
        let zero = sliding.input_zero_point.into();
        take_back(zero, weights, rows * columns, &mut sliding.bias);
        let places = if sliding.window.stride[1] == 1 { 2 } else { 1 };
        let fours = (places - 1 + columns).div_ceil(GROUP);
        let blocks = sliding.input.channels.div_ceil(WIDE);
        let block = rows * fours * places * WIDE * GROUP;
        let mut packed = Aligned::new(blocks * block);
        // Where each weight of a block's first channel goes.
        let to = (0..rows * columns).flat_map(|index| {
            (0..places).map(move |place| {
                let (row, at) = (index / columns, index % columns + place);
                let four = (row * fours + at / GROUP) * places + place;
                (index, four * WIDE * GROUP + at % GROUP)
            })
        });
        let to: Vec<(usize, usize)> = to.collect();
        let blocks = weights.chunks(WIDE * rows * columns);
        for (weights, packed) in blocks.zip(packed.chunks_exact_mut(block)) {
            for (channel, weights) in weights.chunks_exact(rows * columns).enumerate() {
                let packed = &mut packed[channel * GROUP..];
                for (index, to) in &to {
                    packed[*to] = weights[*index];
                }
            }
        }
        Quads {
            weights: packed,
            fours,
            places,
        }
    }
}

impl Neighbours for Quads {
    const BLOCK: usize = WIDE;
    type Value = u8;

    fn row(&self, sliding: &Sliding) -> usize {
        let last = (sliding.output.width - 1) * sliding.window.stride[1] / 2;
        (last + 2 * self.fours - 1) * WIDE * GROUP
    }

    fn columns(row: usize) -> usize {
        2 * row / (WIDE * GROUP) + 2
    }

    fn scratch(scratch: &mut Scratch, len: usize) -> &mut [u8] {
        scratch.raw_rows(len, 0).0
    }

    fn spread(sliding: &Sliding, source: &PairSource<'_>, left: usize, quads: &mut [u8]) {
        arch::spread(sliding.isa, source, sliding.input_zero_point, left, quads);
    }

    fn line(
        &self,
        sliding: &Sliding,
        channel: usize,
        quads: &[u8],
        rows: &[usize],
        out: &mut [u8],
    ) {
        let len = rows.len() * self.fours * self.places * WIDE * GROUP;
        let line = arch::QuadLine {
            quads,
            rows,
            fours: self.fours,
            step: sliding.window.stride[1],
            weights: &self.weights[channel / WIDE * len..][..len],
        };
        let end = End {
            bias: &sliding.bias[channel..][..WIDE],
            scale: &sliding.scale[channel..][..WIDE],
            range: sliding.range,
            columns: WIDE.min(sliding.output.channels - channel),
            step: sliding.output.channels,
        };
        arch::quad_line(sliding.isa, &line, &end, sliding.output.width, out);
    }
}
