//! AVX2 with FMA: 6 rows of 16 sums stay in 12 of the 16 registers.

use std::arch::x86_64::*;

use super::float::{Vector, kernels, tiles};

/// 16 values in two registers.
#[derive(Clone, Copy)]
pub(super) struct Ymm([__m256; 2]);

impl Vector for Ymm {
    const ROWS: usize = 6;
    const PANELS: usize = 1;
    const WIDE: usize = 4;
    const COLUMNS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Ymm {
        // SAFETY: the trait's contract.
        Ymm([unsafe { _mm256_set1_ps(value) }; 2])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Ymm {
        // SAFETY: as above.
        Ymm(unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.wrapping_add(8))] })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        let [a, b] = self.0;
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_ps(to, a);
            _mm256_storeu_ps(to.wrapping_add(8), b);
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Ymm, sum: Ymm) -> Ymm {
        let ([a, b], [c, d], [e, f]) = (self.0, factor.0, sum.0);
        // SAFETY: as above.
        Ymm(unsafe { [_mm256_fmadd_ps(a, c, e), _mm256_fmadd_ps(b, d, f)] })
    }

    #[inline(always)]
    unsafe fn add(self, other: Ymm) -> Ymm {
        let ([a, b], [c, d]) = (self.0, other.0);
        // SAFETY: as above.
        Ymm(unsafe { [_mm256_add_ps(a, c), _mm256_add_ps(b, d)] })
    }

    #[inline(always)]
    fn prefetch(from: *const f32) {
        // SAFETY: the instruction reads nothing that could be missed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    /// The second operand is the result where one is no number.
    #[inline(always)]
    unsafe fn limit(self, min: Ymm, max: Ymm) -> Ymm {
        let ([a, b], [c, d], [e, f]) = (self.0, min.0, max.0);
        // SAFETY: as above.
        Ymm(unsafe {
            [
                _mm256_min_ps(e, _mm256_max_ps(c, a)),
                _mm256_min_ps(f, _mm256_max_ps(d, b)),
            ]
        })
    }
}

/// The first 8 of 16 values.
#[derive(Clone, Copy)]
pub(super) struct Half(__m256);

impl Vector for Half {
    const ROWS: usize = 6;
    const PANELS: usize = 1;
    const WIDE: usize = 1;
    const COLUMNS: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Half {
        // SAFETY: the trait's contract.
        Half(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Half {
        // SAFETY: as above.
        Half(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Half, sum: Half) -> Half {
        // SAFETY: as above.
        Half(unsafe { _mm256_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Half) -> Half {
        // SAFETY: as above.
        Half(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn prefetch(from: *const f32) {
        Ymm::prefetch(from);
    }

    /// The second operand is the result where one is no number.
    #[inline(always)]
    unsafe fn limit(self, min: Half, max: Half) -> Half {
        // SAFETY: as above.
        Half(unsafe { _mm256_min_ps(max.0, _mm256_max_ps(min.0, self.0)) })
    }
}

tiles!(half_tile, Half, target_feature(enable = "avx2,fma"));
kernels!(Ymm, target_feature(enable = "avx2,fma"));
