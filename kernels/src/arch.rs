//! The inner loops, for each set of instructions.
//!
//! `portable` defines what they compute; the others give the same bytes.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_float;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_float;
pub(crate) mod float;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_float;
mod portable;
mod portable_float;

use std::ops::RangeInclusive;

use crate::factor::Factor;
use crate::isa::Kind;
use crate::{Isa, Range};

/// Output channels in a panel of packed weights.
pub(crate) const PANEL: usize = 16;
/// Channels that a depthwise convolution takes at a time.
pub(crate) const BLOCK: usize = 16;

/// The input side of a matrix product.
///
/// A row is `segments` runs of `groups` groups of factors, `segment_step` factors apart.
pub(crate) struct Rows<'a, T> {
    factors: &'a [T],
    /// Where in `factors` each row starts.
    starts: &'a [usize],
    segments: usize,
    segment_step: usize,
    groups: usize,
    /// Where the row ends that starts last.
    end: usize,
}

impl<'a, T: Factor> Rows<'a, T> {
    pub(crate) fn new(
        factors: &'a [T],
        starts: &'a [usize],
        [segments, segment_step]: [usize; 2],
        groups: usize,
    ) -> Rows<'a, T> {
        let end = largest(starts) + (segments - 1) * segment_step + T::GROUP * groups;
        Rows {
            factors,
            starts,
            segments,
            segment_step,
            groups,
            end,
        }
    }

    /// Factors in a row.
    pub(crate) fn len(&self) -> usize {
        self.segments * self.groups * T::GROUP
    }
}

/// The largest of some; four at a time, because each comparison waits for the one before.
fn largest(values: &[usize]) -> usize {
    let (fours, rest) = values.as_chunks::<4>();
    let mut most = [0; 4];
    for four in fours {
        for (most, value) in most.iter_mut().zip(four) {
            *most = (*most).max(*value);
        }
    }
    most.iter().chain(rest).copied().max().unwrap_or(0)
}

/// One panel of weights and what becomes of the sums.
pub(crate) struct Panel<'a, T> {
    /// For every segment and group of factors the weights of each channel.
    pub(crate) weights: &'a [T],
    /// Whether a weight may be -128.
    #[cfg_attr(
        not(target_arch = "aarch64"),
        allow(dead_code, reason = "only smull has to know")
    )]
    pub(crate) extreme: bool,
    pub(crate) end: End<'a>,
}

/// What becomes of the sums of a panel, or of some side by side.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) bias: &'a [i32],
    pub(crate) scale: &'a [f32],
    pub(crate) range: Range,
    /// How many of the channels exist.
    pub(crate) columns: usize,
    /// From one row of the output to the next.
    pub(crate) step: usize,
    /// Whether sums times scales fit in 16 bits.
    #[cfg_attr(
        not(target_arch = "aarch64"),
        allow(dead_code, reason = "only NEON narrows by an instruction of its own")
    )]
    pub(crate) fits_words: bool,
}

impl End<'_> {
    /// Holds all lengths to each other.
    fn check(&self, panels: RangeInclusive<usize>, rows: usize, out: &[u8]) {
        let channels = self.bias.len();
        assert!(channels.is_multiple_of(PANEL) && panels.contains(&(channels / PANEL)));
        assert!(rows > 0 && (1..=channels).contains(&self.columns));
        assert!(self.scale.len() == channels);
        assert!(out.len() >= (rows - 1) * self.step + self.columns);
    }
}

/// Two groups of factors and their weights for each channel of a panel: in 16 bits no sum of
/// products of neighbours in both can overflow.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Step {
    pub(crate) weights: [[[i8; 4]; PANEL]; 2],
    /// Where in a row the groups lie.
    pub(crate) offsets: [u32; 2],
}

/// The steps of one panel.
pub(crate) struct Steps<'a> {
    steps: &'a [Step],
    reach: usize,
}

