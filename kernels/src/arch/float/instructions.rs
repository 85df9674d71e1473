//! What each set of instructions has: its vectors, and functions compiled for it.

use super::Lanes;
use crate::Isa;
#[cfg(target_arch = "aarch64")]
use crate::arch::neon_float::Neon;
use crate::arch::portable_float::Portable;
#[cfg(target_arch = "x86_64")]
use crate::arch::{avx2_float::Avx2, avx512_float::Avx512};
use crate::isa::Kind;

/// Some values in registers.
///
/// # Safety
/// All functions ask for the CPU's instructions, and for memory as far as they say.
pub(in crate::arch) trait Vector: Copy {
    /// How many, at most [`super::LANES`].
    const LEN: usize;

    unsafe fn splat(value: f32) -> Self;
    /// From as many values.
    unsafe fn load(from: *const f32) -> Self;
    /// To as many values.
    unsafe fn store(self, to: *mut f32);
    /// `self * factor + sum`.
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// What is less than `min` or more than `max` becomes that; what is no number stays.
    unsafe fn limit(self, min: Self, max: Self) -> Self;

    /// From `count` values, and zeros.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mut lanes = Lanes::ZERO;
        // SAFETY: the contract.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.0.as_mut_ptr(), count);
            Self::load(lanes.0.as_ptr())
        }
    }

    /// To `count` values.
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        let mut lanes = Lanes::ZERO;
        // SAFETY: the contract.
        unsafe {
            self.store(lanes.0.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.0.as_ptr(), to, count);
        }
    }
}

/// A vector of twice as many values.
#[derive(Clone, Copy)]
pub(in crate::arch) struct Two<V>(V, V);

impl<V: Vector> Vector for Two<V> {
    const LEN: usize = 2 * V::LEN;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Two<V> {
        // SAFETY: the trait's contract.
        unsafe { Two(V::splat(value), V::splat(value)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Two<V> {
        // SAFETY: as above.
        unsafe { Two(V::load(from), V::load(from.wrapping_add(V::LEN))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe {
            self.0.store(to);
            self.1.store(to.wrapping_add(V::LEN));
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Two<V>, sum: Two<V>) -> Two<V> {
        // SAFETY: as above.
        unsafe {
            Two(
                self.0.multiply_add(factor.0, sum.0),
                self.1.multiply_add(factor.1, sum.1),
            )
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Two<V>) -> Two<V> {
        // SAFETY: as above.
        unsafe { Two(self.0.add(other.0), self.1.add(other.1)) }
    }

    #[inline(always)]
    unsafe fn limit(self, min: Two<V>, max: Two<V>) -> Two<V> {
        // SAFETY: as above.
        unsafe { Two(self.0.limit(min.0, max.0), self.1.limit(min.1, max.1)) }
    }
}

/// A set of instructions.
pub(in crate::arch) trait Instructions {
    /// [`super::LANES`] values.
    type Whole: Vector;
    /// Half as many, where that is less work.
    type Half: Vector;
    /// The most rows of a tile, and its panels of [`super::LANES`] channels: so many sums fit in registers.
    const ROWS: usize;
    const PANELS: usize;
    /// Panels of a tile of one row.
    const WIDE: usize;
    /// Neighbouring outputs of a depthwise convolution.
    const COLUMNS: usize;

    /// Says that what lies there will be needed; it need not be memory of ours.
    #[inline(always)]
    fn prefetch(_: *const f32) {}

    /// A function of its own, compiled for the instructions, that does the work.
    ///
    /// # Safety
    /// The CPU has the instructions, and the work has what it asks for.
    unsafe fn run(work: impl Work, out: &mut [f32]);
}

/// What is compiled for each set of instructions. Its output is apart, so that the compiler knows that
/// nothing else lies there.
pub(in crate::arch) trait Work {
    /// Has to be inlined, as all that it calls, to be compiled for the instructions.
    ///
    /// # Safety
    /// The CPU has the instructions, and what else the work asks for.
    unsafe fn on<I: Instructions>(self, out: &mut [f32]);
}

/// # Safety
/// The work has what it asks for besides instructions.
#[inline(always)]
pub(super) unsafe fn on(isa: Isa, work: impl Work, out: &mut [f32]) {
    // SAFETY: an Isa is made only where the CPU has it; the rest is the contract.
    unsafe {
        match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni => Avx512::run(work, out),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => Avx2::run(work, out),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon | Kind::DotProduct | Kind::Matrix => Neon::run(work, out),
            Kind::Portable => Portable::run(work, out),
        }
    }
}

/// Loops that are compiled for each set of instructions.
///
/// A closure is only if it is small; what is larger has to be a type of its own.
pub(crate) trait Vectorize {
    /// Has to be inlined, as all that it calls, to be compiled for the instructions.
    fn run(self);
}

impl<F: FnOnce()> Vectorize for F {
    #[inline(always)]
    fn run(self) {
        self();
    }
}

/// Runs `work` compiled for the instruction set.
#[inline(always)]
pub(crate) fn vectorized(isa: Isa, work: impl Vectorize) {
    struct Safe<V>(V);

    impl<V: Vectorize> Work for Safe<V> {
        #[inline(always)]
        unsafe fn on<I: Instructions>(self, _: &mut [f32]) {
            self.0.run();
        }
    }

    // SAFETY: it asks for nothing else.
    unsafe { on(isa, Safe(work), &mut []) }
}
