//! AVX-512: 14 rows of 32 sums stay in 28 of the 32 registers.

use std::arch::x86_64::*;

use super::float::{Instructions, Vector, Work};

pub(super) struct Avx512;

impl Instructions for Avx512 {
    type Whole = __m512;
    type Half = Half;
    const ROWS: usize = 14;
    const PANELS: usize = 2;
    const WIDE: usize = 4;
    const COLUMNS: usize = 8;

    #[inline(always)]
    fn prefetch(from: *const f32) {
        // SAFETY: the instruction reads nothing that could be missed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn run(work: impl Work, out: &mut [f32]) {
        // SAFETY: the trait's contract.
        unsafe { work.on::<Avx512>(out) }
    }
}

impl Vector for __m512 {
    const LEN: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: __m512, sum: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(self, factor, sum) }
    }

    #[inline(always)]
    unsafe fn add(self, other: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(self, other) }
    }

    /// The second operand is the result where one is no number.
    #[inline(always)]
    unsafe fn limit(self, min: __m512, max: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_min_ps(max, _mm512_max_ps(min, self)) }
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> __m512 {
        // SAFETY: as above; what the mask leaves out is not read.
        unsafe { _mm512_maskz_loadu_ps(first(count), from) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: as above; what the mask leaves out is not written.
        unsafe { _mm512_mask_storeu_ps(to, first(count), self) }
    }
}

#[inline(always)]
fn first(count: usize) -> __mmask16 {
    (1_u32.wrapping_shl(count as u32)).wrapping_sub(1) as __mmask16
}

/// A vector of AVX2 with masks: the CPU computes two in the time of a whole one.
#[derive(Clone, Copy)]
pub(super) struct Half(__m256);

impl Vector for Half {
    const LEN: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Half {
        // SAFETY: the trait's contract.
        Half(unsafe { Vector::splat(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Half {
        // SAFETY: as above.
        Half(unsafe { Vector::load(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { self.0.store(to) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Half, sum: Half) -> Half {
        // SAFETY: as above.
        Half(unsafe { self.0.multiply_add(factor.0, sum.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Half) -> Half {
        // SAFETY: as above.
        Half(unsafe { self.0.add(other.0) })
    }

    #[inline(always)]
    unsafe fn limit(self, min: Half, max: Half) -> Half {
        // SAFETY: as above.
        Half(unsafe { self.0.limit(min.0, max.0) })
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
