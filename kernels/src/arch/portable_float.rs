//! Plain Rust, for CPUs without a kernel of their own.

use super::float::{Instructions, LANES, Vector, Work};

pub(super) struct Portable;

impl Instructions for Portable {
    type Whole = [f32; LANES];
    type Half = [f32; LANES];
    const ROWS: usize = 2;
    const PANELS: usize = 1;
    const WIDE: usize = 1;
    const COLUMNS: usize = 1;

    #[inline(never)]
    unsafe fn run(work: impl Work, out: &mut [f32]) {
        // SAFETY: the trait's contract.
        unsafe { work.on::<Portable>(out) }
    }
}

impl Vector for [f32; LANES] {
    const LEN: usize = LANES;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the trait's contract.
        unsafe { from.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn multiply_add(mut self, factor: Self, sum: Self) -> Self {
        for ((value, factor), sum) in self.iter_mut().zip(factor).zip(sum) {
            *value = *value * factor + sum;
        }
        self
    }

    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for (value, other) in self.iter_mut().zip(other) {
            *value += other;
        }
        self
    }

    #[inline(always)]
    unsafe fn limit(mut self, min: Self, max: Self) -> Self {
        for ((value, min), max) in self.iter_mut().zip(min).zip(max) {
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
