//! Depthwise convolutions of int8 layers.

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::{End, PANEL, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
#[cfg(target_arch = "aarch64")]
use crate::factor::Factor;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::isa::Kind;
use crate::{Isa, Range};

/// Channels that a depthwise convolution takes at a time.
pub(crate) const BLOCK: usize = 16;

/// One row of a depthwise convolution for [`BLOCK`] channels.
pub(crate) struct Line<'a> {
    /// Widened rows of the input in pairs: for every column [`BLOCK`] channels of it and of the
    /// next column, in the order of [`LANES`].
    pub(crate) words: &'a [i16],
    /// Where in `words` each row of the window starts.
    pub(crate) rows: &'a [usize],
    /// Pairs of columns in the window.
    pub(crate) pairs: usize,
    /// Columns from one output to the next.
    pub(crate) step: usize,
}

/// The weights of [`BLOCK`] channels and what becomes of the sums.
pub(crate) struct LineEnd<'a> {
    /// For every row and pair the two weights of each channel, in the order of [`LANES`].
    pub(crate) weights: &'a [i16],
    /// In the order of [`LANES`].
    pub(crate) bias: &'a [i32],
    /// In the order of [`LANES`].
    pub(crate) scale: &'a [f32],
    pub(crate) range: Range,
    /// How many of the block's channels exist.
    pub(crate) channels: usize,
    /// From one column of the output to the next.
    pub(crate) step: usize,
}

/// The order of a block's channels in paired words: what interleaving two registers of 16 words in
/// halves gives, and packing them again undoes.
pub(crate) const LANES: [usize; BLOCK] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];

/// Widens `columns` pixels for [`Line`]: at column `left` of `words` the first of them, zeros
/// around. `bytes` starts at the first pixel's first channel of the block; pixels are `step` apart.
pub(crate) fn pair(
    isa: Isa,
    source: &PairSource<'_>,
    zero_point: u8,
    left: usize,
    words: &mut [i16],
) {
    assert!(
        source.channels >= 1 && source.channels <= BLOCK && words.len().is_multiple_of(2 * BLOCK)
    );
    assert!(left + source.columns <= words.len() / (2 * BLOCK));
    assert!(
        source.columns == 0
            || source.bytes.len() >= (source.columns - 1) * source.step + source.channels
    );
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Avx2 | Kind::Vnni => unsafe { avx2::pair(source, zero_point, left, words) },
        _ => portable::pair(source, zero_point, left, words),
    }
}

/// A row of pixels of which a block of channels is wanted.
pub(crate) struct PairSource<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) columns: usize,
    pub(crate) step: usize,
    pub(crate) channels: usize,
}

/// `columns` outputs of a depthwise convolution, requantized.
pub(crate) fn line(isa: Isa, line: &Line<'_>, end: &LineEnd<'_>, columns: usize, out: &mut [u8]) {
    assert!(columns >= 1 && (1..=BLOCK).contains(&end.channels) && line.pairs >= 1);
    assert!(end.weights.len() == line.rows.len() * line.pairs * 2 * BLOCK);
    assert!(end.bias.len() == BLOCK && end.scale.len() == BLOCK);
    assert!(out.len() >= (columns - 1) * end.step + end.channels);
    let reach = ((columns - 1) * line.step + 2 * line.pairs - 1) * 2 * BLOCK;
    assert!(line.rows.iter().all(|row| row + reach <= line.words.len()));
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Avx2 | Kind::Vnni => unsafe { avx2::line(line, end, columns, out) },
        _ => portable::line(line, end, columns, out),
    }
}

/// Rows of factors of [`BLOCK`] channels, and what becomes of them in a depthwise convolution.
#[cfg(target_arch = "aarch64")]
pub(crate) struct ByteSource<'a> {
    pub(crate) factors: &'a [i8],
    /// Factors in a row.
    pub(crate) row: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Rows and columns.
    pub(crate) output: [usize; 2],
    /// For every row and column of the window those of each channel.
    pub(crate) weights: &'a [i8],
    /// Its `columns` are channels, its `step` from one column of the output to the next.
    pub(crate) end: End<'a>,
}

/// The factors of `source`'s columns, from column `left` of `factors` on; `zero` around.
#[cfg(target_arch = "aarch64")]
pub(crate) fn byte_row(source: &PairSource<'_>, zero: i8, left: usize, factors: &mut [i8]) {
    assert!((1..=BLOCK).contains(&source.channels) && factors.len().is_multiple_of(BLOCK));
    assert!(left + source.columns <= factors.len() / BLOCK);
    let reach = |columns: usize| (columns - 1) * source.step + source.channels;
    assert!(source.columns == 0 || source.bytes.len() >= reach(source.columns));
    // SAFETY: every CPU of this architecture that runs Linux has NEON; lengths are checked above.
    unsafe { neon::byte_row(source, zero, left, factors) }
}

