//! AVX2 with FMA: 6 rows of 16 sums stay in 12 of the 16 registers.

use std::arch::x86_64::*;

use super::float::{Vector, kernels};

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

kernels!(Ymm, target_feature(enable = "avx2,fma"));
