//! The inner loops of `f32` layers, written once over vectors of [`LANES`] values; each set of
//! instructions gives its vector.
//!
//! Every output is one chain of multiply-adds in the order of the weights, however the work is cut,
//! so that it does not depend on the number of threads. Where a CPU rounds once (fused) and where
//! twice, last bits differ.

mod instructions;
mod product;
mod rows;

use crate::aligned::Plain;
use crate::{Aligned, Isa};
use instructions::on;
pub(super) use instructions::{Instructions, Two, Vector, Work};
pub(crate) use instructions::{Vectorize, vectorized};
pub(crate) use product::{Product, multiply};
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

/// The limits of what is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    pub(crate) min: f32,
    pub(crate) max: f32,
}

/// Multiplies and adds in registers, `rounds` times; gives how many products that were.
pub(crate) fn products_alone(isa: Isa, rounds: usize) -> usize {
    struct Alone(usize);

    impl Work for Alone {
        #[inline(always)]
        unsafe fn on<I: Instructions>(self, _: &mut [f32]) {
            // SAFETY: the contract is that of this function.
            unsafe {
                let value = I::Whole::splat(std::hint::black_box(0.5));
                let mut sums = [I::Whole::splat(std::hint::black_box(1.0)); SUMS];
                for _ in 0..self.0 {
                    for sum in &mut sums {
                        *sum = sum.multiply_add(value, value);
                    }
                }
                for sum in sums {
                    let mut lanes = Lanes::ZERO;
                    sum.store(lanes.0.as_mut_ptr());
                    std::hint::black_box(lanes);
                }
            }
        }
    }

    const SUMS: usize = 6;
    // SAFETY: it asks for nothing else.
    unsafe { on(isa, Alone(rounds), &mut []) };
    rounds * SUMS * LANES
}
