//! AVX-512: 14 rows of 32 sums stay in 28 of the 32 registers.

use std::arch::x86_64::*;

use super::float::{Vector, kernels};

/// 16 values in one register.
#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512);

impl Vector for Zmm {
    const ROWS: usize = 14;
    const PANELS: usize = 2;
    const WIDE: usize = 4;
    const COLUMNS: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Zmm {
        // SAFETY: the trait's contract.
        Zmm(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Zmm {
        // SAFETY: as above.
        Zmm(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Zmm, sum: Zmm) -> Zmm {
        // SAFETY: as above.
        Zmm(unsafe { _mm512_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Zmm) -> Zmm {
        // SAFETY: as above.
        Zmm(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    /// The second operand is the result where one is no number.
    #[inline(always)]
    unsafe fn limit(self, min: Zmm, max: Zmm) -> Zmm {
        // SAFETY: as above.
        Zmm(unsafe { _mm512_min_ps(max.0, _mm512_max_ps(min.0, self.0)) })
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Zmm {
        // SAFETY: as above; what the mask leaves out is not read.
        Zmm(unsafe { _mm512_maskz_loadu_ps(first(count), from) })
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: as above; what the mask leaves out is not written.
        unsafe { _mm512_mask_storeu_ps(to, first(count), self.0) }
    }
}

#[inline(always)]
fn first(count: usize) -> __mmask16 {
    (1_u32.wrapping_shl(count as u32)).wrapping_sub(1) as __mmask16
}

kernels!(Zmm, target_feature(enable = "avx512f,avx512vl,avx512bw"));
