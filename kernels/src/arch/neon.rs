//! NEON, with and without the dot product of bytes and products of matrices of bytes.

mod depthwise;
mod matrix;
mod products;
mod quads;
mod spread;
mod values;

use std::arch::aarch64::*;
use std::arch::asm;

use super::{End, PANEL, Panel, Rows};
use crate::Range;
pub(super) use depthwise::{byte_plane, byte_row};
use matrix::Matrix;
pub(super) use matrix::{in_order, matrix_alone};
use products::{Dot, Mull, tiles};
pub(super) use products::{dot_alone, mull_alone};
pub(super) use quads::quad_line;
pub(super) use spread::spread;
pub(super) use values::{add, interleave, product};

/// # Safety
/// The CPU has NEON, and lengths are as `super::check` holds them.
pub(super) unsafe fn multiply(rows: &Rows<'_, i8>, panel: &Panel<'_, i8>, out: &mut [u8]) {
    let out = out.as_mut_ptr();
    // SAFETY: the contract is that of this function.
    unsafe {
        if panel.extreme {
            tiles::<Mull<true>>(rows, panel, out);
        } else {
            tiles::<Mull<false>>(rows, panel, out);
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
/// The CPU has NEON with products of matrices, lengths are as `super::check` holds them, and the
/// weights are as [`in_order`] puts them.
pub(super) unsafe fn multiply_matrix(rows: &Rows<'_, i8>, panel: &Panel<'_, i8>, out: &mut [u8]) {
    // SAFETY: the contract is that of this function.
    unsafe { tiles::<Matrix>(rows, panel, out.as_mut_ptr()) };
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

/// Sixteen values in registers of their own, where the compiler would copy others that it has loaded
/// before: half as many instructions.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn load4_anew(from: *const i32) -> [int32x4_t; 4] {
    let (a, b, c, d);
    // SAFETY: the contract.
    unsafe {
        asm!(
            "ldp {a:q}, {b:q}, [{from}]",
            "ldp {c:q}, {d:q}, [{from}, #32]",
            a = out(vreg) a, b = out(vreg) b, c = out(vreg) c, d = out(vreg) d, from = in(reg) from,
            options(readonly, nostack, preserves_flags)
        );
    }
    [a, b, c, d]
}

/// A [`Range`] in registers.
#[derive(Clone, Copy)]
struct Limits {
    zero_point: int16x8_t,
    min: uint8x16_t,
    max: uint8x16_t,
    /// In a number of this size the last bit is 1, so that adding it rounds.
    ones: float32x4_t,
}

impl Limits {
    #[inline(always)]
    fn of(range: Range) -> Limits {
        // SAFETY: every CPU that this runs on has NEON.
        unsafe {
            Limits {
                zero_point: vdupq_n_s16(range.zero_point.into()),
                min: vdupq_n_u8(range.min),
                max: vdupq_n_u8(range.max),
                ones: vdupq_n_f32(12_582_912.0),
            }
        }
    }
}

/// What there is to do with values besides rounding them and saturating to bytes.
trait Form {
    /// Whether they may be beyond 16 bits.
    const LARGE: bool;
    /// Whether a zero point is added.
    const SHIFTS: bool;
    /// Whether there are limits.
    const CLIPS: bool;
}

/// Values of 16 bits, all bytes, 0 for zero: what a ReLU gives.
struct Plain;

/// Values of 16 bits, all bytes.
struct Shifted;

/// Any values and any range.
struct Clipped;

impl Form for Plain {
    const LARGE: bool = false;
    const SHIFTS: bool = false;
    const CLIPS: bool = false;
}

impl Form for Shifted {
    const LARGE: bool = false;
    const SHIFTS: bool = true;
    const CLIPS: bool = false;
}

impl Form for Clipped {
    const LARGE: bool = true;
    const SHIFTS: bool = true;
    const CLIPS: bool = true;
}

/// Calls what is generic over a [`Form`] with that of values and a range.
macro_rules! with_form {
    ($fits_words:expr, $range:expr, $form:ident => $call:expr) => {
        match $range {
            $crate::Range {
                zero_point: 0,
                min: 0,
                max: 255,
            } if $fits_words => {
                type $form = super::Plain;
                $call
            }
            $crate::Range {
                min: 0, max: 255, ..
            } if $fits_words => {
                type $form = super::Shifted;
                $call
            }
            _ => {
                type $form = super::Clipped;
                $call
            }
        }
    };
}
use with_form;

/// What becomes of the sums of sixteen channels, in registers: loaded once for many of them, because a
/// store might, for all that the compiler knows, change it in memory.
#[derive(Clone, Copy)]
struct Ending {
    scale: [float32x4_t; 4],
    limits: Limits,
    /// How many of the channels exist.
    columns: usize,
}

impl Ending {
    /// # Safety
    /// There are sixteen scales.
    #[inline(always)]
    unsafe fn load(end: &End<'_>) -> Ending {
        let scale = end.scale.as_ptr();
        Ending {
            // SAFETY: the contract.
            scale: std::array::from_fn(|index| unsafe { vld1q_f32(scale.add(4 * index)) }),
            limits: Limits::of(end.range),
            columns: end.columns,
        }
    }

    /// Sums times scales, rounded half to even, plus the zero point, saturated to the range.
    #[inline(always)]
    unsafe fn bytes<F: Form>(&self, sums: [int32x4_t; 4]) -> uint8x16_t {
        // SAFETY: every CPU that this runs on has NEON.
        unsafe {
            let value = |index: usize| vmulq_f32(vcvtq_f32_s32(sums[index]), self.scale[index]);
            saturated::<F>([value(0), value(1), value(2), value(3)], self.limits)
        }
    }

    /// Stores the bytes that become of the sums.
    ///
    /// # Safety
    /// `out` is good for as many bytes as there are columns, which are sixteen if `FULL`.
    #[inline(always)]
    unsafe fn store<const FULL: bool, F: Form>(&self, sums: [int32x4_t; 4], out: *mut u8) {
        // SAFETY: the contract; every CPU that this runs on has NEON.
        unsafe {
            let bytes = self.bytes::<F>(sums);
            if FULL {
                vst1q_u8(out, bytes);
            } else {
                store(bytes, out, self.columns);
            }
        }
    }
}

/// Values rounded half to even, plus the zero point, saturated to the range; they have the form `F`.
#[inline(always)]
unsafe fn saturated<F: Form>(values: [float32x4_t; 4], limits: Limits) -> uint8x16_t {
    // SAFETY: every CPU that this runs on has NEON.
    unsafe {
        let words = |low, high| {
            let words = if F::LARGE {
                vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(low)), vcvtnq_s32_f32(high))
            } else {
                let bits = |four| vreinterpretq_s16_f32(vaddq_f32(four, limits.ones));
                vuzp1q_s16(bits(low), bits(high))
            };
            if F::SHIFTS {
                vqaddq_s16(words, limits.zero_point)
            } else {
                words
            }
        };
        let low = words(values[0], values[1]);
        let high = words(values[2], values[3]);
        let bytes = vqmovun_high_s16(vqmovun_s16(low), high);
        if F::CLIPS {
            vminq_u8(vmaxq_u8(bytes, limits.min), limits.max)
        } else {
            bytes
        }
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
        let (mut out, mut rest) = (out, bytes);
        if count & 8 != 0 {
            vst1_u8(out, vget_low_u8(rest));
            rest = vextq_u8::<8>(rest, rest);
            out = out.wrapping_add(8);
        }
        if count & 4 != 0 {
            vst1q_lane_u32::<0>(out.cast(), vreinterpretq_u32_u8(rest));
            rest = vextq_u8::<4>(rest, rest);
            out = out.wrapping_add(4);
        }
        if count & 2 != 0 {
            vst1q_lane_u16::<0>(out.cast(), vreinterpretq_u16_u8(rest));
            rest = vextq_u8::<2>(rest, rest);
            out = out.wrapping_add(2);
        }
        if count & 1 != 0 {
            vst1q_lane_u8::<0>(out, rest);
        }
    }
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
        let (inputs, rest) = input.as_chunks::<64>();
        let (outputs, rest_out) = output.as_chunks_mut::<64>();
        for (input, output) in inputs.iter().zip(outputs) {
            for (input, output) in input
                .as_chunks::<16>()
                .0
                .iter()
                .zip(output.as_chunks_mut::<16>().0)
            {
                let mut index = vld1q_u8(input.as_ptr());
                let mut found = vqtbl4q_u8(quarters[0], index);
                for quarter in &quarters[1..] {
                    index = vsubq_u8(index, vdupq_n_u8(64));
                    found = vqtbx4q_u8(found, *quarter, index);
                }
                vst1q_u8(output.as_mut_ptr(), found);
            }
        }
        super::portable::look_up(table, rest, rest_out);
    }
}
