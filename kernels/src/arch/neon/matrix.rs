//! Products of rows with panels where the CPU has products of matrices: `smmla` sums the products of
//! two groups of two rows with each of two channels. [`in_order`] puts their weights side by side.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::{PANEL, Panel, Rows};
use super::products::{GROUP_WEIGHTS, Tile, alone};
use super::{Clipped, Ending, Form, load4, with_form};

/// With products of matrices.
pub(super) struct Matrix;

impl Tile for Matrix {
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn tile<const ROWS: usize>(
        rows: &Rows<'_, i8>,
        panel: &Panel<'_, i8>,
        starts: &[usize; ROWS],
        out: *mut u8,
    ) {
        // SAFETY: the contract is that of this function. An odd row is computed twice.
        unsafe {
            match *starts.as_slice() {
                [a] => matrix(rows, panel, [[a, a]], 1, out),
                [a, b] => matrix(rows, panel, [[a, b]], 2, out),
                [a, b, c] => matrix(rows, panel, [[a, b], [c, c]], 3, out),
                [a, b, c, d] => matrix(rows, panel, [[a, b], [c, d]], 4, out),
                _ => {}
            }
        }
    }
}

/// The sums of the first `count` of `PAIRS` pairs of rows, requantized.
///
/// # Safety
/// As for [`Tile::tile`].
#[inline(always)]
unsafe fn matrix<const PAIRS: usize>(
    rows: &Rows<'_, i8>,
    panel: &Panel<'_, i8>,
    starts: [[usize; 2]; PAIRS],
    count: usize,
    out: *mut u8,
) {
    // SAFETY: `check` holds every row to the length of the factors, and the weights to the rows.
    unsafe {
        let bias = load4(panel.end.bias.as_ptr()).map(|four| vreinterpretq_s64_s32(four));
        // Two channels of the first row, and the same of the second.
        let twice = |index: usize| {
            let half = bias[index / 2];
            let twice = if index.is_multiple_of(2) {
                vzip1q_s64(half, half)
            } else {
                vzip2q_s64(half, half)
            };
            vreinterpretq_s32_s64(twice)
        };
        let mut sums = [std::array::from_fn::<_, 8, _>(twice); PAIRS];
        let first = rows.factors.as_ptr();
        let mut factors = starts.map(|[a, b]| [first.add(a), first.add(b)]);
        let mut weights = panel.weights.as_ptr();
        for _ in 0..rows.segments {
            let mut at = 0_usize;
            for _ in 0..rows.groups / 4 {
                let mut near = [vdupq_n_s64(0); PAIRS];
                let mut far = near;
                for (index, [a, b]) in factors.iter().enumerate() {
                    let (a, b) = (vld1q_s64(a.add(at).cast()), vld1q_s64(b.add(at).cast()));
                    near[index] = vzip1q_s64(a, b);
                    far[index] = vzip2q_s64(a, b);
                }
                matrix_groups(&mut sums, &near, weights);
                matrix_groups(&mut sums, &far, weights.add(2 * GROUP_WEIGHTS));
                weights = weights.wrapping_add(4 * GROUP_WEIGHTS);
                at = at.wrapping_add(16);
            }
            if rows.groups % 4 >= 2 {
                let mut both = [vdupq_n_s64(0); PAIRS];
                for (both, [a, b]) in both.iter_mut().zip(factors) {
                    *both = vcombine_s64(vld1_s64(a.add(at).cast()), vld1_s64(b.add(at).cast()));
                }
                matrix_groups(&mut sums, &both, weights);
                weights = weights.wrapping_add(2 * GROUP_WEIGHTS);
                at = at.wrapping_add(8);
            }
            if rows.groups % 2 == 1 {
                let four = |row: *const i8| {
                    vcreate_s64(u64::from(row.add(at).cast::<u32>().read_unaligned()))
                };
                let mut both = [vdupq_n_s64(0); PAIRS];
                for (both, [a, b]) in both.iter_mut().zip(factors) {
                    *both = vcombine_s64(four(a), four(b));
                }
                let none = vdupq_n_s32(0);
                for column in 0..4 {
                    let column_weights = vld1q_s32(weights.add(16 * column).cast());
                    let low = vzip1q_s32(column_weights, none);
                    let high = vzip2q_s32(column_weights, none);
                    for (sums, both) in sums.iter_mut().zip(both) {
                        let at = 2 * column;
                        sums[at] = mmla(sums[at], both, vreinterpretq_s64_s32(low));
                        sums[at + 1] = mmla(sums[at + 1], both, vreinterpretq_s64_s32(high));
                    }
                }
                weights = weights.wrapping_add(GROUP_WEIGHTS);
            }
            for [a, b] in &mut factors {
                *a = a.wrapping_add(rows.segment_step);
                *b = b.wrapping_add(rows.segment_step);
            }
        }
        let ending = Ending::load(&panel.end);
        if ending.columns == PANEL {
            with_form!(panel.end.fits_words, panel.end.range, F => {
                finish::<PAIRS, true, F>(&sums, &ending, panel.end.step, count, out);
            });
        } else {
            finish::<PAIRS, false, Clipped>(&sums, &ending, panel.end.step, count, out);
        }
    }
}

