//! Products of rows with panels: tiles of sums that stay in registers.
//!
//! Factors and weights are bytes; four of them along the depth, a group, lie side by side for each
//! of four channels.
//!
//! - [`Mull`]: `smull` gives products of 16 bits, and `smlal` adds those of the next group: that
//!   fits unless both weights are -128. Only then are neighbours added, in 32 bits.
//! - [`Dot`]: `sdot` sums the products of a group with each of four channels.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::{PANEL, Panel, Rows};
use super::{Clipped, Ending, Form, load4, load4_anew, with_form};

/// Bytes of a panel's weights for one group.
pub(super) const GROUP_WEIGHTS: usize = 4 * PANEL;

/// How a tile of rows is multiplied with a panel.
pub(super) trait Tile {
    /// Rows in the largest tile.
    const ROWS: usize;

    /// The sums of `ROWS` rows, requantized.
    ///
    /// # Safety
    /// The CPU has the instructions, lengths are as `super::super::check` holds them, and `out`
    /// belongs to the first of the rows that begin at `starts`.
    unsafe fn tile<const ROWS: usize>(
        rows: &Rows<'_, i8>,
        panel: &Panel<'_, i8>,
        starts: &[usize; ROWS],
        out: *mut u8,
    );
}

/// # Safety
/// As for [`Tile::tile`].
#[inline(always)]
pub(super) unsafe fn tiles<T: Tile>(rows: &Rows<'_, i8>, panel: &Panel<'_, i8>, mut out: *mut u8) {
    let mut starts = rows.starts;
    // SAFETY: the contract is that of this function; `out` stays within the output's rows.
    unsafe {
        while !starts.is_empty() {
            let count = starts.len().min(T::ROWS);
            match *starts {
                [a, b, c, d, e, f, ..] if T::ROWS >= 6 => {
                    T::tile(rows, panel, &[a, b, c, d, e, f], out);
                }
                [a, b, c, d, e, ..] if T::ROWS >= 5 => {
                    T::tile(rows, panel, &[a, b, c, d, e], out);
                }
                [a, b, c, d, ..] if T::ROWS >= 4 => T::tile(rows, panel, &[a, b, c, d], out),
                [a, b, c, ..] if T::ROWS >= 3 => T::tile(rows, panel, &[a, b, c], out),
                [a, b, ..] => T::tile(rows, panel, &[a, b], out),
                [a] => T::tile(rows, panel, &[a], out),
                [] => {}
            }
            starts = &starts[count..];
            out = out.wrapping_add(panel.end.step.wrapping_mul(count));
        }
    }
}

/// Without the dot product. `EXTREME`: both of two weights may be -128.
pub(super) struct Mull<const EXTREME: bool>;

impl<const EXTREME: bool> Tile for Mull<EXTREME> {
    const ROWS: usize = 2;

