//! AVX2 with FMA: 6 rows of 16 sums stay in 12 of the 16 registers.

use std::arch::x86_64::*;

use super::float::{Instructions, Two, Vector, Work};

pub(super) struct Avx2;

impl Instructions for Avx2 {
    type Whole = Two<__m256>;
    type Half = __m256;
    const ROWS: usize = 6;
    const PANELS: usize = 1;
    const WIDE: usize = 4;
    const COLUMNS: usize = 4;

    #[inline(always)]
    fn prefetch(from: *const f32) {
        // SAFETY: the instruction reads nothing that could be missed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run(work: impl Work, out: &mut [f32]) {
        // SAFETY: the trait's contract.
        unsafe { work.on::<Avx2>(out) }
    }
}

impl Vector for __m256 {
    const LEN: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: __m256, sum: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(self, factor, sum) }
    }

    #[inline(always)]
    unsafe fn add(self, other: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_add_ps(self, other) }
    }

    /// The second operand is the result where one is no number.
    #[inline(always)]
    unsafe fn limit(self, min: __m256, max: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_min_ps(max, _mm256_max_ps(min, self)) }
    }
}
