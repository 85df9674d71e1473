//! NEON: 6 rows of 16 sums stay in 24 of the 32 registers.

use std::arch::aarch64::*;

use super::float::{Vector, kernels, tiles};

/// 16 values in four registers.
#[derive(Clone, Copy)]
pub(super) struct Quads([float32x4_t; 4]);

impl Vector for Quads {
    const ROWS: usize = 6;
    const PANELS: usize = 1;
    const WIDE: usize = 2;
    const COLUMNS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Quads {
        // SAFETY: the trait's contract.
        Quads([unsafe { vdupq_n_f32(value) }; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Quads {
        // SAFETY: as above.
        Quads([0, 4, 8, 12].map(|at| unsafe { vld1q_f32(from.wrapping_add(at)) }))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        for (quad, at) in self.0.into_iter().zip([0, 4, 8, 12]) {
            // SAFETY: as above.
            unsafe { vst1q_f32(to.wrapping_add(at), quad) }
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Quads, sum: Quads) -> Quads {
        let ([a, b, c, d], [e, f, g, h], [i, j, k, l]) = (self.0, factor.0, sum.0);
        // SAFETY: as above.
        Quads(unsafe {
            [
                vfmaq_f32(i, a, e),
                vfmaq_f32(j, b, f),
                vfmaq_f32(k, c, g),
                vfmaq_f32(l, d, h),
            ]
        })
    }

    #[inline(always)]
    unsafe fn add(self, other: Quads) -> Quads {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        // SAFETY: as above.
        Quads(unsafe {
            [
                vaddq_f32(a, e),
                vaddq_f32(b, f),
                vaddq_f32(c, g),
                vaddq_f32(d, h),
            ]
        })
    }

    #[inline(always)]
    unsafe fn limit(self, min: Quads, max: Quads) -> Quads {
        let ([a, b, c, d], [min, ..], [max, ..]) = (self.0, min.0, max.0);
        // SAFETY: as above.
        Quads(unsafe {
            [
                vminq_f32(max, vmaxq_f32(min, a)),
                vminq_f32(max, vmaxq_f32(min, b)),
                vminq_f32(max, vmaxq_f32(min, c)),
                vminq_f32(max, vmaxq_f32(min, d)),
            ]
        })
    }
}

/// The first 8 of 16 values.
#[derive(Clone, Copy)]
pub(super) struct Half([float32x4_t; 2]);

impl Vector for Half {
    const ROWS: usize = 6;
    const PANELS: usize = 1;
    const WIDE: usize = 1;
    const COLUMNS: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Half {
        // SAFETY: the trait's contract.
        Half([unsafe { vdupq_n_f32(value) }; 2])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Half {
        // SAFETY: as above.
        Half([0, 4].map(|at| unsafe { vld1q_f32(from.wrapping_add(at)) }))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        for (quad, at) in self.0.into_iter().zip([0, 4]) {
            // SAFETY: as above.
            unsafe { vst1q_f32(to.wrapping_add(at), quad) }
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Half, sum: Half) -> Half {
        let ([a, b], [c, d], [e, f]) = (self.0, factor.0, sum.0);
        // SAFETY: as above.
        Half(unsafe { [vfmaq_f32(e, a, c), vfmaq_f32(f, b, d)] })
    }

    #[inline(always)]
    unsafe fn add(self, other: Half) -> Half {
        let ([a, b], [c, d]) = (self.0, other.0);
        // SAFETY: as above.
        Half(unsafe { [vaddq_f32(a, c), vaddq_f32(b, d)] })
    }

    #[inline(always)]
    unsafe fn limit(self, min: Half, max: Half) -> Half {
        let ([a, b], [min, _], [max, _]) = (self.0, min.0, max.0);
        // SAFETY: as above.
        Half(unsafe {
            [
                vminq_f32(max, vmaxq_f32(min, a)),
                vminq_f32(max, vmaxq_f32(min, b)),
            ]
        })
    }
}

tiles!(half_tile, Half, target_feature(enable = "neon"));
kernels!(Quads, target_feature(enable = "neon"));
