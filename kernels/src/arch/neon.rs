//! NEON, with and without the dot product of bytes.
//!
//! Factors and weights are bytes. Four of them along the depth lie side by side, for each of four
//! channels: `sdot` sums their products at once. Without it, `smull` gives products of 16 bits, and
//! two neighbours of those still fit 16 bits, unless both weights are -128: such panels take longer.
//! The Cortex-A72 multiplies in one pipeline and adds pairs in the other.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{BLOCK, Line, LineEnd, PANEL, PairSource, Panel, Rows};
use crate::Range;

/// Sums the products of four factors with those of each of four channels.
pub(super) trait Sum {
    /// Rows in a tile, as registers allow.
    const ROWS: usize;

    /// # Safety
    /// The CPU has the instructions.
    unsafe fn add(sums: int32x4_t, factors: int8x16_t, weights: int8x16_t) -> int32x4_t;
}

/// Without the dot product; no weight is -128.
pub(super) struct Mull;

impl Sum for Mull {
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn add(sums: int32x4_t, factors: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: every aarch64 CPU that runs this has NEON.
        unsafe {
            let low = vmull_s8(vget_low_s8(factors), vget_low_s8(weights));
            let high = vmull_high_s8(factors, weights);
            vpadalq_s16(sums, vpaddq_s16(low, high))
        }
    }
}

/// Without the dot product, any weights.
struct WideMull;

impl Sum for WideMull {
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn add(sums: int32x4_t, factors: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: as for `Mull`.
        unsafe {
            let low = vpaddlq_s16(vmull_s8(vget_low_s8(factors), vget_low_s8(weights)));
            let high = vpaddlq_s16(vmull_high_s8(factors, weights));
            vaddq_s32(sums, vpaddq_s32(low, high))
        }
    }
}

/// With the dot product.
struct Dot;

impl Sum for Dot {
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn add(mut sums: int32x4_t, factors: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: the caller's CPU has it; registers alone are touched.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
                inout(vreg) sums, in(vreg) weights, in(vreg) factors,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sums
    }
}

/// # Safety
/// The CPU has NEON, and lengths are as `super::check` holds them.
pub(super) unsafe fn multiply(rows: &Rows<'_, i8>, panel: &Panel<'_, i8>, out: &mut [u8]) {
    let out = out.as_mut_ptr();
    // SAFETY: the contract is that of this function.
    unsafe {
        if panel.extreme {
            tiles::<WideMull>(rows, panel, out);
        } else {
            tiles::<Mull>(rows, panel, out);
        }
    }
}

/// # Safety
/// The CPU has NEON with the dot product, and lengths are as `super::check` holds them.
pub(super) unsafe fn multiply_dot(rows: &Rows<'_, i8>, panel: &Panel<'_, i8>, out: &mut [u8]) {
    // SAFETY: the contract is that of this function.
    unsafe { tiles::<Dot>(rows, panel, out.as_mut_ptr()) };
}

/// # Safety
/// As for [`multiply`]; the CPU has the instructions of `S`.
#[inline(always)]
unsafe fn tiles<S: Sum>(rows: &Rows<'_, i8>, panel: &Panel<'_, i8>, mut out: *mut u8) {
    let mut starts = rows.starts;
    // SAFETY: the contract is that of this function; `out` stays within the output's rows.
    unsafe {
        while !starts.is_empty() {
            let count = starts.len().min(S::ROWS);
            match *starts {
                [a, b, c, d, e, f, ..] if S::ROWS == 6 => {
                    tile::<S, 6>(rows, panel, &[a, b, c, d, e, f], out);
                }
                [a, b, c, d, e] if S::ROWS == 6 => {
                    tile::<S, 5>(rows, panel, &[a, b, c, d, e], out);
                }
                [a, b, c, d, ..] => tile::<S, 4>(rows, panel, &[a, b, c, d], out),
                [a, b, c] => tile::<S, 3>(rows, panel, &[a, b, c], out),
                [a, b] => tile::<S, 2>(rows, panel, &[a, b], out),
                [a] => tile::<S, 1>(rows, panel, &[a], out),
                [] => {}
            }
            starts = &starts[count..];
            out = out.wrapping_add(panel.end.step.wrapping_mul(count));
        }
    }
}

