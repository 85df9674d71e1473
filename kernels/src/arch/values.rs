//! What int8 layers do with each value by itself.

#[cfg(target_arch = "aarch64")]
use super::neon;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use super::{portable, vectorized};
use crate::isa::Kind;
use crate::{Isa, Range};

/// `bytes` less `zero_point` as words; both of the same length.
pub(crate) fn widen(isa: Isa, bytes: &[u8], zero_point: u8, words: &mut [i16]) {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Avx2 | Kind::Vnni => unsafe { avx2::widen(bytes, zero_point, words) },
        _ => portable::widen(bytes, zero_point, words),
    }
}

/// `round((a - za) * ra + (b - zb) * rb) + zero_point`, saturated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sum {
    pub(crate) zero_points: [u8; 2],
    pub(crate) ratios: [f32; 2],
    pub(crate) range: Range,
}

/// The sum of every two bytes; all of the same length.
pub(crate) fn add(isa: Isa, sum: &Sum, a: &[u8], b: &[u8], out: &mut [u8]) {
    assert!(a.len() == out.len() && b.len() == out.len());
    match isa.0 {
        // So that every value fits in 32 bits.
        #[cfg(target_arch = "x86_64")]
        Kind::Vnni if sum.ratios.iter().all(|ratio| *ratio < 1e6) => {
            // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
            unsafe { avx512::add(sum, a, b, out) }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as for AVX-512.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe { neon::add(sum, a, b, out) },
        _ => vectorized(isa, || portable::add(sum, a, b, out)),
    }
}

/// `round((a - za) * (b - zb) * ratio) + zero_point`, saturated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Product {
    pub(crate) zero_points: [u8; 2],
    pub(crate) ratio: f32,
    pub(crate) range: Range,
}

/// The product of every two bytes; all of the same length.
pub(crate) fn product(isa: Isa, product: &Product, a: &[u8], b: &[u8], out: &mut [u8]) {
    assert!(a.len() == out.len() && b.len() == out.len());
    match isa.0 {
        // So that every value fits in 32 bits.
        #[cfg(target_arch = "x86_64")]
        Kind::Vnni if product.ratio < 1e4 => {
            // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
            unsafe { avx512::product(product, a, b, out) }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as for AVX-512.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe {
            neon::product(product, a, b, out)
        },
        _ => vectorized(isa, || portable::product(product, a, b, out)),
    }
}

/// Pixels from the planes of their three channels.
pub(crate) fn interleave(isa: Isa, planes: &[[u8; 64]; 3], pixels: &mut [u8; 192]) {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Vnni => unsafe { avx512::interleave(planes, pixels) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe { neon::interleave(planes, pixels) },
        _ => portable::interleave(planes, pixels),
    }
}

/// `table[byte]` for every byte; both of the same length.
pub(crate) fn look_up(isa: Isa, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Avx2 => unsafe { avx2::look_up(table, input, output) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Vnni => unsafe { avx512::look_up(table, input, output) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an Isa is made only where the CPU has it; lengths are checked above.
        Kind::Neon | Kind::DotProduct | Kind::Matrix => unsafe {
            neon::look_up(table, input, output)
        },
        Kind::Portable => portable::look_up(table, input, output),
    }
}

/// Multiplies and adds in registers, `rounds` times; gives how many products that were.
pub(crate) fn products_alone(isa: Isa, rounds: usize) -> usize {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an Isa is made only where the CPU has it.
        Kind::Avx2 => unsafe { avx2::products_alone(rounds) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Vnni => unsafe { avx512::products_alone(rounds) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::Neon => unsafe { neon::mull_alone(rounds) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::DotProduct => unsafe { neon::dot_alone(rounds) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Kind::Matrix => unsafe { neon::matrix_alone(rounds) },
        Kind::Portable => portable::products_alone(rounds),
    }
}