    #[inline(always)]
    unsafe fn tile<const ROWS: usize>(
        rows: &Rows<'_, i8>,
        panel: &Panel<'_, i8>,
        starts: &[usize; ROWS],
        out: *mut u8,
    ) {
        // SAFETY: `check` holds every row to the length of the factors, and the weights to the rows.
        unsafe {
            // Of each channel two sums, side by side.
            let mut sums = [[vdupq_n_s32(0); 8]; ROWS];
            let mut factors = starts.map(|start| rows.factors.as_ptr().add(start));
            let mut weights = panel.weights.as_ptr();
            for _ in 0..rows.segments {
                let mut at = 0_usize;
                for _ in 0..rows.groups / 4 {
                    let sixteen = factors.map(|row| vld1q_s8(row.add(at)));
                    let four = sixteen.map(|row| [repeated::<0>(row), repeated::<1>(row)]);
                    mull_groups::<EXTREME, ROWS>(&mut sums, &four, weights);
                    let four = sixteen.map(|row| [repeated::<2>(row), repeated::<3>(row)]);
                    let far = weights.add(2 * GROUP_WEIGHTS);
                    mull_groups::<EXTREME, ROWS>(&mut sums, &four, far);
                    weights = weights.wrapping_add(4 * GROUP_WEIGHTS);
                    at = at.wrapping_add(16);
                }
                if rows.groups % 4 >= 2 {
                    let eight = factors.map(|row| vld1_s8(row.add(at)));
                    let eight = eight.map(|row| vcombine_s8(row, row));
                    let four = eight.map(|row| [repeated::<0>(row), repeated::<1>(row)]);
                    mull_groups::<EXTREME, ROWS>(&mut sums, &four, weights);
                    weights = weights.wrapping_add(2 * GROUP_WEIGHTS);
                    at = at.wrapping_add(8);
                }
                if rows.groups % 2 == 1 {
                    let four = factors.map(|row| repeated::<0>(group(row.add(at))));
                    for column in 0..4 {
                        let near = vld1q_s8(weights.add(16 * column));
                        for (sums, four) in sums.iter_mut().zip(four) {
                            let low = vmull_s8(vget_low_s8(four), vget_low_s8(near));
                            sums[2 * column] = vpadalq_s16(sums[2 * column], low);
                            let high = vmull_high_s8(four, near);
                            sums[2 * column + 1] = vpadalq_s16(sums[2 * column + 1], high);
                        }
                    }
                    weights = weights.wrapping_add(GROUP_WEIGHTS);
                }
                factors = factors.map(|row| row.wrapping_add(rows.segment_step));
            }
            let bias = load4(panel.end.bias.as_ptr());
            let sums = sums.map(|sums| {
                let both = |index: usize| vpaddq_s32(sums[2 * index], sums[2 * index + 1]);
                std::array::from_fn(|index| vaddq_s32(both(index), bias[index]))
            });
            finish(&sums, panel, out);
        }
    }
}

/// Adds the products of two groups of each row's factors, each four times.
///
/// # Safety
/// There are the weights of two groups.
#[inline(always)]
unsafe fn mull_groups<const EXTREME: bool, const ROWS: usize>(
    sums: &mut [[int32x4_t; 8]; ROWS],
    factors: &[[int8x16_t; 2]; ROWS],
    weights: *const i8,
) {
    // SAFETY: the contract.
    unsafe {
        for column in 0..4 {
            let near = vld1q_s8(weights.add(16 * column));
            let far = vld1q_s8(weights.add(GROUP_WEIGHTS + 16 * column));
            for (sums, factors) in sums.iter_mut().zip(factors) {
                let [low, high] = [2 * column, 2 * column + 1];
                if EXTREME {
                    let mut add = |at: usize, products| sums[at] = vpadalq_s16(sums[at], products);
                    for (factors, weights) in factors.iter().zip([near, far]) {
                        add(low, vmull_s8(vget_low_s8(*factors), vget_low_s8(weights)));
                        add(high, vmull_high_s8(*factors, weights));
                    }
                } else {
                    (sums[low], sums[high]) = mull_two([sums[low], sums[high]], factors, near, far);
                }
            }
        }
    }
}