/// `ROWS` rows; their sums stay in registers.
///
/// # Safety
/// As for [`tiles`]; `starts` are some of the rows', and `out` belongs to the first of them.
#[inline(always)]
unsafe fn tile<S: Sum, const ROWS: usize>(
    rows: &Rows<'_, i8>,
    panel: &Panel<'_, i8>,
    starts: &[usize; ROWS],
    out: *mut u8,
) {
    // SAFETY: `super::check` holds every row to the length of the factors, and the weights, bias
    // and scales to the rows.
    unsafe {
        let bias = load4(panel.end.bias.as_ptr());
        let mut acc = [bias; ROWS];
        let mut factors = starts.map(|start| rows.factors.as_ptr().add(start));
        let mut weights = panel.weights.as_ptr();
        for _ in 0..rows.segments {
            let mut at = 0_usize;
            for _ in 0..rows.groups {
                let columns: [int8x16_t; 4] =
                    std::array::from_fn(|index| vld1q_s8(weights.add(index.wrapping_mul(16))));
                weights = weights.add(4 * PANEL);
                for (sums, row) in acc.iter_mut().zip(factors) {
                    let four = row.add(at).cast::<i32>().read_unaligned();
                    let four = vreinterpretq_s8_s32(vdupq_n_s32(four));
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = S::add(*sum, four, column);
                    }
                }
                at = at.wrapping_add(4);
            }
            for row in &mut factors {
                *row = row.wrapping_add(rows.segment_step);
            }
        }
        let scale = panel.end.scale.as_ptr();
        let mut to = out;
        for sums in &acc {
            store(bytes(*sums, scale, panel.end.range), to, panel.end.columns);
            to = to.wrapping_add(panel.end.step);
        }
    }
}

/// Sixteen values.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn load4(from: *const i32) -> [int32x4_t; 4] {
    // SAFETY: the contract.
    unsafe { std::array::from_fn(|index| vld1q_s32(from.add(index.wrapping_mul(4)))) }
}

/// Sums times scales, rounded half to even, plus the zero point, saturated to the range.
///
/// # Safety
/// There are sixteen scales.
#[inline(always)]
unsafe fn bytes(sums: [int32x4_t; 4], scale: *const f32, range: Range) -> uint8x16_t {
    // SAFETY: the contract.
    unsafe {
        let rounded = |index: usize| {
            let scale = vld1q_f32(scale.add(index.wrapping_mul(4)));
            // Both conversions saturate.
            vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums[index]), scale)))
        };
        let zero_point = vdupq_n_s16(range.zero_point.into());
        let low = vqaddq_s16(vcombine_s16(rounded(0), rounded(1)), zero_point);
        let high = vqaddq_s16(vcombine_s16(rounded(2), rounded(3)), zero_point);
        let bytes = vcombine_u8(vqmovun_s16(low), vqmovun_s16(high));
        vminq_u8(
            vmaxq_u8(bytes, vdupq_n_u8(range.min)),
            vdupq_n_u8(range.max),
        )
    }
}

/// Stores the first `count` bytes, 1 to 16 of them.
///
/// # Safety
/// `out` is good for `count` bytes.
#[inline(always)]
unsafe fn store(bytes: uint8x16_t, out: *mut u8, count: usize) {
    // SAFETY: no more than `count` bytes are written.
    unsafe {
        if count == PANEL {
            vst1q_u8(out, bytes);
            return;
        }
        let mut all = [0_u8; PANEL];
        vst1q_u8(all.as_mut_ptr(), bytes);
        out.copy_from_nonoverlapping(all.as_ptr(), count);
    }
}

/// # Safety
/// Lengths are as `super::pair` checks them.
pub(super) unsafe fn pair(source: &PairSource<'_>, zero_point: u8, left: usize, words: &mut [i16]) {
    let (columns, _) = words.as_chunks_mut::<{ 2 * BLOCK }>();
    // SAFETY: as many bytes are read as the block has channels; a column is 32 words.
    unsafe {
        let zero_point = vdup_n_u8(zero_point);
        let load = |column: usize| {
            let from = source.bytes.as_ptr().add(column.wrapping_mul(source.step));
            let bytes = if source.channels == BLOCK {
                vld1q_u8(from)
            } else {
                let mut all = [0_u8; BLOCK];
                all.as_mut_ptr()
                    .copy_from_nonoverlapping(from, source.channels);
                vld1q_u8(all.as_ptr())
            };
            let words = [vget_low_u8(bytes), vget_high_u8(bytes)];
            words.map(|half| vreinterpretq_s16_u16(vsubl_u8(half, zero_point)))
        };
        let none = [vdupq_n_s16(0); 2];
        let mut next = none;
        for (column, words) in columns.iter_mut().enumerate().rev() {
            let inside = column >= left && column - left < source.columns;
            let this = if inside { load(column - left) } else { none };
            let to = words.as_mut_ptr();
            vst1q_s16(to, vzip1q_s16(this[0], next[0]));
            vst1q_s16(to.add(8), vzip1q_s16(this[1], next[1]));
            vst1q_s16(to.add(16), vzip2q_s16(this[0], next[0]));
            vst1q_s16(to.add(24), vzip2q_s16(this[1], next[1]));
            next = this;
        }
    }
}

