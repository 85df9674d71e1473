//! The inner loops, for each set of instructions.
//!
//! `portable` defines what they compute; the others give the same bytes.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_float;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_float;
mod depthwise;
pub(crate) mod float;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_float;
mod portable;
mod portable_float;
mod products;
mod values;

pub(crate) use depthwise::{
    BLOCK, LANES, Line, LineEnd, PairSource, QuadLine, WIDE, line, pair, quad_line, spread,
};
#[cfg(target_arch = "aarch64")]
pub(crate) use depthwise::{ByteSource, byte_plane, byte_row};
#[cfg(any(test, target_arch = "aarch64"))]
pub(crate) use depthwise::{signed_quad_line, spread_signed};
pub(crate) use float::{Vectorize, vectorized};
pub(crate) use products::{
    ABREAST, End, PANEL, Panel, Rows, Step, Steps, in_order, multiply_bytes, multiply_pairs,
    multiply_quads, multiply_words,
};
pub(crate) use values::{Product, Sum, add, interleave, look_up, product, products_alone, widen};
