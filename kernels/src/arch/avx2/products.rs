//! Matrix products.

use std::arch::x86_64::*;

use super::super::{End, PANEL, Panel, Rows, Step, Steps};
use super::{scaled, store};
use crate::Range;

/// A panel's weights in one of their forms.
trait Weights<T> {
    /// Adds the products with some rows' factors.
    ///
    /// # Safety
    /// The CPU has AVX2; rows, weights and sums are as long as each other.
    unsafe fn sum<const ROWS: usize, const VECTORS: usize>(
        &self,
        rows: [*const T; ROWS],
        sums: &mut [[__m256i; VECTORS]; ROWS],
    );
}

/// # Safety
/// The CPU has AVX2, and lengths are as `super::super::multiply_words` checks them.
#[target_feature(enable = "avx2")]
pub(in super::super) unsafe fn multiply(
    rows: &Rows<'_, i16>,
    panel: &Panel<'_, i16>,
    out: &mut [u8],
) {
    // SAFETY: the contract is that of this function.
    unsafe { panel_of::<_, _, 6>(&(rows, panel), rows, &panel.end, out) }
}

/// # Safety
/// The CPU has AVX2, and lengths are as `super::super::multiply_pairs` checks them.
#[target_feature(enable = "avx2")]
pub(in super::super) unsafe fn multiply_pairs(
    rows: &Rows<'_, u8>,
    steps: &Steps<'_>,
    end: &End<'_>,
    out: &mut [u8],
) {
    // SAFETY: the contract is that of this function.
    unsafe { panel_of::<_, _, 4>(steps, rows, end, out) }
}

/// All rows, up to `MOST` at a time.
///
/// # Safety
/// As for [`multiply`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn panel_of<T, W: Weights<T>, const MOST: usize>(
    weights: &W,
    rows: &Rows<'_, T>,
    end: &End<'_>,
    out: &mut [u8],
) {
    // SAFETY: the contract is that of this function.
    unsafe {
        if end.columns > 8 {
            tiles::<T, W, MOST, 2>(weights, rows, end, out.as_mut_ptr());
        } else {
            tiles::<T, W, MOST, 1>(weights, rows, end, out.as_mut_ptr());
        }
    }
}

/// # Safety
/// As for [`multiply`]; the columns fit in `VECTORS` of 8.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tiles<T, W: Weights<T>, const MOST: usize, const VECTORS: usize>(
    weights: &W,
    rows: &Rows<'_, T>,
    end: &End<'_>,
    mut out: *mut u8,
) {
    let (whole, rest) = rows.starts.as_chunks::<MOST>();
    // SAFETY: the contract is that of this function; `out` stays within the output's rows.
    unsafe {
        for starts in whole {
            tile::<T, W, MOST, VECTORS>(weights, rows, starts, end, out);
            out = out.wrapping_add(end.step.wrapping_mul(MOST));
        }
        macro_rules! rest {
            ($($rows:literal)*) => {
                match rest.len() {
                    $($rows if $rows < MOST => {
                        if let Some(starts) = rest.first_chunk() {
                            tile::<T, W, $rows, VECTORS>(weights, rows, starts, end, out);
                        }
                    })*
                    _ => {}
                }
            };
        }
        rest!(1 2 3 4 5);
    }
}

/// `ROWS` rows; their sums stay in registers.
///
/// # Safety
/// As for [`tiles`]; `starts` are some of the rows', and `out` belongs to the first of them.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<T, W: Weights<T>, const ROWS: usize, const VECTORS: usize>(
    weights: &W,
    rows: &Rows<'_, T>,
    starts: &[usize; ROWS],
    end: &End<'_>,
    out: *mut u8,
) {
    // SAFETY: rows and weights are held to the length of the factors.
    let sum = |sums: &mut [[__m256i; VECTORS]; ROWS]| unsafe {
        weights.sum(starts.map(|start| rows.factors.as_ptr().add(start)), sums);
    };
    // SAFETY: the contract is that of this function.
    unsafe { requantized(end, out, sum) };
}

