//! NEON: 6 rows of 16 sums stay in 24 of the 32 registers.

use std::arch::aarch64::*;

use super::float::{Instructions, Two, Vector, Work};

pub(super) struct Neon;

impl Instructions for Neon {
    type Whole = Two<Two<float32x4_t>>;
    type Half = Two<float32x4_t>;
    const ROWS: usize = 6;
    const PANELS: usize = 1;
    const WIDE: usize = 2;
    const COLUMNS: usize = 4;

    #[inline(never)]
    #[target_feature(enable = "neon")]
    unsafe fn run(work: impl Work, out: &mut [f32]) {
        // SAFETY: the trait's contract.
        unsafe { work.on::<Neon>(out) }
    }
}

impl Vector for float32x4_t {
    const LEN: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> float32x4_t {
        // SAFETY: the trait's contract.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { vst1q_f32(to, self) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: float32x4_t, sum: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vfmaq_f32(sum, self, factor) }
    }

    #[inline(always)]
    unsafe fn add(self, other: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vaddq_f32(self, other) }
    }

    #[inline(always)]
    unsafe fn limit(self, min: float32x4_t, max: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vminq_f32(max, vmaxq_f32(min, self)) }
    }
}