/// As one piece: the compiler would start on more of these than there are registers for.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn mull_two(
    [mut low, mut high]: [int32x4_t; 2],
    factors: &[int8x16_t; 2],
    near: int8x16_t,
    far: int8x16_t,
) -> (int32x4_t, int32x4_t) {
    // SAFETY: registers alone are touched.
    unsafe {
        asm!(
            "smull {p:v}.8h, {f0:v}.8b, {near:v}.8b",
            "smull2 {q:v}.8h, {f0:v}.16b, {near:v}.16b",
            "smlal {p:v}.8h, {f1:v}.8b, {far:v}.8b",
            "smlal2 {q:v}.8h, {f1:v}.16b, {far:v}.16b",
            "sadalp {low:v}.4s, {p:v}.8h",
            "sadalp {high:v}.4s, {q:v}.8h",
            p = out(vreg) _, q = out(vreg) _, low = inout(vreg) low, high = inout(vreg) high,
            f0 = in(vreg) factors[0], f1 = in(vreg) factors[1],
            near = in(vreg) near, far = in(vreg) far,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    (low, high)
}

/// With the dot product.
pub(super) struct Dot;

impl Tile for Dot {
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn tile<const ROWS: usize>(
        rows: &Rows<'_, i8>,
        panel: &Panel<'_, i8>,
        starts: &[usize; ROWS],
        out: *mut u8,
    ) {
        // SAFETY: `check` holds every row to the length of the factors, and the weights to the rows.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 4]; ROWS];
            for sums in &mut sums {
                *sums = load4_anew(panel.end.bias.as_ptr());
            }
            let mut factors = starts.map(|start| rows.factors.as_ptr().add(start));
            let mut weights = panel.weights.as_ptr();
            for _ in 0..rows.segments {
                // For every factor there are as many weights as channels.
                let mut at = 0_usize;
                let weights_at = |at: usize| weights.wrapping_add(PANEL.wrapping_mul(at));
                for _ in 0..rows.groups / 4 {
                    let sixteen = factors.map(|row| vld1q_s8(row.add(at)));
                    let weights = weights_at(at);
                    dot_group::<0, ROWS>(&mut sums, &sixteen, weights);
                    dot_group::<1, ROWS>(&mut sums, &sixteen, weights.add(GROUP_WEIGHTS));
                    dot_group::<2, ROWS>(&mut sums, &sixteen, weights.add(2 * GROUP_WEIGHTS));
                    dot_group::<3, ROWS>(&mut sums, &sixteen, weights.add(3 * GROUP_WEIGHTS));
                    at = at.wrapping_add(16);
                }
                if rows.groups % 4 >= 2 {
                    let eight = factors.map(|row| eight(row, at));
                    let weights = weights_at(at);
                    dot_group::<0, ROWS>(&mut sums, &eight, weights);
                    dot_group::<1, ROWS>(&mut sums, &eight, weights.add(GROUP_WEIGHTS));
                    at = at.wrapping_add(8);
                }
                if rows.groups % 2 == 1 {
                    let four = factors.map(|row| four(row, at));
                    dot_group::<0, ROWS>(&mut sums, &four, weights_at(at));
                    at = at.wrapping_add(4);
                }
                weights = weights_at(at);
                factors = factors.map(|row| row.wrapping_add(rows.segment_step));
            }
            finish(&sums, panel, out);
        }
    }
}

/// Adds the products of group `LANE` of each row's factors.
///
/// # Safety
/// The CPU has the dot product; there are the weights of one group.
#[inline(always)]
unsafe fn dot_group<const LANE: i32, const ROWS: usize>(
    sums: &mut [[int32x4_t; 4]; ROWS],
    factors: &[int8x16_t; ROWS],
    weights: *const i8,
) {
    // SAFETY: the contract.
    unsafe {
        // One register of weights at a time: sums and factors of six rows take thirty.
        for column in 0..4 {
            let weights = vld1q_s8(weights.add(16 * column));
            for (sums, factors) in sums.iter_mut().zip(factors) {
                sums[column] = dot::<LANE>(sums[column], weights, *factors);
            }
        }
    }
}

/// # Safety
/// The CPU has the dot product.
#[inline(always)]
unsafe fn dot<const LANE: i32>(
    mut sums: int32x4_t,
    weights: int8x16_t,
    factors: int8x16_t,
) -> int32x4_t {
    // SAFETY: the caller's CPU has it; registers alone are touched.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{lane}]",
            inout(vreg) sums, in(vreg) weights, in(vreg) factors, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// One group of factors, four times.
///
/// # Safety
/// It is there.
#[inline(always)]
unsafe fn group(factors: *const i8) -> int8x16_t {
    // SAFETY: the contract.
    unsafe { vreinterpretq_s8_s32(vld1q_dup_s32(factors.cast())) }
}

/// Two groups of factors. The compiler would compute the address first.
///
/// # Safety
/// They are there, `at` factors on.
#[inline(always)]
unsafe fn eight(factors: *const i8, at: usize) -> int8x16_t {
    let loaded;
    // SAFETY: the contract.
    unsafe {
        asm!(
            "ldr {0:d}, [{1}, {2}]",
            out(vreg) loaded, in(reg) factors, in(reg) at,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    loaded
}

/// As [`eight`], one group.
///
/// # Safety
/// It is there, `at` factors on.
#[inline(always)]
unsafe fn four(factors: *const i8, at: usize) -> int8x16_t {
    let loaded;
    // SAFETY: the contract.
    unsafe {
        asm!(
            "ldr {0:s}, [{1}, {2}]",
            out(vreg) loaded, in(reg) factors, in(reg) at,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    loaded
}

/// Group `LANE`, four times. The compiler shall not know that both halves are the same: it would
/// move halves of the weights about to multiply with one of them.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn repeated<const LANE: i32>(groups: int8x16_t) -> int8x16_t {
    let repeated;
    // SAFETY: registers alone are touched.
    unsafe {
        asm!(
            "dup {0:v}.4s, {1:v}.s[{lane}]",
            out(vreg) repeated, in(vreg) groups, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    repeated
}

/// Stores the bytes that become of the sums of up to six rows.
///
/// # Safety
/// `out` belongs to the first of them.
#[inline(always)]
unsafe fn finish<const ROWS: usize>(
    sums: &[[int32x4_t; 4]; ROWS],
    panel: &Panel<'_, i8>,
    out: *mut u8,
) {
    // SAFETY: the contract; `check` holds the scales to a panel.
    unsafe {
        let ending = Ending::load(&panel.end);
        let step = panel.end.step;
        if ending.columns == PANEL {
            with_form!(panel.end.fits_words, panel.end.range, F => finish_rows::<ROWS, true, F>(sums, &ending, step, out));
        } else {
            finish_rows::<ROWS, false, Clipped>(sums, &ending, step, out);
        }
    }
}

/// Written out, because in a loop the sums would have to lie in memory.
///
/// # Safety
/// As for [`finish`]; if `FULL`, all columns exist; values and range have the form `F`.
#[inline(always)]
unsafe fn finish_rows<const ROWS: usize, const FULL: bool, F: Form>(
    sums: &[[int32x4_t; 4]; ROWS],
    ending: &Ending,
    step: usize,
    out: *mut u8,
) {
    let to = |index: usize| out.wrapping_add(step.wrapping_mul(index));
    // SAFETY: the contract.
    unsafe {
        if let Some(sums) = sums.first() {
            ending.store::<FULL, F>(*sums, to(0));
        }
        if let Some(sums) = sums.get(1) {
            ending.store::<FULL, F>(*sums, to(1));
        }
        if let Some(sums) = sums.get(2) {
            ending.store::<FULL, F>(*sums, to(2));
        }
        if let Some(sums) = sums.get(3) {
            ending.store::<FULL, F>(*sums, to(3));
        }
        if let Some(sums) = sums.get(4) {
            ending.store::<FULL, F>(*sums, to(4));
        }
        if let Some(sums) = sums.get(5) {
            ending.store::<FULL, F>(*sums, to(5));
        }
    }
}

/// Multiplies and adds in registers, `rounds` times; gives how many products that were.
///
/// # Safety
/// The CPU has NEON.
pub(in crate::arch) unsafe fn mull_alone(rounds: usize) -> usize {
    // SAFETY: the contract.
    let add = |sum: int32x4_t, factors: int8x16_t| unsafe {
        let weights = vreinterpretq_s8_s32(sum);
        let low = vmull_s8(vget_low_s8(factors), vget_low_s8(weights));
        vpadalq_s16(sum, vmlal_high_s8(low, factors, weights))
    };
    alone(rounds, add)
}

/// # Safety
/// The CPU has the dot product.
pub(in crate::arch) unsafe fn dot_alone(rounds: usize) -> usize {
    // SAFETY: the contract.
    alone(rounds, |sum, factors| unsafe {
        dot::<0>(sum, vreinterpretq_s8_s32(sum), factors)
    })
}

/// Products of 16 bytes; a product of the sum itself cannot be taken out of the loop.
#[inline(always)]
pub(super) fn alone(rounds: usize, add: impl Fn(int32x4_t, int8x16_t) -> int32x4_t) -> usize {
    const SUMS: usize = 16;
    // SAFETY: every CPU that this runs on has NEON.
    let (factors, five) = unsafe { (vdupq_n_s8(5), vdupq_n_s32(5)) };
    let factors = std::hint::black_box(factors);
    let mut sums = [five; SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = add(*sum, factors);
        }
    }
    std::hint::black_box(sums);
    rounds * SUMS * 16
}