/// A depthwise convolution, requantized. `extreme`: a weight may be -128.
#[cfg(target_arch = "aarch64")]
pub(crate) fn byte_plane(source: &ByteSource<'_>, extreme: bool, out: &mut [u8]) {
    let ByteSource {
        row,
        kernel,
        stride,
        output,
        end,
        ..
    } = source;
    end.check(1..=1, output[0] * output[1], out);
    assert!(source.weights.len() == kernel[0] * kernel[1] * BLOCK && BLOCK == PANEL);
    let rows = (output[0] - 1) * stride[0] + kernel[0];
    let columns = (output[1] - 1) * stride[1] + kernel[1];
    assert!(columns * BLOCK <= *row && rows * row <= source.factors.len());
    // SAFETY: as above.
    unsafe { neon::byte_plane(source, extreme, out) }
}

/// Channels that a depthwise convolution of bytes takes at a time.
pub(crate) const WIDE: usize = 32;

/// Spreads `columns` pixels for [`QuadLine`]: at column `left` of `quads` the first of them, zero
/// points around.
pub(crate) fn spread(
    isa: Isa,
    source: &PairSource<'_>,
    zero_point: u8,
    left: usize,
    quads: &mut [u8],
) {
    check_spread(source, left, quads.len());
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Vnni => unsafe { avx512::spread(source, zero_point, left, quads) },
        _ => portable::spread(source, zero_point, left, quads),
    }
}

/// As [`spread`], of bytes less 128. Of a block's last channels, those that do not exist may be left
/// as they are.
#[cfg(any(test, target_arch = "aarch64"))]
pub(crate) fn spread_signed(
    isa: Isa,
    source: &PairSource<'_>,
    zero_point: u8,
    left: usize,
    quads: &mut [i8],
) {
    check_spread(source, left, quads.len());
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::DotProduct | Kind::Matrix => unsafe {
            neon::spread(source, i8::zero(zero_point), left, quads);
        },
        _ => portable::spread(source, zero_point, left, quads),
    }
}

/// Holds all lengths to each other.
fn check_spread(source: &PairSource<'_>, left: usize, quads: usize) {
    let PairSource {
        bytes,
        columns,
        step,
        channels,
    } = *source;
    assert!((1..=WIDE).contains(&channels) && quads.is_multiple_of(4 * WIDE));
    assert!(left + columns <= quads / (2 * WIDE) + 2);
    assert!(columns == 0 || bytes.len() >= (columns - 1) * step + channels);
}

/// One row of a depthwise convolution for [`WIDE`] channels.
pub(crate) struct QuadLine<'a, T> {
    /// Spread rows of the input: for every other column, of each channel four factors, that of the
    /// column and of the next three.
    pub(crate) quads: &'a [T],
    /// Where in `quads` each row of the window starts.
    pub(crate) rows: &'a [usize],
    /// Fours of columns in the window.
    pub(crate) fours: usize,
    /// Columns from one output to the next: 1 or 2.
    pub(crate) step: usize,
    /// For every row, every four columns, and outputs in even columns, and those in odd ones if
    /// there are any, four weights of each channel.
    pub(crate) weights: &'a [i8],
}

/// `columns` outputs of a depthwise convolution, requantized by scales of at most 1/2.
pub(crate) fn quad_line(
    isa: Isa,
    line: &QuadLine<'_, u8>,
    end: &End<'_>,
    columns: usize,
    out: &mut [u8],
) {
    check_quad_line(line, end, columns, out);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Vnni => unsafe { avx512::quad_line(line, end, columns, out) },
        _ => portable::quad_line(line, end, columns, out),
    }
}

/// As [`quad_line`], of bytes less 128, and with any scales.
#[cfg(any(test, target_arch = "aarch64"))]
pub(crate) fn signed_quad_line(
    isa: Isa,
    line: &QuadLine<'_, i8>,
    end: &End<'_>,
    columns: usize,
    out: &mut [u8],
) {
    check_quad_line(line, end, columns, out);
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::DotProduct | Kind::Matrix => unsafe { neon::quad_line(line, end, columns, out) },
        _ => portable::quad_line(line, end, columns, out),
    }
}

/// Holds all lengths to each other.
fn check_quad_line<T>(line: &QuadLine<'_, T>, end: &End<'_>, columns: usize, out: &[u8]) {
    end.check(WIDE / PANEL..=WIDE / PANEL, columns, out);
    assert!((1..=2).contains(&line.step) && line.fours >= 1);
    let places = 3 - line.step;
    assert!(line.weights.len() == line.rows.len() * line.fours * places * 4 * WIDE);
    let reach = ((columns - 1) * line.step / 2 + 2 * line.fours - 1) * 4 * WIDE;
    assert!(line.rows.iter().all(|row| row + reach <= line.quads.len()));
}
