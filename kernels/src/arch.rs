//! The inner loops, for each set of instructions.
//!
//! `portable` defines what they compute; the others give the same bytes.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use crate::factor::Factor;
use crate::isa::Kind;
use crate::{Isa, Quantization, Range};

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
        let last = starts.iter().max().copied().unwrap_or(0);
        let end = last + (segments - 1) * segment_step + T::GROUP * groups;
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

/// What becomes of a panel's sums.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) bias: &'a [i32],
    pub(crate) scale: &'a [f32],
    pub(crate) range: Range,
    /// How many of the panel's channels exist.
    pub(crate) columns: usize,
    /// From one row of the output to the next.
    pub(crate) step: usize,
}

impl End<'_> {
    /// Holds all lengths to each other.
    fn check(&self, rows: usize, out: &[u8]) {
        assert!(rows > 0 && (1..=PANEL).contains(&self.columns));
        assert!(self.bias.len() == PANEL && self.scale.len() == PANEL);
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
fn check<T: Factor>(rows: &Rows<'_, T>, panel: &Panel<'_, T>, out: &[u8]) {
    panel.end.check(rows.starts.len(), out);
    assert!(panel.weights.len() == rows.len() * PANEL);
    assert!(rows.end <= rows.factors.len());
}

/// The sums of all rows with one panel, requantized.
pub(crate) fn multiply_words(
    isa: Isa,
    rows: &Rows<'_, i16>,
    panel: &Panel<'_, i16>,
    out: &mut [u8],
) {
    check(rows, panel, out);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Avx2 => unsafe { avx2::multiply(rows, panel, out) },
        _ => portable::multiply(rows, panel, out),
    }
}

/// As [`multiply_words`], with factors and weights of 8 bits.
pub(crate) fn multiply_bytes(isa: Isa, rows: &Rows<'_, i8>, panel: &Panel<'_, i8>, out: &mut [u8]) {
    check(rows, panel, out);
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Neon => unsafe { neon::multiply(rows, panel, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::DotProduct => unsafe { neon::multiply_dot(rows, panel, out) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above; for it `in_order` has interleaved the weights.
        Kind::Matrix => unsafe { neon::multiply_matrix(rows, panel, out) },
        _ => portable::multiply(rows, panel, out),
    }
}

/// Puts the packed weights of some segments in the order in which [`multiply_bytes`] reads them.
pub(crate) fn in_order(isa: Isa, weights: &mut [i8], groups: usize) {
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        Kind::Matrix => neon::interleave(weights, groups),
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
    end.check(rows.starts.len(), out);
    let last = rows.starts.iter().max().copied().unwrap_or(0);
    assert!(last + steps.reach <= rows.factors.len());
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; rows and steps are checked above.
        Kind::Avx2 => unsafe { avx2::multiply_pairs(rows, steps, end, out) },
        _ => portable::multiply_pairs(rows, steps, end, out),
    }
}

/// `bytes` less `zero_point` as words; both of the same length.
pub(crate) fn widen(isa: Isa, bytes: &[u8], zero_point: u8, words: &mut [i16]) {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Avx2 => unsafe { avx2::widen(bytes, zero_point, words) },
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
        Kind::Avx2 => unsafe { avx2::pair(source, zero_point, left, words) },
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
        Kind::Avx2 => unsafe { avx2::line(line, end, columns, out) },
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
    end.check(output[0] * output[1], out);
    assert!(source.weights.len() == kernel[0] * kernel[1] * BLOCK && BLOCK == PANEL);
    let rows = (output[0] - 1) * stride[0] + kernel[0];
    let columns = (output[1] - 1) * stride[1] + kernel[1];
    assert!(columns * BLOCK <= *row && rows * row <= source.factors.len());
    // SAFETY: as above.
    unsafe { neon::byte_plane(source, extreme, out) }
}

/// Values that a float convolution computes at a time.
pub(crate) const FLOATS: usize = 16;

/// What one row of a depthwise convolution of `f32` takes.
pub(crate) struct FloatRow<'a> {
    pub(crate) values: &'a [f32],
    /// For each weight, where its value for the first output lies; the others' follow.
    pub(crate) offsets: &'a [usize],
    pub(crate) weights: &'a [f32],
    pub(crate) bias: f32,
}

/// The sums of values times weights, and the bias.
pub(crate) fn float_row(isa: Isa, row: &FloatRow<'_>, out: &mut [f32]) {
    let last = row.offsets.iter().max().copied().unwrap_or(0);
    assert!(row.offsets.len() == row.weights.len());
    assert!(last + out.len().next_multiple_of(FLOATS) <= row.values.len());
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Avx2 => unsafe { avx2::float_row(row, out) },
        _ => portable::float_row(row, out),
    }
}

/// Runs `work` compiled for the instruction set; what it calls must be inlined to gain from that.
#[inline(always)]
pub(crate) fn vectorized<R>(isa: Isa, work: impl FnOnce() -> R) -> R {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Avx2 => unsafe { avx2::vectorized(work) },
        _ => work(),
    }
}

/// The first of the sums of `a` and `b`, if there is a loop for them: gives how many. All of one length.
pub(crate) fn sums(
    isa: Isa,
    inputs: [&[u8]; 2],
    zero_points: [u8; 2],
    ratios: [f32; 2],
    range: Range,
    out: &mut [u8],
) -> usize {
    assert!(inputs.iter().all(|input| input.len() == out.len()));
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe {
            neon::sums(inputs, zero_points, ratios, range, out)
        },
        _ => {
            let _ = (zero_points, ratios, range);
            0
        }
    }
}

/// As [`sums`], of the products.
pub(crate) fn products(
    isa: Isa,
    inputs: [&[u8]; 2],
    zero_points: [u8; 2],
    ratio: f32,
    range: Range,
    out: &mut [u8],
) -> usize {
    assert!(inputs.iter().all(|input| input.len() == out.len()));
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe {
            neon::products(inputs, zero_points, ratio, range, out)
        },
        _ => {
            let _ = (zero_points, ratio, range);
            0
        }
    }
}

/// As [`sums`], of quantized pixels of three planes: gives how many pixels.
pub(crate) fn quantize_three(
    isa: Isa,
    planes: [&[f32]; 3],
    quantization: Quantization,
    out: &mut [u8],
) -> usize {
    assert!(planes.iter().all(|plane| 3 * plane.len() == out.len()));
    match isa.0 {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe {
            neon::quantize_three(planes, quantization, out)
        },
        _ => {
            let _ = quantization;
            0
        }
    }
}

/// `table[byte]` for every byte; both of the same length.
pub(crate) fn look_up(isa: Isa, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Avx2 => unsafe { avx2::look_up(table, input, output) },
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