impl<'a> Steps<'a> {
    /// `reach` is how many factors a row has; the steps lie within.
    pub(crate) fn new(steps: &'a [Step], reach: usize) -> Steps<'a> {
        let within = |step: &Step| step.offsets.iter().all(|at| *at as usize + 4 <= reach);
        debug_assert!(steps.iter().all(within));
        Steps { steps, reach }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Step> {
        self.steps.iter()
    }
}

/// Holds all lengths to each other.
fn check<T: Factor, W>(
    rows: &Rows<'_, T>,
    weights: &[W],
    end: &End<'_>,
    panels: RangeInclusive<usize>,
    out: &[u8],
) {
    end.check(panels, rows.starts.len(), out);
    assert!(weights.len() == rows.len() * end.bias.len());
    assert!(rows.end <= rows.factors.len());
}

/// The sums of all rows with one panel, requantized.
pub(crate) fn multiply_words(
    isa: Isa,
    rows: &Rows<'_, i16>,
    panel: &Panel<'_, i16>,
    out: &mut [u8],
) {
    check(rows, panel.weights, &panel.end, 1..=1, out);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Avx2 | Kind::Vnni => unsafe { avx2::multiply(rows, panel, out) },
        _ => portable::multiply(rows, panel.weights, &panel.end, out),
    }
}

/// As [`multiply_words`], with factors and weights of 8 bits.
pub(crate) fn multiply_bytes(isa: Isa, rows: &Rows<'_, i8>, panel: &Panel<'_, i8>, out: &mut [u8]) {
    check(rows, panel.weights, &panel.end, 1..=1, out);
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Neon => unsafe { neon::multiply(rows, panel, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::DotProduct => unsafe { neon::multiply_dot(rows, panel, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above; `in_order` has put the weights so.
        Kind::Matrix => unsafe { neon::multiply_matrix(rows, panel, out) },
        _ => portable::multiply(rows, panel.weights, &panel.end, out),
    }
}

/// Puts the packed weights of some segments in the order in which [`multiply_bytes`] reads them.
pub(crate) fn in_order(isa: Isa, weights: &mut [i8], groups: usize) {
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        Kind::Matrix => neon::in_order(weights, groups),
        _ => _ = (weights, groups),
    }
}

/// As [`multiply_words`], with bytes as they are and the weights in steps.
pub(crate) fn multiply_pairs(
    isa: Isa,
    rows: &Rows<'_, u8>,
    steps: &Steps<'_>,
    end: &End<'_>,
    out: &mut [u8],
) {
    end.check(1..=1, rows.starts.len(), out);
    let last = rows.starts.iter().max().copied().unwrap_or(0);
    assert!(last + steps.reach <= rows.factors.len());
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; rows and steps are checked above.
        Kind::Avx2 | Kind::Vnni => unsafe { avx2::multiply_pairs(rows, steps, end, out) },
        _ => portable::multiply_pairs(rows, steps, end, out),
    }
}

/// The most panels that [`multiply_quads`] takes side by side.
pub(crate) const ABREAST: usize = 4;

/// As [`multiply_words`], with scales of at most 1/2, bytes as they are, and the weights of some panels side by side:
/// for every segment and group of four factors those of each channel.
pub(crate) fn multiply_quads(
    isa: Isa,
    rows: &Rows<'_, u8>,
    weights: &[i8],
    end: &End<'_>,
    out: &mut [u8],
) {
    check(rows, weights, end, 1..=ABREAST, out);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Vnni => unsafe { avx512::multiply(rows, weights, end, out) },
        _ => portable::multiply(rows, weights, end, out),
    }
}

/// `bytes` less `zero_point` as words; both of the same length.
pub(crate) fn widen(isa: Isa, bytes: &[u8], zero_point: u8, words: &mut [i16]) {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Avx2 | Kind::Vnni => unsafe { avx2::widen(bytes, zero_point, words) },
        _ => portable::widen(bytes, zero_point, words),
    }
}

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

/// Runs `work` compiled for the instruction set; what it calls must be inlined to gain from that.
#[inline(always)]
pub(crate) fn vectorized<R>(isa: Isa, work: impl FnOnce() -> R) -> R {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Avx2 => unsafe { avx2::vectorized(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Vnni => unsafe { avx512::vectorized(work) },
        _ => work(),
    }
}

/// `round((a - za) * ra + (b - zb) * rb) + zero_point`, saturated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sum {
    pub(crate) zero_points: [u8; 2],
    pub(crate) ratios: [f32; 2],
    pub(crate) range: Range,
}

/// The sum of every two bytes; all of the same length.
pub(crate) fn add(isa: Isa, sum: &Sum, a: &[u8], b: &[u8], out: &mut [u8]) {
    assert!(a.len() == out.len() && b.len() == out.len());
    match isa.0 {
        // So that every value fits in 32 bits.
        #[cfg(target_arch = "x86_64")]
        Kind::Vnni if sum.ratios.iter().all(|ratio| *ratio < 1e6) => {
            // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
            unsafe { avx512::add(sum, a, b, out) }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as for AVX-512.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe { neon::add(sum, a, b, out) },
        _ => vectorized(isa, || portable::add(sum, a, b, out)),
    }
}

/// `round((a - za) * (b - zb) * ratio) + zero_point`, saturated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Product {
    pub(crate) zero_points: [u8; 2],
    pub(crate) ratio: f32,
    pub(crate) range: Range,
}

/// The product of every two bytes; all of the same length.
pub(crate) fn product(isa: Isa, product: &Product, a: &[u8], b: &[u8], out: &mut [u8]) {
    assert!(a.len() == out.len() && b.len() == out.len());
    match isa.0 {
        // So that every value fits in 32 bits.
        #[cfg(target_arch = "x86_64")]
        Kind::Vnni if product.ratio < 1e4 => {
            // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
            unsafe { avx512::product(product, a, b, out) }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as for AVX-512.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe {
            neon::product(product, a, b, out)
        },
        _ => vectorized(isa, || portable::product(product, a, b, out)),
    }
}

/// Pixels from the planes of their three channels.
pub(crate) fn interleave(isa: Isa, planes: &[[u8; 64]; 3], pixels: &mut [u8; 192]) {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Vnni => unsafe { avx512::interleave(planes, pixels) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe { neon::interleave(planes, pixels) },
        _ => portable::interleave(planes, pixels),
    }
}

/// `table[byte]` for every byte; both of the same length.
pub(crate) fn look_up(isa: Isa, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Avx2 => unsafe { avx2::look_up(table, input, output) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Vnni => unsafe { avx512::look_up(table, input, output) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe {
            neon::look_up(table, input, output)
        },
        Kind::Portable => portable::look_up(table, input, output),
    }
}

/// Multiplies and adds in registers, `rounds` times; gives how many products that were.
pub(crate) fn products_alone(isa: Isa, rounds: usize) -> usize {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Avx2 => unsafe { avx2::products_alone(rounds) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Vnni => unsafe { avx512::products_alone(rounds) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::Neon => unsafe { neon::mull_alone(rounds) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::DotProduct => unsafe { neon::dot_alone(rounds) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::Matrix => unsafe { neon::matrix_alone(rounds) },
        Kind::Portable => portable::products_alone(rounds),
    }
}