/// # Safety
/// Lengths are as `super::line` checks them.
pub(super) unsafe fn line(line: &Line<'_>, end: &LineEnd<'_>, columns: usize, out: &mut [u8]) {
    let step = line.step.wrapping_mul(2 * BLOCK);
    let mut words = line.words.as_ptr();
    let mut out = out.as_mut_ptr();
    // SAFETY: the contract is that of this function; no column is beyond the last.
    unsafe {
        for _ in 0..columns / 2 {
            outputs::<2>(line, end, words, out);
            words = words.wrapping_add(step.wrapping_mul(2));
            out = out.wrapping_add(end.step.wrapping_mul(2));
        }
        if columns % 2 == 1 {
            outputs::<1>(line, end, words, out);
        }
    }
}

/// # Safety
/// As for [`line`]; `COLUMNS` outputs exist from that on to which `words` and `out` belong.
#[inline(always)]
unsafe fn outputs<const COLUMNS: usize>(
    line: &Line<'_>,
    end: &LineEnd<'_>,
    words: *const i16,
    out: *mut u8,
) {
    // SAFETY: `super::line` holds rows, weights and output to their lengths.
    unsafe {
        // For each channel the sums of even and of odd columns of the window.
        let mut acc = [[vdupq_n_s32(0); 8]; COLUMNS];
        let mut weights = end.weights.as_ptr();
        let step = line.step.wrapping_mul(2 * BLOCK);
        for row in line.rows {
            let mut words = words.add(*row);
            for _ in 0..line.pairs {
                for quarter in 0..4 {
                    let weight = vld1q_s16(weights.add(8 * quarter));
                    for (column, sums) in acc.iter_mut().enumerate() {
                        let at = column.wrapping_mul(step).wrapping_add(8 * quarter);
                        let word = vld1q_s16(words.add(at));
                        let low = &mut sums[2 * quarter];
                        *low = vmlal_s16(*low, vget_low_s16(word), vget_low_s16(weight));
                        let high = &mut sums[2 * quarter + 1];
                        *high = vmlal_high_s16(*high, word, weight);
                    }
                }
                weights = weights.add(2 * BLOCK);
                words = words.wrapping_add(4 * BLOCK);
            }
        }
        let bias = load4(end.bias.as_ptr());
        let mut to = out;
        for sums in acc {
            let sums: [int32x4_t; 4] = std::array::from_fn(|index| {
                let both = vpaddq_s32(sums[2 * index], sums[2 * index + 1]);
                vaddq_s32(both, bias[index])
            });
            store(
                in_order(bytes(sums, end.scale.as_ptr(), end.range)),
                to,
                end.channels,
            );
            to = to.wrapping_add(end.step);
        }
    }
}

/// From the order of `super::LANES`: the middle two quarters change places.
#[inline(always)]
fn in_order(bytes: uint8x16_t) -> uint8x16_t {
    const ORDER: [u8; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];
    // SAFETY: sixteen bytes are read from sixteen.
    unsafe { vqtbl1q_u8(bytes, vld1q_u8(ORDER.as_ptr())) }
}

/// Four registers of 64 entries; an index beyond them gives 0, or leaves what there is.
///
/// # Safety
/// The CPU has NEON.
pub(super) unsafe fn look_up(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    // SAFETY: 64 bytes are read from each quarter of 256, and 16 from and to 16.
    unsafe {
        let quarters: [uint8x16x4_t; 4] =
            std::array::from_fn(|index| vld1q_u8_x4(table.as_ptr().add(64 * index)));
        let (inputs, rest) = input.as_chunks::<16>();
        let (outputs, rest_out) = output.as_chunks_mut::<16>();
        for (input, output) in inputs.iter().zip(outputs) {
            let mut index = vld1q_u8(input.as_ptr());
            let mut found = vqtbl4q_u8(quarters[0], index);
            for quarter in &quarters[1..] {
                index = vsubq_u8(index, vdupq_n_u8(64));
                found = vqtbx4q_u8(found, *quarter, index);
            }
            vst1q_u8(output.as_mut_ptr(), found);
        }
        super::portable::look_up(table, rest, rest_out);
    }
}

/// # Safety
/// The CPU has the instructions of `S`.
#[inline(always)]
pub(super) unsafe fn products_alone<S: Sum>(rounds: usize) -> usize {
    const SUMS: usize = 16;
    // SAFETY: the contract.
    unsafe {
        let factor = std::hint::black_box(vdupq_n_s8(5));
        let mut sums = [vdupq_n_s32(5); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                // A product of the sum itself cannot be taken out of the loop.
                *sum = S::add(*sum, factor, vreinterpretq_s8_s32(*sum));
            }
        }
        std::hint::black_box(sums);
    }
    rounds * SUMS * 16
}

/// # Safety
/// The CPU has NEON with the dot product.
pub(super) unsafe fn dot_products_alone(rounds: usize) -> usize {
    // SAFETY: the contract.
    unsafe { products_alone::<Dot>(rounds) }
}
