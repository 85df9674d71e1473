//! AVX-512: 14 rows of 32 sums stay in 28 of the 32 registers.

use std::arch::x86_64::*;

use super::float::{Vector, kernels, tiles};

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

    #[inline(always)]
    fn prefetch(from: *const f32) {
        // SAFETY: the instruction reads nothing that could be missed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
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

/// The first 8 of 16 values: the CPU computes two such registers in the time of a whole one.
#[derive(Clone, Copy)]
pub(super) struct Half(__m256);

impl Vector for Half {
    const ROWS: usize = 14;
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
        Zmm::prefetch(from);
    }

    /// The second operand is the result where one is no number.
    #[inline(always)]
    unsafe fn limit(self, min: Half, max: Half) -> Half {
        // SAFETY: as above.
        Half(unsafe { _mm256_min_ps(max.0, _mm256_max_ps(min.0, self.0)) })
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Half {
        // SAFETY: as above; what the mask leaves out is not read.
        Half(unsafe { _mm256_maskz_loadu_ps(first(count) as __mmask8, from) })
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: as above; what the mask leaves out is not written.
        unsafe { _mm256_mask_storeu_ps(to, first(count) as __mmask8, self.0) }
    }
}

tiles!(
    half_tile,
    Half,
    target_feature(enable = "avx512f,avx512vl,avx512bw,fma")
);
kernels!(Zmm, target_feature(enable = "avx512f,avx512vl,avx512bw"));
