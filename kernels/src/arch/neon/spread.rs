//! Rows for depthwise convolutions with the dot product: of each channel four neighbours side by side.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::{PairSource, WIDE};

/// Factors in a column of a spread row.
pub(super) const COLUMN: usize = 4 * WIDE;
/// Channels in a register of bytes.
const SIXTEEN: usize = 16;

/// # Safety
/// Lengths are as `super::super::check_spread` holds them.
pub(in crate::arch) unsafe fn spread(
    source: &PairSource<'_>,
    zero: i8,
    left: usize,
    quads: &mut [i8],
) {
    if source.columns == 0 {
        quads.fill(zero);
        return;
    }
    let part = |first: usize, channels: usize| {
        move |from: *const u8| {
            let mut all = [0; SIXTEEN];
            for (index, byte) in all[..channels].iter_mut().enumerate() {
                // SAFETY: so many channels exist.
                *byte = unsafe { *from.add(first.wrapping_add(index)) };
            }
            // SAFETY: there are sixteen.
            unsafe { vld1q_u8(all.as_ptr()) }
        }
    };
    // SAFETY: the contract is that of this function; so many channels are read as exist.
    unsafe {
        let sixteen = |from: *const u8| vld1q_u8(from);
        match source.channels {
            WIDE => {
                let both = |from: *const u8| [sixteen(from), sixteen(from.add(SIXTEEN))];
                spread_row(source, both, zero, left, quads);
            }
            SIXTEEN => spread_row(source, |from| [sixteen(from)], zero, left, quads),
            channels if channels > SIXTEEN => {
                let rest = part(SIXTEEN, channels.wrapping_sub(SIXTEEN));
                spread_row(
                    source,
                    |from| [sixteen(from), rest(from)],
                    zero,
                    left,
                    quads,
                );
            }
            channels => {
                let some = part(0, channels);
                spread_row(source, |from| [some(from)], zero, left, quads);
            }
        }
    }
}

/// Of sixteen channels two columns, side by side.
type Two = [int16x8_t; 2];

/// # Safety
/// As for [`spread`]; `load` gives `PARTS` times sixteen channels of a pixel.
#[inline(always)]
unsafe fn spread_row<const PARTS: usize>(
    source: &PairSource<'_>,
    load: impl Fn(*const u8) -> [uint8x16_t; PARTS],
    zero: i8,
    left: usize,
    quads: &mut [i8],
) {
    let count = quads.len() / COLUMN;
    let end = left.wrapping_add(source.columns);
    // Where the third and the fourth column both are pixels.
    let inside_end = (end.saturating_sub(2) / 2).min(count);
    let inside = (left.saturating_sub(2).div_ceil(2)).min(inside_end)..inside_end;
    let bytes = source.bytes.as_ptr();
    // SAFETY: pixels are read where there are some; of each column all factors are written.
    unsafe {
        let flip = vdupq_n_u8(0x80);
        let none = [vdupq_n_u8(zero.cast_unsigned() ^ 0x80); PARTS];
        let pixel = |column: usize| match column.checked_sub(left) {
            Some(index) if index < source.columns => {
                load(bytes.wrapping_add(index.wrapping_mul(source.step)))
            }
            _ => none,
        };
        let after = |index: usize| {
            let column = index.wrapping_mul(2).wrapping_add(2);
            paired(pixel(column), pixel(column.wrapping_add(1)), flip)
        };
        let mut these = paired(pixel(0), pixel(1), flip);
        let mut to = quads.as_mut_ptr();
        for index in 0..inside.start {
            let next = after(index);
            put_fours(&these, &next, to);
            these = next;
            to = to.wrapping_add(COLUMN);
        }
        let index = inside.start.wrapping_mul(2).wrapping_add(2);
        let index = index.wrapping_sub(left);
        let mut from = bytes.wrapping_add(index.wrapping_mul(source.step));
        let step = source.step;
        let two = step.wrapping_mul(2);
        // Two at a time, so that what is next becomes these without being moved.
        for _ in 0..inside.len() / 2 {
            let next = paired(load(from), load(from.wrapping_add(step)), flip);
            put_fours(&these, &next, to);
            from = from.wrapping_add(two);
            these = paired(load(from), load(from.wrapping_add(step)), flip);
            put_fours(&next, &these, to.wrapping_add(COLUMN));
            from = from.wrapping_add(two);
            to = to.wrapping_add(2 * COLUMN);
        }
        if inside.len() % 2 == 1 {
            let next = paired(load(from), load(from.wrapping_add(step)), flip);
            put_fours(&these, &next, to);
            these = next;
            to = to.wrapping_add(COLUMN);
        }
        for index in inside_end..count {
            let next = after(index);
            put_fours(&these, &next, to);
            these = next;
            to = to.wrapping_add(COLUMN);
        }
    }
}

/// The factors of the bytes of two pixels.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn paired<const PARTS: usize>(
    a: [uint8x16_t; PARTS],
    b: [uint8x16_t; PARTS],
    flip: uint8x16_t,
) -> [Two; PARTS] {
    // SAFETY: the contract.
    unsafe {
        let mut both = [[vreinterpretq_s16_u8(flip); 2]; PARTS];
        for (part, both) in both.iter_mut().enumerate() {
            let (a, b) = (a[part], b[part]);
            both[0] = vreinterpretq_s16_u8(veorq_u8(vzip1q_u8(a, b), flip));
            both[1] = vreinterpretq_s16_u8(veorq_u8(vzip2q_u8(a, b), flip));
        }
        both
    }
}

/// Writes a column.
///
/// # Safety
/// It is there.
#[inline(always)]
unsafe fn put_fours<const PARTS: usize>(these: &[Two; PARTS], next: &[Two; PARTS], to: *mut i8) {
    for (part, these) in these.iter().enumerate() {
        // SAFETY: the contract.
        unsafe { put_sixteen(these, &next[part], to.wrapping_add(4 * SIXTEEN * part)) };
    }
}

/// Writes of each of sixteen channels four factors side by side. As one piece: the compiler would
/// move registers about for `st2`.
///
/// # Safety
/// `to` is good for 64 factors.
#[inline(always)]
unsafe fn put_sixteen(these: &Two, next: &Two, to: *mut i8) {
    // SAFETY: the contract.
    unsafe {
        asm!(
            "zip1 {a:v}.8h, {these:v}.8h, {next:v}.8h",
            "zip2 {b:v}.8h, {these:v}.8h, {next:v}.8h",
            "stp {a:q}, {b:q}, [{to}]",
            "zip1 {a:v}.8h, {these_too:v}.8h, {next_too:v}.8h",
            "zip2 {b:v}.8h, {these_too:v}.8h, {next_too:v}.8h",
            "stp {a:q}, {b:q}, [{to}, #32]",
            a = out(vreg) _, b = out(vreg) _, to = in(reg) to,
            these = in(vreg) these[0], these_too = in(vreg) these[1],
            next = in(vreg) next[0], next_too = in(vreg) next[1],
            options(nostack, preserves_flags)
        );
    }
}
