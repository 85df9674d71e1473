//! The inner loops of `f32` layers, written once over vectors of [`LANES`] values; each set of
//! instructions gives its vector.
//!
//! Every output is one chain of multiply-adds in the order of the weights, however the work is cut,
//! so that it does not depend on the number of threads. Where a CPU rounds once (fused) and where
//! twice, last bits differ.

mod macros;
mod product;
mod rows;

#[cfg(target_arch = "aarch64")]
use super::neon_float;
use super::portable_float;
#[cfg(target_arch = "x86_64")]
use super::{avx2_float, avx512_float};
use crate::aligned::Plain;
use crate::isa::Kind;
use crate::{Aligned, Isa};

pub(super) use macros::{kernels, tiles};
pub(super) use product::tile;
pub(crate) use product::{Product, multiply};
pub(super) use rows::any_rows;
pub(crate) use rows::{Rows, rows};

/// Output channels that are computed side by side.
pub(crate) const LANES: usize = 16;

/// [`LANES`] values in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

// SAFETY: zeros of `f32` are its default, and it is aligned as a cache line.
unsafe impl Plain for Lanes {}

impl Lanes {
    pub(crate) const ZERO: Lanes = Lanes([0.0; LANES]);

    /// `values` in whole lanes, zeros at the end.
    pub(crate) fn pack(values: &[f32]) -> Aligned<Lanes> {
        let mut packed = Aligned::<Lanes>::new(values.len().div_ceil(LANES));
        for (lanes, values) in packed.iter_mut().zip(values.chunks(LANES)) {
            lanes.0[..values.len()].copy_from_slice(values);
        }
        packed
    }

    /// Weights of which each output channel has `depth`, those of [`LANES`] channels side by side.
    pub(crate) fn side_by_side(weights: &[f32], depth: usize) -> Aligned<Lanes> {
        let panel = LANES * depth;
        let mut packed = Aligned::<Lanes>::new(weights.len().div_ceil(panel) * depth);
        let panels = packed.chunks_exact_mut(depth);
        for (channels, packed) in weights.chunks(panel).zip(panels) {
            for (block, packed) in packed.chunks_mut(LANES).enumerate() {
                let first = block * LANES;
                for (lane, weights) in channels.chunks_exact(depth).enumerate() {
                    for (lanes, weight) in packed.iter_mut().zip(&weights[first..]) {
                        lanes.0[lane] = *weight;
                    }
                }
            }
        }
        packed
    }
}

/// [`LANES`] values in registers, or the first half of them: then loads and stores of more leave the
/// others out.
///
/// # Safety
/// All functions ask for the CPU's instructions, and for memory as far as they say.
pub(super) trait Vector: Copy {
    /// The most rows of a tile, and its panels of [`LANES`] channels: so many sums fit in registers.
    const ROWS: usize;
    const PANELS: usize;
    /// Panels of a tile of one row.
    const WIDE: usize;
    /// Neighbouring outputs of a depthwise convolution.
    const COLUMNS: usize;

    unsafe fn splat(value: f32) -> Self;
    /// From [`LANES`] values.
    unsafe fn load(from: *const f32) -> Self;
    /// To [`LANES`] values.
    unsafe fn store(self, to: *mut f32);
    /// `self * factor + sum`.
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// What is less than `min` or more than `max` becomes that; what is no number stays.
    unsafe fn limit(self, min: Self, max: Self) -> Self;

    /// Says that what lies there will be needed; it need not be memory of ours.
    #[inline(always)]
    fn prefetch(_: *const f32) {}

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

/// The limits of what is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    pub(crate) min: f32,
    pub(crate) max: f32,
}

/// Runs `work` compiled for the instruction set; what it calls must be inlined to gain from that.
#[inline(always)]
pub(crate) fn vectorized<R>(isa: Isa, work: impl FnOnce() -> R) -> R {
    // SAFETY: an Isa is made only where the CPU has it.
    unsafe {
        match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni => avx512_float::vectorized(work),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2_float::vectorized(work),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon | Kind::DotProduct | Kind::Matrix => neon_float::vectorized(work),
            Kind::Portable => portable_float::vectorized(work),
        }
    }
}

/// Multiplies and adds in registers, `rounds` times; gives how many products that were.
pub(crate) fn products_alone(isa: Isa, rounds: usize) -> usize {
    // SAFETY: an Isa is made only where the CPU has it.
    unsafe {
        match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni => avx512_float::products_alone(rounds),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2_float::products_alone(rounds),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon | Kind::DotProduct | Kind::Matrix => neon_float::products_alone(rounds),
            Kind::Portable => portable_float::products_alone(rounds),
        }
    }
}

/// # Safety
/// The CPU has the vector's instructions.
#[inline(always)]
pub(super) unsafe fn sums_alone<V: Vector>(rounds: usize) -> usize {
    const SUMS: usize = 6;
    // SAFETY: the contract is that of this function.
    unsafe {
        let value = V::splat(std::hint::black_box(0.5));
        let mut sums = [V::splat(std::hint::black_box(1.0)); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = sum.multiply_add(value, value);
            }
        }
        std::hint::black_box(sums.map(|sum| {
            let mut lanes = Lanes::ZERO;
            sum.store(lanes.0.as_mut_ptr());
            lanes
        }));
    }
    rounds * SUMS * LANES
}
