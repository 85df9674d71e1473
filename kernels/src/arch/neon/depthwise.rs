//! Depthwise convolutions of bytes: sixteen channels of a pixel are a register.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::{BLOCK, ByteSource, PairSource};
use super::{Clipped, Ending, Form, load4, with_form};

/// # Safety
/// Lengths are as `super::super::byte_row` checks them.
pub(in crate::arch) unsafe fn byte_row(
    source: &PairSource<'_>,
    zero: i8,
    left: usize,
    factors: &mut [i8],
) {
    let (columns, _) = factors.as_chunks_mut::<BLOCK>();
    // SAFETY: as many bytes are read as the block has channels; a column is 16 factors.
    unsafe {
        let none = vdupq_n_s8(zero);
        let flip = vdupq_n_u8(0x80);
        let (before, rest) = columns.split_at_mut(left);
        let (inside, after) = rest.split_at_mut(source.columns);
        for column in before.iter_mut().chain(after) {
            vst1q_s8(column.as_mut_ptr(), none);
        }
        let mut from = source.bytes.as_ptr();
        for column in inside {
            let bytes = if source.channels == BLOCK {
                vld1q_u8(from)
            } else {
                let mut all = [0_u8; BLOCK];
                for (index, byte) in all[..source.channels].iter_mut().enumerate() {
                    *byte = *from.add(index);
                }
                vld1q_u8(all.as_ptr())
            };
            vst1q_s8(
                column.as_mut_ptr(),
                vreinterpretq_s8_u8(veorq_u8(bytes, flip)),
            );
            from = from.wrapping_add(source.step);
        }
    }
}

/// # Safety
/// Lengths are as `super::super::byte_plane` checks them.
pub(in crate::arch) unsafe fn byte_plane(source: &ByteSource<'_>, extreme: bool, out: &mut [u8]) {
    // SAFETY: the contract is that of this function.
    unsafe {
        match (source.kernel, source.stride[1]) {
            _ if extreme => any(source, out),
            ([3, 3], 1) => blocks::<3, 1>(source, out),
            ([3, 3], 2) => blocks::<3, 2>(source, out),
            ([5, 5], 1) => blocks::<5, 1>(source, out),
            ([5, 5], 2) => blocks::<5, 2>(source, out),
            ([7, 7], 1) => blocks::<7, 1>(source, out),
            ([7, 7], 2) => blocks::<7, 2>(source, out),
            _ => any(source, out),
        }
    }
}

/// # Safety
/// As for [`byte_plane`]; the kernel has the side `SIDE`, columns the stride `STEP`, and of two
/// weights one at most is -128.
#[inline(always)]
unsafe fn blocks<const SIDE: usize, const STEP: usize>(source: &ByteSource<'_>, out: &mut [u8]) {
    // SAFETY: the contract is that of this function.
    unsafe {
        if source.end.columns == BLOCK {
            with_form!(source.end.fits_words, source.end.range, F => square::<SIDE, STEP, true, F>(source, out));
        } else {
            square::<SIDE, STEP, false, Clipped>(source, out);
        }
    }
}

/// # Safety
/// As for [`blocks`]; if `FULL`, all channels of the block exist; values and range have the form `F`.
#[inline(always)]
unsafe fn square<const SIDE: usize, const STEP: usize, const FULL: bool, F: Form>(
    source: &ByteSource<'_>,
    out: &mut [u8],
) {
    let [height, width] = source.output;
    let mut out = out.as_mut_ptr();
    let mut row = source.factors.as_ptr();
    // SAFETY: the contract is that of this function; no column is beyond the last. `byte_plane` holds
    // the scales and biases to a block.
    unsafe {
        let ending = (load4(source.end.bias.as_ptr()), Ending::load(&source.end));
        for _ in 0..height {
            let mut from = row;
            for _ in 0..width / 2 {
                columns::<SIDE, STEP, 2, FULL, F>(source, &ending, from, out);
                from = from.wrapping_add(2 * STEP * BLOCK);
                out = out.wrapping_add(source.end.step.wrapping_mul(2));
            }
            if width % 2 == 1 {
                columns::<SIDE, STEP, 1, FULL, F>(source, &ending, from, out);
                out = out.wrapping_add(source.end.step);
            }
            row = row.wrapping_add(source.row.wrapping_mul(source.stride[0]));
        }
    }
}

/// # Safety
/// As for [`square`]; `COUNT` outputs, at most two, exist from that on to which `factors` and `out`
/// belong.
#[inline(always)]
unsafe fn columns<
    const SIDE: usize,
    const STEP: usize,
    const COUNT: usize,
    const FULL: bool,
    F: Form,
