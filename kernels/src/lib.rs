//! Layers of convolutional networks, in 8 bits and, in [`float`], in `f32`.
//!
//! Activations are `u8` in rows, columns, channels, with one scale and zero point per tensor; `i8`
//! activations are the same thing with 128 added to value and zero point. Weights are `i8`,
//! symmetric, with a scale per output channel. Sums are exact in `i32` (modulo 2^32); what becomes
//! of a sum is defined once, in [`Requantize`]. So every kernel gives the same bytes.
//!
//! | layer | |
//! |---|---|
//! | [`Conv`] | convolution of all channels with all; dense layers are its 1x1 case |
//! | [`Depthwise`] | convolution of each channel by itself |
//! | [`Grouped`] | convolution of some channels with some |
//! | [`Add`], [`Mul`] | sums of two tensors; products with a tensor or with one value per channel |
//! | [`Table`] | any function of one value: activations, a change of scale |
//! | [`GlobalAverage`], [`Pool`] | pooling |
//! | [`quantize_planes`], [`dequantize`] | from and to `f32` |
//!
//! Last bits of what a layer of `f32` computes depend on the CPU.
//!
//! A layer is packed once for an [`Isa`] and run often, in parts, by [`Workers`], whose memory grows
//! during the first run; later ones allocate nothing.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aligned;
mod arch;
mod conv;
mod convert;
pub mod cores;
mod depthwise;
mod elementwise;
mod factor;
pub mod float;
mod grouped;
mod isa;
mod packing;
mod pool;
mod pooling;
mod requantize;
mod shape;
mod sliding;
mod workers;

pub use aligned::{Aligned, Plain, in_one_piece};
pub use conv::Conv;
pub use convert::{dequantize, dequantize_one, quantize_one, quantize_planes};
pub use depthwise::Depthwise;
pub use elementwise::{Add, Mul, Table};
pub use grouped::Grouped;
pub use isa::Isa;
pub use pool::{GlobalAverage, Pool, PoolKind};
pub use requantize::{Quantization, Range, Requantize};
pub use shape::{Image, Window};
pub use workers::{Scratch, Workers};

use thiserror::Error;

/// Why a layer cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KernelError {
    /// A dimension, stride or count is zero or too large.
    #[error("{0} is not possible for a layer")]
    Shape(&'static str),
    /// The number of weights, biases or scales is not what the shape asks for.
    #[error("the layer needs {expected} {what}, not {found}")]
    Count {
        /// `weights`, `biases` or `scales`.
        what: &'static str,
        /// What the shape asks for.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// A scale that is not a positive finite number.
    #[error("a scale of {0} is not a positive number")]
    Scale(String),
}

/// # Errors
/// There are not as many as the shape asks for.
pub(crate) fn check_count(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), KernelError> {
    if expected == found {
        return Ok(());
    }
    Err(KernelError::Count {
        what,
        expected,
        found,
    })
}
