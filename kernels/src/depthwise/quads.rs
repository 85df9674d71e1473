//! Four neighbours at once, as bytes, or as bytes less 128 where the CPU multiplies signed ones.
//!
//! The four begin at every other column: for an output whose window begins in between, the weights
//! are moved by one.

use std::marker::PhantomData;

use super::Neighbours;
use crate::arch::{self, End, PairSource, QuadLine, WIDE};
use crate::conv::take_back;
use crate::factor::Factor;
use crate::sliding::Sliding;
use crate::workers::Scratch;
use crate::{Aligned, Isa, Window};

/// Columns at once.
const GROUP: usize = 4;

/// A factor of which four are multiplied at once.
pub(super) trait Quad: Factor {
    /// As [`arch::spread`].
    fn spread(isa: Isa, source: &PairSource<'_>, zero_point: u8, left: usize, quads: &mut [Self]);

    /// As [`arch::quad_line`].
    fn line(isa: Isa, line: &QuadLine<'_, Self>, end: &End<'_>, columns: usize, out: &mut [u8]);
}

impl Quad for u8 {
    fn spread(isa: Isa, source: &PairSource<'_>, zero_point: u8, left: usize, quads: &mut [u8]) {
        arch::spread(isa, source, zero_point, left, quads);
    }

    fn line(isa: Isa, line: &QuadLine<'_, u8>, end: &End<'_>, columns: usize, out: &mut [u8]) {
        arch::quad_line(isa, line, end, columns, out);
    }
}

#[cfg(any(test, target_arch = "aarch64"))]
impl Quad for i8 {
    fn spread(isa: Isa, source: &PairSource<'_>, zero_point: u8, left: usize, quads: &mut [i8]) {
        arch::spread_signed(isa, source, zero_point, left, quads);
    }

    fn line(isa: Isa, line: &QuadLine<'_, i8>, end: &End<'_>, columns: usize, out: &mut [u8]) {
        arch::signed_quad_line(isa, line, end, columns, out);
    }
}

#[derive(Debug)]
pub(super) struct Quads<T> {
    /// Block after block of channels; in each for every row of the window, every four columns of it
    /// and both places where a window may begin four weights of each channel.
    weights: Aligned<i8>,
    /// Fours of columns under a row of the window.
    fours: usize,
    /// Places where a window may begin.
    places: usize,
    factor: PhantomData<T>,
}

impl<T: Quad> Quads<T> {
    /// Whether windows are close to each other.
    pub(super) fn can(window: Window) -> bool {
        window.stride[1] <= 2
    }

    pub(super) fn new(sliding: &mut Sliding, weights: &[i8]) -> Quads<T> {
        let [rows, columns] = sliding.window.kernel;
        let zero = T::zero(sliding.input_zero_point).into();
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
            factor: PhantomData,
        }
    }
}

impl<T: Quad> Neighbours for Quads<T> {
    const BLOCK: usize = WIDE;
    type Value = T;

    fn row(&self, sliding: &Sliding) -> usize {
        let last = (sliding.output.width - 1) * sliding.window.stride[1] / 2;
        (last + 2 * self.fours - 1) * WIDE * GROUP
    }

    fn columns(row: usize) -> usize {
        2 * row / (WIDE * GROUP) + 2
    }

    fn scratch(scratch: &mut Scratch, len: usize) -> &mut [T] {
        T::scratch(scratch, len, 0).0
    }

    fn spread(sliding: &Sliding, source: &PairSource<'_>, left: usize, quads: &mut [T]) {
        T::spread(sliding.isa, source, sliding.input_zero_point, left, quads);
    }

    fn line(&self, sliding: &Sliding, channel: usize, quads: &[T], rows: &[usize], out: &mut [u8]) {
        let len = rows.len() * self.fours * self.places * WIDE * GROUP;
        let line = QuadLine {
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
            fits_words: sliding.fits_words,
        };
        T::line(sliding.isa, &line, &end, sliding.output.width, out);
    }
}