/// Stores the bytes that become of the sums of the first `count` rows. Written out as in
/// `finish_rows`.
///
/// # Safety
/// `out` belongs to the first of them; if `FULL`, all columns exist; values and range have the form `F`.
#[inline(always)]
unsafe fn finish<const PAIRS: usize, const FULL: bool, F: Form>(
    sums: &[[int32x4_t; 8]; PAIRS],
    ending: &Ending,
    step: usize,
    count: usize,
    out: *mut u8,
) {
    // SAFETY: the contract.
    unsafe {
        if let Some(sums) = sums.first() {
            finish_pair::<FULL, F>(sums, ending, step, out, count > 1);
        }
        if let Some(sums) = sums.get(1) {
            let out = out.wrapping_add(step.wrapping_mul(2));
            finish_pair::<FULL, F>(sums, ending, step, out, count > 3);
        }
    }
}

/// Stores the bytes that become of the sums of two rows, or of the first alone.
///
/// # Safety
/// As for [`finish`].
#[inline(always)]
unsafe fn finish_pair<const FULL: bool, F: Form>(
    sums: &[int32x4_t; 8],
    ending: &Ending,
    step: usize,
    out: *mut u8,
    both: bool,
) {
    // SAFETY: the contract.
    unsafe {
        let sums = sums.map(|four| vreinterpretq_s64_s32(four));
        let near = |at: usize| vreinterpretq_s32_s64(vzip1q_s64(sums[2 * at], sums[2 * at + 1]));
        let far = |at: usize| vreinterpretq_s32_s64(vzip2q_s64(sums[2 * at], sums[2 * at + 1]));
        ending.store::<FULL, F>([near(0), near(1), near(2), near(3)], out);
        if both {
            let out = out.wrapping_add(step);
            ending.store::<FULL, F>([far(0), far(1), far(2), far(3)], out);
        }
    }
}

/// Adds the products of two groups of each row's factors.
///
/// # Safety
/// The CPU has products of matrices; there are the weights of two groups.
#[inline(always)]
unsafe fn matrix_groups<const PAIRS: usize>(
    sums: &mut [[int32x4_t; 8]; PAIRS],
    factors: &[int64x2_t; PAIRS],
    weights: *const i8,
) {
    // SAFETY: the contract.
    unsafe {
        for index in 0..8 {
            let column = vld1q_s64(weights.add(16 * index).cast());
            for (sums, factors) in sums.iter_mut().zip(factors) {
                sums[index] = mmla(sums[index], *factors, column);
            }
        }
    }
}

/// # Safety
/// The CPU has products of matrices.
#[inline(always)]
unsafe fn mmla(mut sums: int32x4_t, factors: int64x2_t, weights: int64x2_t) -> int32x4_t {
    // SAFETY: the caller's CPU has it; registers alone are touched.
    unsafe {
        asm!(
            ".arch_extension i8mm",
            "smmla {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sums, in(vreg) factors, in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// Puts the weights of two groups side by side for each channel, as [`Matrix`] reads them. `weights`
/// are those of some segments of `groups` groups; the last of an odd number stays as it is.
pub(in crate::arch) fn in_order(weights: &mut [i8], groups: usize) {
    for segment in weights.chunks_exact_mut(groups * GROUP_WEIGHTS) {
        for pair in segment.chunks_exact_mut(2 * GROUP_WEIGHTS) {
            let old = pair.to_vec();
            let (near, far) = old.split_at(GROUP_WEIGHTS);
            let channels = near.chunks_exact(4).zip(far.chunks_exact(4));
            for (to, (near, far)) in pair.chunks_exact_mut(8).zip(channels) {
                to[..4].copy_from_slice(near);
                to[4..].copy_from_slice(far);
            }
        }
    }
}

/// # Safety
/// The CPU has products of matrices.
pub(in crate::arch) unsafe fn matrix_alone(rounds: usize) -> usize {
    // SAFETY: the contract.
    let add = |sum: int32x4_t, factors: int8x16_t| unsafe {
        mmla(
            sum,
            vreinterpretq_s64_s8(factors),
            vreinterpretq_s64_s32(sum),
        )
    };
    2 * alone(rounds, add)
}
