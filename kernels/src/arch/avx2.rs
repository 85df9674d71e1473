//! AVX2: `vpmaddwd` multiplies 16 words and adds neighbours, exactly. `vpmaddubsw` does so with 32
//! bytes, but in 16 bits: for weights that fit, in steps of two before the sums are widened, which
//! is a third fewer multiplications than with words.

mod depthwise;
mod products;

use std::arch::x86_64::*;

use super::{BLOCK, PANEL};
pub(super) use depthwise::{line, pair};
pub(super) use products::{multiply, multiply_pairs};

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn widen(bytes: &[u8], zero_point: u8, words: &mut [i16]) {
    let zero_point = i16::from(zero_point);
    for (word, byte) in words.iter_mut().zip(bytes) {
        *word = (i16::from(*byte)).wrapping_sub(zero_point);
    }
}

/// Sums times scales, as integers rounded half to even.
#[inline]
#[target_feature(enable = "avx2")]
fn scaled(sums: __m256i, scale: __m256) -> __m256i {
    // Beyond 16 bit everything saturates alike; beyond 32 the conversion would not.
    let limit = _mm256_set1_ps(65536.0);
    let value = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale);
    _mm256_cvtps_epi32(_mm256_min_ps(value, limit))
}

/// Stores the first `count` bytes, 1 to 16 of them.
///
/// # Safety
/// The CPU has AVX2, and `out` is good for `count` bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(bytes: __m128i, out: *mut u8, count: usize) {
    // SAFETY: no more than `count` bytes are written.
    unsafe {
        match count {
            16 => _mm_storeu_si128(out.cast(), bytes),
            8 => _mm_storel_epi64(out.cast(), bytes),
            _ => {
                let mut all = [0_u8; 16];
                _mm_storeu_si128(all.as_mut_ptr().cast(), bytes);
                out.copy_from_nonoverlapping(all.as_ptr(), count);
            }
        }
    }
}

/// A shuffle looks up 16 entries, and gives 0 where the index has its highest bit set. So each 16th
/// of the table gets the bytes that belong to it, and all others with that bit.
///
/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn look_up(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    let mut parts = [_mm256_setzero_si256(); 16];
    for (part, bytes) in parts.iter_mut().zip(table.as_chunks::<16>().0) {
        // SAFETY: 16 bytes are read from 16.
        *part = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
    }
    let (inputs, rest) = input.as_chunks::<32>();
    let (outputs, rest_out) = output.as_chunks_mut::<32>();
    for (input, output) in inputs.iter().zip(outputs) {
        // SAFETY: 32 bytes are read from 32.
        let bytes = unsafe { _mm256_loadu_si256(input.as_ptr().cast()) };
        let mut found = _mm256_setzero_si256();
        for (index, part) in parts.iter().enumerate() {
            let index = _mm256_set1_epi8((index as u8 * 16).cast_signed());
            let near = _mm256_adds_epu8(_mm256_xor_si256(bytes, index), _mm256_set1_epi8(0x70));
            found = _mm256_or_si256(found, _mm256_shuffle_epi8(*part, near));
        }
        // SAFETY: 32 bytes are written to 32.
        unsafe { _mm256_storeu_si256(output.as_mut_ptr().cast(), found) };
    }
    super::portable::look_up(table, rest, rest_out);
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn products_alone(rounds: usize) -> usize {
    const SUMS: usize = 12;
    let [first, second] = std::hint::black_box([_mm256_set1_epi8(5), _mm256_set1_epi8(-3)]);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [first; SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            // A product of the sum itself cannot be taken out of the loop.
            let pairs = _mm256_add_epi16(
                _mm256_maddubs_epi16(*sum, first),
                _mm256_maddubs_epi16(*sum, second),
            );
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    std::hint::black_box(sums);
    rounds * SUMS * 64
}

const _: () = assert!(PANEL == 16 && BLOCK == 16);
