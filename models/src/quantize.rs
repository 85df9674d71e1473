//! Networks in 8 bits: what numbers stand for, how ranges are chosen, which tensors get one.
//!
//! Weights are symmetric `i8` with a scale per output channel, activations `u8` with one scale and
//! zero point per tensor, biases `i32` in units of both scales: what ONNX's `QuantizeLinear` and
//! `DequantizeLinear` say and every runtime computes. [`Histogram`]s of what flows through the
//! f32 network give each tensor a range ([`Observer`]), a [`Scheme`] says which tensors of a graph
//! are 8-bit ones, and [`avoid_ties`] chooses scales with which runtimes agree. [`passes`](crate::passes) prepare a network for it: `equalize`, `correct_bias`.

mod affine;
mod histogram;
mod layer;
mod observer;
mod scheme;
mod ties;

pub use affine::Affine;
pub use histogram::Histogram;
pub use layer::{Codes, quantize_bias, quantize_weight};
pub use observer::Observer;
pub(crate) use scheme::consumers;
pub use scheme::{Role, Scheme, roles};
pub use ties::{GATE, avoid_ties};
