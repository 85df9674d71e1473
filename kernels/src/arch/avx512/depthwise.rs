//! Depthwise convolutions.

use std::arch::x86_64::*;

use super::super::{End, PairSource, QuadLine, WIDE};
use super::requantized;

/// For 16 channels from `first` on: of each the bytes of four pixels, two of which lie in one
/// register and two in another.
const fn fours(first: u8) -> [u8; 64] {
    let mut order = [0; 64];
    let mut at = 0;
    while at < 64 {
        let (channel, pixel) = (first + at as u8 / 4, at as u8 % 4);
        order[at] = pixel / 2 * 64 + pixel % 2 * 32 + channel;
        at += 1;
    }
    order
}

/// # Safety
/// The CPU has what this module is for, and lengths are as `super::super::spread` checks them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(in super::super) unsafe fn spread(
    source: &PairSource<'_>,
    zero_point: u8,
    left: usize,
    quads: &mut [u8],
) {
    const ORDERS: [[u8; 64]; 2] = [fours(0), fours(16)];
    let blank = _mm256_set1_epi8(zero_point.cast_signed());
    let exist = u32::MAX >> (WIDE - source.channels);
    let pixel = |column: usize| match column.checked_sub(left) {
        Some(index) if index < source.columns => {
            let from = source
                .bytes
                .as_ptr()
                .wrapping_add(index.wrapping_mul(source.step));
            // SAFETY: so many channels of the pixel exist.
            unsafe { _mm256_maskz_loadu_epi8(exist, from.cast()) }
        }
        _ => blank,
    };
    let two = |column: usize| {
        let first = _mm512_castsi256_si512(pixel(column));
        _mm512_inserti64x4::<1>(first, pixel(column.wrapping_add(1)))
    };
    // SAFETY: 64 bytes are read from 64, and written to as many.
    unsafe {
        let orders = ORDERS.map(|order| _mm512_loadu_si512(order.as_ptr().cast()));
        let mut these = two(0);
        for (index, quads) in quads
            .as_chunks_mut::<{ 4 * WIDE }>()
            .0
            .iter_mut()
            .enumerate()
        {
            let next = two(index.wrapping_mul(2).wrapping_add(2));
            for (order, quads) in orders.iter().zip(quads.as_chunks_mut::<64>().0) {
                let bytes = _mm512_permutex2var_epi8(these, *order, next);
                _mm512_storeu_si512(quads.as_mut_ptr().cast(), bytes);
            }
            these = next;
        }
    }
}

/// # Safety
/// The CPU has what this module is for, and lengths are as `super::super::quad_line` checks them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(in super::super) unsafe fn quad_line(
    line: &QuadLine<'_, u8>,
    end: &End<'_>,
    columns: usize,
    out: &mut [u8],
) {
    // SAFETY: the contract is that of this function.
    unsafe {
        if line.step == 1 {
            lines::<1>(line, end, columns, out.as_mut_ptr());
        } else {
            lines::<2>(line, end, columns, out.as_mut_ptr());
        }
    }
}

/// # Safety
/// As for [`quad_line`], of which `out` is; `STEP` is that of the line.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn lines<const STEP: usize>(
    line: &QuadLine<'_, u8>,
    end: &End<'_>,
    columns: usize,
    mut out: *mut u8,
) {
    let mut quads = line.quads.as_ptr();
    // SAFETY: the contract is that of this function; no column is beyond the last.
    unsafe {
        for _ in 0..columns / 8 {
            outputs::<STEP, 8>(line, end, quads, out);
            quads = quads.wrapping_add(STEP * 4 * 4 * WIDE);
            out = out.wrapping_add(end.step.wrapping_mul(8));
        }
        match columns % 8 {
            1 => outputs::<STEP, 1>(line, end, quads, out),
            2 => outputs::<STEP, 2>(line, end, quads, out),
            3 => outputs::<STEP, 3>(line, end, quads, out),
            4 => outputs::<STEP, 4>(line, end, quads, out),
            5 => outputs::<STEP, 5>(line, end, quads, out),
            6 => outputs::<STEP, 6>(line, end, quads, out),
            7 => outputs::<STEP, 7>(line, end, quads, out),
            _ => {}
        }
    }
}

/// # Safety
/// As for [`lines`]; `COLUMNS` outputs exist from that on to which `quads` and `out` belong, which
/// is in an even column.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn outputs<const STEP: usize, const COLUMNS: usize>(
    line: &QuadLine<'_, u8>,
    end: &End<'_>,
    quads: *const u8,
    out: *mut u8,
) {
    // SAFETY: `super::super::quad_line` holds rows, weights and output to their lengths.
    let sum = |sums: &mut [[__m512i; 2]; COLUMNS]| unsafe {
        let mut weights = line.weights.as_ptr();
        for row in line.rows {
            let mut quads = quads.add(*row);
            for _ in 0..line.fours {
                let mut places = [[_mm512_setzero_si512(); 2]; 2];
                for place in places.iter_mut().take(3 - STEP) {
                    for four in place {
                        *four = _mm512_loadu_si512(weights.cast());
                        weights = weights.wrapping_add(64);
                    }
                }
                for (column, sums) in sums.iter_mut().enumerate() {
                    let (index, place) = (column * STEP / 2, column * STEP % 2);
                    for (half, sum) in sums.iter_mut().enumerate() {
                        let at = quads.add(index * 4 * WIDE + half * 64);
                        let bytes = _mm512_loadu_si512(at.cast());
                        *sum = _mm512_dpbusd_epi32(*sum, bytes, places[place][half]);
                    }
                }
                quads = quads.wrapping_add(2 * 4 * WIDE);
            }
        }
    };
    // SAFETY: the contract is that of this function.
    unsafe { requantized(end, out, sum) };
}