/// Lets `sum` add to the biases, and stores the bytes that become of that. One function, so that
/// sums stay in registers from the beginning to the end.
///
/// # Safety
/// The CPU has AVX2; `out` belongs to the first row, and lengths are as `End::check` holds them.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn requantized<const ROWS: usize, const VECTORS: usize>(
    end: &End<'_>,
    out: *mut u8,
    sum: impl FnOnce(&mut [[__m256i; VECTORS]; ROWS]),
) {
    // SAFETY: the contract.
    unsafe {
        let bias = end.bias.as_ptr().cast::<__m256i>();
        let mut acc = [[_mm256_setzero_si256(); VECTORS]; ROWS];
        for row in &mut acc {
            for (index, sum) in row.iter_mut().enumerate() {
                *sum = _mm256_loadu_si256(bias.add(index));
            }
        }
        sum(&mut acc);
        let scale = end.scale.as_ptr();
        let scales = [_mm256_loadu_ps(scale), _mm256_loadu_ps(scale.add(8))];
        let zero_point = _mm256_set1_epi16(end.range.zero_point.into());
        let mut words = [_mm256_setzero_si256(); ROWS];
        for (words, sums) in words.iter_mut().zip(&acc) {
            let low = scaled(sums[0], scales[0]);
            let high = if VECTORS == 2 {
                scaled(sums[1], scales[1])
            } else {
                low
            };
            *words = _mm256_adds_epi16(_mm256_packs_epi32(low, high), zero_point);
        }
        // In fours of bytes: of two rows the columns 0, 8, 0, 8 | 4, 12, 4, 12.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let mut all = [_mm_setzero_si128(); ROWS];
        let mut row = 0;
        while row < ROWS {
            let next = if row + 1 < ROWS { row + 1 } else { row };
            let both = _mm256_packus_epi16(words[row], words[next]);
            let both = limited(_mm256_permutevar8x32_epi32(both, order), end.range);
            all[next] = _mm256_extracti128_si256::<1>(both);
            all[row] = _mm256_castsi256_si128(both);
            row = next + 1;
        }
        let mut to = out;
        if end.columns == PANEL {
            for bytes in all {
                _mm_storeu_si128(to.cast(), bytes);
                to = to.wrapping_add(end.step);
            }
        } else {
            for bytes in all {
                store(bytes, to, end.columns);
                to = to.wrapping_add(end.step);
            }
        }
    }
}

impl Weights<u8> for Steps<'_> {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn sum<const ROWS: usize, const VECTORS: usize>(
        &self,
        rows: [*const u8; ROWS],
        sums: &mut [[__m256i; VECTORS]; ROWS],
    ) {
        for step in self.iter() {
            // SAFETY: the contract is that of this function.
            unsafe { add_step(sums, &rows, step) };
        }
    }
}

/// Adds the products of two groups of each row with the weights of each column.
///
/// # Safety
/// The CPU has AVX2; four bytes lie at both offsets in each row.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_step<const ROWS: usize, const VECTORS: usize>(
    acc: &mut [[__m256i; VECTORS]; ROWS],
    rows: &[*const u8; ROWS],
    step: &Step,
) {
    let ones = _mm256_set1_epi16(1);
    // SAFETY: the contract; a group has a vector of weights for every eight columns.
    unsafe {
        let mut columns = [[_mm256_setzero_si256(); 2]; VECTORS];
        for (index, column) in columns.iter_mut().enumerate() {
            for (weights, group) in column.iter_mut().zip(&step.weights) {
                let vectors = group.as_ptr().cast::<__m256i>();
                *weights = _mm256_loadu_si256(vectors.add(index));
            }
        }
        for (row, sums) in rows.iter().zip(acc) {
            let [first, second] = step.offsets.map(|offset| {
                let four = row.add(offset as usize).cast::<i32>().read_unaligned();
                _mm256_set1_epi32(four)
            });
            for (sum, [one, two]) in sums.iter_mut().zip(columns) {
                let pairs = _mm256_add_epi16(
                    _mm256_maddubs_epi16(first, one),
                    _mm256_maddubs_epi16(second, two),
                );
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
    }
}

impl Weights<i16> for (&Rows<'_, i16>, &Panel<'_, i16>) {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn sum<const ROWS: usize, const VECTORS: usize>(
        &self,
        mut words: [*const i16; ROWS],
        sums: &mut [[__m256i; VECTORS]; ROWS],
    ) {
        let (rows, panel) = self;
        let mut weights = panel.weights.as_ptr().cast::<__m256i>();
        // SAFETY: the contract is that of this function.
        unsafe {
            for _ in 0..rows.segments {
                let mut at = 0_usize;
                for _ in 0..rows.groups {
                    products(sums, &words, at, weights);
                    weights = weights.add(2);
                    at = at.wrapping_add(2);
                }
                for row in &mut words {
                    *row = row.wrapping_add(rows.segment_step);
                }
            }
        }
    }
}

/// Adds the products of two words of each row with a panel's two weights of each column.
///
/// # Safety
/// The CPU has AVX2; two words lie at `at` in each row, and a vector of weights for each column.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn products<const ROWS: usize, const VECTORS: usize>(
    acc: &mut [[__m256i; VECTORS]; ROWS],
    rows: &[*const i16; ROWS],
    at: usize,
    weights: *const __m256i,
) {
    // SAFETY: the contract.
    unsafe {
        let mut columns = [_mm256_setzero_si256(); VECTORS];
        for (index, column) in columns.iter_mut().enumerate() {
            *column = _mm256_loadu_si256(weights.add(index));
        }
        for (row, sums) in rows.iter().zip(acc) {
            let two = row.add(at).cast::<i32>().read_unaligned();
            let two = _mm256_set1_epi32(two);
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(two, column));
            }
        }
    }
}

/// The values between a range's limits.
#[inline]
#[target_feature(enable = "avx2")]
fn limited(bytes: __m256i, range: Range) -> __m256i {
    let bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(range.min.cast_signed()));
    _mm256_min_epu8(bytes, _mm256_set1_epi8(range.max.cast_signed()))
}