>(
    source: &ByteSource<'_>,
    (bias, ending): &([int32x4_t; 4], Ending),
    factors: *const i8,
    out: *mut u8,
) {
    // SAFETY: `byte_plane` holds rows, weights and output to their lengths.
    unsafe {
        let mut sums = [*bias; COUNT];
        let mut weights = source.weights.as_ptr();
        let mut row = factors;
        // Columns of two rows at a time, then the last row.
        for _ in 0..SIDE / 2 {
            for column in 0..SIDE {
                let near = vld1q_s8(weights.add(column * BLOCK));
                let far = vld1q_s8(weights.add((SIDE + column) * BLOCK));
                for (index, sums) in sums.iter_mut().enumerate() {
                    let from = row.add((column + index * STEP) * BLOCK);
                    let two = [vld1q_s8(from), vld1q_s8(from.add(source.row))];
                    *sums = add_two(*sums, two, near, far);
                }
            }
            weights = weights.wrapping_add(2 * SIDE * BLOCK);
            row = row.wrapping_add(source.row.wrapping_mul(2));
        }
        for column in (0..SIDE - 1).step_by(2) {
            let near = vld1q_s8(weights.add(column * BLOCK));
            let far = vld1q_s8(weights.add((column + 1) * BLOCK));
            for (index, sums) in sums.iter_mut().enumerate() {
                let from = row.add((column + index * STEP) * BLOCK);
                let two = [vld1q_s8(from), vld1q_s8(from.add(BLOCK))];
                *sums = add_two(*sums, two, near, far);
            }
        }
        let last = vld1q_s8(weights.add((SIDE - 1) * BLOCK));
        for (index, sums) in sums.iter_mut().enumerate() {
            let from = row.add((SIDE - 1 + index * STEP) * BLOCK);
            *sums = add_one(*sums, vld1q_s8(from), last);
        }
        // Written out, because in a loop the sums would have to lie in memory.
        if let Some(sums) = sums.first() {
            ending.store::<FULL, F>(*sums, out);
        }
        if let Some(sums) = sums.get(1) {
            ending.store::<FULL, F>(*sums, out.wrapping_add(source.end.step));
        }
    }
}

/// Any window and any weights, weight after weight.
///
/// # Safety
/// As for [`byte_plane`].
unsafe fn any(source: &ByteSource<'_>, out: &mut [u8]) {
    let [height, width] = source.output;
    let mut out = out.as_mut_ptr();
    // SAFETY: `byte_plane` holds rows, weights and output to their lengths.
    unsafe {
        let (bias, ending) = (load4(source.end.bias.as_ptr()), Ending::load(&source.end));
        for y in 0..height {
            for x in 0..width {
                let mut sums = bias;
                let mut weights = source.weights.as_ptr();
                for ky in 0..source.kernel[0] {
                    let row = y.wrapping_mul(source.stride[0]).wrapping_add(ky);
                    let column = x.wrapping_mul(source.stride[1]).wrapping_mul(BLOCK);
                    let at = row.wrapping_mul(source.row).wrapping_add(column);
                    let mut from = source.factors.as_ptr().add(at);
                    for _ in 0..source.kernel[1] {
                        sums = add_one(sums, vld1q_s8(from), vld1q_s8(weights));
                        weights = weights.wrapping_add(BLOCK);
                        from = from.wrapping_add(BLOCK);
                    }
                }
                ending.store::<false, Clipped>(sums, out);
                out = out.wrapping_add(source.end.step);
            }
        }
    }
}

/// Adds the products of two factors of each channel: they fit 16 bits unless both weights are -128.
/// As one piece, because the compiler would start on more of these than there are registers for.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn add_two(
    [mut a, mut b, mut c, mut d]: [int32x4_t; 4],
    factors: [int8x16_t; 2],
    near: int8x16_t,
    far: int8x16_t,
) -> [int32x4_t; 4] {
    // SAFETY: registers alone are touched.
    unsafe {
        asm!(
            "smull {p:v}.8h, {f0:v}.8b, {near:v}.8b",
            "smull2 {q:v}.8h, {f0:v}.16b, {near:v}.16b",
            "smlal {p:v}.8h, {f1:v}.8b, {far:v}.8b",
            "smlal2 {q:v}.8h, {f1:v}.16b, {far:v}.16b",
            "saddw {a:v}.4s, {a:v}.4s, {p:v}.4h",
            "saddw2 {b:v}.4s, {b:v}.4s, {p:v}.8h",
            "saddw {c:v}.4s, {c:v}.4s, {q:v}.4h",
            "saddw2 {d:v}.4s, {d:v}.4s, {q:v}.8h",
            p = out(vreg) _, q = out(vreg) _,
            a = inout(vreg) a, b = inout(vreg) b, c = inout(vreg) c, d = inout(vreg) d,
            f0 = in(vreg) factors[0], f1 = in(vreg) factors[1],
            near = in(vreg) near, far = in(vreg) far,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [a, b, c, d]
}

/// Adds the product of one factor of each channel.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn add_one(
    [a, b, c, d]: [int32x4_t; 4],
    factors: int8x16_t,
    weights: int8x16_t,
) -> [int32x4_t; 4] {
    // SAFETY: every CPU that this runs on has NEON.
    unsafe {
        let low = vmull_s8(vget_low_s8(factors), vget_low_s8(weights));
        let high = vmull_high_s8(factors, weights);
        [
            vaddw_s16(a, vget_low_s16(low)),
            vaddw_high_s16(b, low),
            vaddw_s16(c, vget_low_s16(high)),
            vaddw_high_s16(d, high),
        ]
    }
}
