//! Layers that take each value by itself, and the pixels of images.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::{Product, Sum, portable};
use super::{Form, Limits, saturated, with_form};
use crate::Range;
use crate::sliding::fits_words;

/// # Safety
/// The CPU has NEON, and the lengths are the same.
pub(in crate::arch) unsafe fn add(sum: &Sum, a: &[u8], b: &[u8], out: &mut [u8]) {
    // SAFETY: every CPU that this runs on has NEON.
    unsafe {
        let [ra, rb] = sum.ratios.map(|ratio| vdupq_n_f32(ratio));
        let fits_words = fits_words(255.0 * (sum.ratios[0].abs() + sum.ratios[1].abs()));
        let done = with_form!(fits_words, sum.range, F => {
            let value = |a, b| {
                let (a, b) = (floats(a, ra), floats(b, rb));
                let sum = |at: usize| number::<F>(vaddq_f32(a[at], b[at]));
                [sum(0), sum(1), sum(2), sum(3)]
            };
            rounded::<F>([a, b], sum.zero_points, sum.range, out, value)
        });
        portable::add(sum, &a[done..], &b[done..], &mut out[done..]);
    }
}

/// # Safety
/// As for [`add`].
pub(in crate::arch) unsafe fn product(product: &Product, a: &[u8], b: &[u8], out: &mut [u8]) {
    // SAFETY: every CPU that this runs on has NEON.
    unsafe {
        let ratio = vdupq_n_f32(product.ratio);
        let value = |a: [int16x8_t; 2], b: [int16x8_t; 2]| {
            let low = |at: usize| vmull_s16(vget_low_s16(a[at]), vget_low_s16(b[at]));
            let high = |at: usize| vmull_high_s16(a[at], b[at]);
            let value = |sum| vmulq_f32(vcvtq_f32_s32(sum), ratio);
            [value(low(0)), value(high(0)), value(low(1)), value(high(1))]
        };
        let fits_words = fits_words(255.0 * 255.0 * product.ratio.abs());
        let done = with_form!(fits_words, product.range, F => {
            rounded::<F>([a, b], product.zero_points, product.range, out, value)
        });
        portable::product(product, &a[done..], &b[done..], &mut out[done..]);
    }
}

/// What becomes of every two bytes less their zero points, 16 at a time; gives how many it took. `F`
/// is the form of values and range.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
unsafe fn rounded<F: Form>(
    [a, b]: [&[u8]; 2],
    zero_points: [u8; 2],
    range: Range,
    out: &mut [u8],
    value: impl Fn([int16x8_t; 2], [int16x8_t; 2]) -> [float32x4_t; 4],
) -> usize {
    let (chunks, _) = out.as_chunks_mut::<16>();
    // SAFETY: the contract; 16 bytes are read and written for each chunk.
    unsafe {
        let limits = Limits::of(range);
        let [za, zb] = zero_points.map(|zero_point| repeated(zero_point));
        for (index, out) in chunks.iter_mut().enumerate() {
            let at = index.wrapping_mul(16);
            let a = words(vld1q_u8(a.as_ptr().add(at)), za);
            let b = words(vld1q_u8(b.as_ptr().add(at)), zb);
            vst1q_u8(out.as_mut_ptr(), saturated::<F>(value(a, b), limits));
        }
    }
    out.len() / 16 * 16
}

/// What is not a number becomes a small one, as in [`Range::round`].
#[inline(always)]
unsafe fn number<F: Form>(values: float32x4_t) -> float32x4_t {
    if F::LARGE {
        // SAFETY: every CPU that this runs on has NEON.
        unsafe { vmaxnmq_f32(values, vdupq_n_f32(-1024.0)) }
    } else {
        values
    }
}

/// A byte sixteen times. The compiler shall not know that both halves are the same: it would move
/// halves of others about to compute with one of them.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn repeated(byte: u8) -> uint8x16_t {
    let repeated;
    // SAFETY: registers alone are touched.
    unsafe {
        asm!(
            "dup {0:v}.16b, {1:w}",
            out(vreg) repeated, in(reg) u32::from(byte),
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    repeated
}

/// Bytes less the zero point.
#[inline(always)]
unsafe fn words(bytes: uint8x16_t, zero_point: uint8x16_t) -> [int16x8_t; 2] {
    // SAFETY: every CPU that this runs on has NEON.
    unsafe {
        let low = vsubl_u8(vget_low_u8(bytes), vget_low_u8(zero_point));
        let high = vsubl_high_u8(bytes, zero_point);
        [low, high].map(|words| vreinterpretq_s16_u16(words))
    }
}

/// Words times the ratio.
#[inline(always)]
unsafe fn floats([low, high]: [int16x8_t; 2], ratio: float32x4_t) -> [float32x4_t; 4] {
    // SAFETY: as for `words`.
    unsafe {
        [
            vmovl_s16(vget_low_s16(low)),
            vmovl_high_s16(low),
            vmovl_s16(vget_low_s16(high)),
            vmovl_high_s16(high),
        ]
        .map(|four| vmulq_f32(vcvtq_f32_s32(four), ratio))
    }
}

/// # Safety
/// The CPU has NEON.
pub(in crate::arch) unsafe fn interleave(planes: &[[u8; 64]; 3], pixels: &mut [u8; 192]) {
    let [a, b, c] = planes.each_ref().map(|plane| plane.as_chunks::<16>().0);
    for (index, pixels) in pixels.as_chunks_mut::<48>().0.iter_mut().enumerate() {
        // SAFETY: 16 bytes are read from 16, and 48 written to 48.
        unsafe {
            let [a, b, c] = [a, b, c].map(|plane| vld1q_u8(plane[index].as_ptr()));
            vst3q_u8(pixels.as_mut_ptr(), uint8x16x3_t(a, b, c));
        }
    }
}
