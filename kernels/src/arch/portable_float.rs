//! Plain Rust, for CPUs without a kernel of their own.

use super::float::{LANES, Vector, kernels};

/// 16 values.
#[derive(Clone, Copy)]
pub(super) struct Array([f32; LANES]);

impl Vector for Array {
    const ROWS: usize = 2;
    const PANELS: usize = 1;
    const WIDE: usize = 1;
    const COLUMNS: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Array {
        Array([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Array {
        // SAFETY: the trait's contract.
        Array(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn multiply_add(mut self, factor: Array, sum: Array) -> Array {
        for ((value, factor), sum) in self.0.iter_mut().zip(factor.0).zip(sum.0) {
            *value = *value * factor + sum;
        }
        self
    }

    #[inline(always)]
    unsafe fn add(mut self, other: Array) -> Array {
        for (value, other) in self.0.iter_mut().zip(other.0) {
            *value += other;
        }
        self
    }

    #[inline(always)]
    unsafe fn limit(mut self, min: Array, max: Array) -> Array {
        for ((value, min), max) in self.0.iter_mut().zip(min.0).zip(max.0) {
            if *value < min {
                *value = min;
            }
            if *value > max {
                *value = max;
            }
        }
        self
    }
}

kernels!(Array);
