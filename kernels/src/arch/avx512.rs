//! AVX-512 with VNNI and VBMI: `vpdpbusd` multiplies 64 unsigned bytes with signed ones and adds
//! them in fours to 32-bit sums, exactly.

mod depthwise;
mod products;
mod values;

use std::arch::x86_64::*;

use super::{End, PANEL};
use crate::Range;
pub(super) use depthwise::{quad_line, spread};
pub(super) use products::multiply;
pub(super) use values::{add, interleave, look_up, product};

/// Lets `sum` add to the biases, and stores the bytes that become of that. One function, so that
/// sums stay in registers from the beginning to the end.
///
/// # Safety
/// The CPU has what this module is for; `end` has the biases and scales of `PANELS`, and from `out`
/// on lie `ROWS` rows of its columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn requantized<const PANELS: usize, const ROWS: usize>(
    end: &End<'_>,
    mut out: *mut u8,
    sum: impl FnOnce(&mut [[__m512i; PANELS]; ROWS]),
) {
    let mut biases = [_mm512_setzero_si512(); PANELS];
    for (index, bias) in biases.iter_mut().enumerate() {
        // SAFETY: the contract.
        *bias = unsafe { _mm512_loadu_si512(end.bias.as_ptr().add(PANEL * index).cast()) };
    }
    let mut sums = [biases; ROWS];
    sum(&mut sums);
    let mut scales = [_mm512_setzero_ps(); PANELS];
    for (index, scale) in scales.iter_mut().enumerate() {
        // SAFETY: the contract.
        *scale = unsafe { _mm512_loadu_ps(end.scale.as_ptr().add(PANEL * index)) };
    }
    // Scales are so small that no value leaves 32 bits.
    let scaled = |row: usize, panel: usize| {
        _mm512_cvtps_epi32(_mm512_mul_ps(
            _mm512_cvtepi32_ps(sums[row][panel]),
            scales[panel],
        ))
    };
    let columns = u64::MAX >> (64 - end.columns);
    // Four vectors of sums become one of bytes: those of one row, of two or of four.
    let together = if PANELS > 2 { 1 } else { 4 / PANELS };
    for first in (0..ROWS).step_by(together) {
        let mut four = [_mm512_setzero_si512(); 4];
        for (index, values) in four.iter_mut().take(together * PANELS).enumerate() {
            if first + index / PANELS < ROWS {
                *values = scaled(first + index / PANELS, index % PANELS);
            }
        }
        let mut bytes = packed(four, end.range);
        for _ in first..ROWS.min(first + together) {
            // SAFETY: rows and columns exist.
            unsafe {
                match PANELS {
                    1 => {
                        let part = _mm512_castsi512_si128(bytes);
                        _mm_mask_storeu_epi8(out.cast(), columns as u16, part);
                        bytes = _mm512_shuffle_i64x2::<0b11_10_01>(bytes, bytes);
                    }
                    2 => {
                        let part = _mm512_castsi512_si256(bytes);
                        _mm256_mask_storeu_epi8(out.cast(), columns as u32, part);
                        bytes = _mm512_shuffle_i64x2::<0b11_10>(bytes, bytes);
                    }
                    _ => _mm512_mask_storeu_epi8(out.cast(), columns, bytes),
                }
            }
            out = out.wrapping_add(end.step);
        }
    }
}

/// The bytes of four times 16 rounded values, one after the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
fn packed(values: [__m512i; 4], range: Range) -> __m512i {
    let zero_point = _mm512_set1_epi16(range.zero_point.into());
    let words = |a, b| _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero_point);
    let bytes = _mm512_packus_epi16(words(values[0], values[1]), words(values[2], values[3]));
    // Packing has mixed them in fours.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let bytes = _mm512_permutexvar_epi32(order, bytes);
    if (range.min, range.max) == (0, 255) {
        // Packing has saturated them.
        return bytes;
    }
    let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(range.min.cast_signed()));
    _mm512_min_epu8(bytes, _mm512_set1_epi8(range.max.cast_signed()))
}

/// # Safety
/// The CPU has what this module is for.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn products_alone(rounds: usize) -> usize {
    const SUMS: usize = 24;
    let [a, b] = std::hint::black_box([_mm512_set1_epi8(5), _mm512_set1_epi8(-3)]);
    let mut sums = [a; SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, b);
        }
    }
    std::hint::black_box(sums);
    rounds * SUMS * 64
}
