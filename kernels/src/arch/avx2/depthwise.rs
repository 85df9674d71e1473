//! Depthwise convolutions.

use std::arch::x86_64::*;

use super::super::{BLOCK, Line, LineEnd, PairSource};
use super::{scaled, store};
use crate::Range;

/// # Safety
/// The CPU has AVX2, and lengths are as `super::super::pair` checks them.
#[target_feature(enable = "avx2")]
pub(in super::super) unsafe fn pair(
    source: &PairSource<'_>,
    zero_point: u8,
    left: usize,
    words: &mut [i16],
) {
    let channels = source.channels;
    // SAFETY: as many bytes are read as the block has channels; the rest is that of this function.
    unsafe {
        match channels {
            BLOCK => pairs(source, zero_point, left, words, |from| {
                _mm_loadu_si128(from.cast())
            }),
            8 => pairs(source, zero_point, left, words, |from| {
                _mm_loadl_epi64(from.cast())
            }),
            _ => pairs(source, zero_point, left, words, |from| {
                let mut all = [0_u8; BLOCK];
                all.as_mut_ptr().copy_from_nonoverlapping(from, channels);
                _mm_loadu_si128(all.as_ptr().cast())
            }),
        }
    }
}

/// [`pair`] with a way to load the channels of a pixel.
///
/// # Safety
/// As for [`pair`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pairs(
    source: &PairSource<'_>,
    zero_point: u8,
    left: usize,
    words: &mut [i16],
    load: impl Fn(*const u8) -> __m128i,
) {
    let zero_point = _mm256_set1_epi16(zero_point.into());
    let zero = _mm256_setzero_si256();
    let (columns, _) = words.as_chunks_mut::<{ 2 * BLOCK }>();
    let put = |column: &mut [i16; 2 * BLOCK], this: __m256i, next: __m256i| {
        let column = column.as_mut_ptr().cast::<__m256i>();
        // SAFETY: a column is two vectors.
        unsafe {
            _mm256_storeu_si256(column, _mm256_unpacklo_epi16(this, next));
            _mm256_storeu_si256(column.add(1), _mm256_unpackhi_epi16(this, next));
        }
    };
    // The column before the first pixel has it as its next one.
    let (before, columns) = columns.split_at_mut(left);
    let (inside, after) = columns.split_at_mut(source.columns);
    before.as_flattened_mut().fill(0);
    after.as_flattened_mut().fill(0);
    let mut from = source.bytes.as_ptr();
    let mut this = zero;
    let mut waiting = before.last_mut();
    for column in inside {
        let next = _mm256_sub_epi16(_mm256_cvtepu8_epi16(load(from)), zero_point);
        from = from.wrapping_add(source.step);
        if let Some(waiting) = waiting.replace(column) {
            put(waiting, this, next);
        }
        this = next;
    }
    if let Some(waiting) = waiting {
        put(waiting, this, zero);
    }
}

/// # Safety
/// The CPU has AVX2, and lengths are as `super::super::line` checks them.
#[target_feature(enable = "avx2")]
pub(in super::super) unsafe fn line(
    line: &Line<'_>,
    end: &LineEnd<'_>,
    columns: usize,
    out: &mut [u8],
) {
    let step = line.step.wrapping_mul(2 * BLOCK);
    let mut words = line.words.as_ptr();
    let mut out = out.as_mut_ptr();
    // SAFETY: the contract is that of this function; no column is beyond the last.
    unsafe {
        for _ in 0..columns / 4 {
            outputs::<4>(line, end, words, out);
            words = words.wrapping_add(step.wrapping_mul(4));
            out = out.wrapping_add(end.step.wrapping_mul(4));
        }
        match columns % 4 {
            1 => outputs::<1>(line, end, words, out),
            2 => outputs::<2>(line, end, words, out),
            3 => outputs::<3>(line, end, words, out),
            _ => {}
        }
    }
}

/// # Safety
/// As for [`line`]; `COLUMNS` outputs exist from that on to which `words` and `out` belong.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn outputs<const COLUMNS: usize>(
    line: &Line<'_>,
    end: &LineEnd<'_>,
    words: *const i16,
    out: *mut u8,
) {
    // SAFETY: `super::super::line` holds rows, weights and output to their lengths.
    unsafe {
        let bias = end.bias.as_ptr().cast::<__m256i>();
        let mut acc = [[_mm256_loadu_si256(bias), _mm256_loadu_si256(bias.add(1))]; COLUMNS];
        let mut weights = end.weights.as_ptr().cast::<__m256i>();
        let step = line.step.wrapping_mul(2);
        for row in line.rows {
            let mut words = words.add(*row).cast::<__m256i>();
            for _ in 0..line.pairs {
                let [low, high] = [
                    _mm256_loadu_si256(weights),
                    _mm256_loadu_si256(weights.add(1)),
                ];
                weights = weights.add(2);
                let mut column = words;
                for sums in &mut acc {
                    let products = _mm256_madd_epi16(_mm256_loadu_si256(column), low);
                    sums[0] = _mm256_add_epi32(sums[0], products);
                    let products = _mm256_madd_epi16(_mm256_loadu_si256(column.add(1)), high);
                    sums[1] = _mm256_add_epi32(sums[1], products);
                    column = column.wrapping_add(step);
                }
                words = words.wrapping_add(4);
            }
        }
        let scale = end.scale.as_ptr();
        let scales = [_mm256_loadu_ps(scale), _mm256_loadu_ps(scale.add(8))];
        let mut to = out;
        for sums in &acc {
            let words = _mm256_packs_epi32(scaled(sums[0], scales[0]), scaled(sums[1], scales[1]));
            store(bytes(words, end.range), to, end.channels);
            to = to.wrapping_add(end.step);
        }
    }
}

/// Adds the zero point and saturates to the range.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes(words: __m256i, range: Range) -> __m128i {
    let words = _mm256_adds_epi16(words, _mm256_set1_epi16(range.zero_point.into()));
    let low = _mm256_castsi256_si128(words);
    let high = _mm256_extracti128_si256::<1>(words);
    let bytes = _mm_packus_epi16(low, high);
    let bytes = _mm_max_epu8(bytes, _mm_set1_epi8(range.min.cast_signed()));
    _mm_min_epu8(bytes, _mm_set1_epi8(range.max.cast_signed()))
}
