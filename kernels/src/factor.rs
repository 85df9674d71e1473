//! In which form the input of a convolution is multiplied with weights.

use crate::Isa;
use crate::arch::{self, Panel, Rows};
use crate::workers::Scratch;

/// One side of a product. A byte of the input becomes a factor; the byte that stands for 0 becomes
/// [`Factor::zero`], by which sums are then too large or small in a way that the bias takes back.
pub(crate) trait Factor: Copy + Default + Into<i32> + Send + Sync + 'static {
    /// Products along the depth that one instruction adds up.
    const GROUP: usize;

    /// The factor of the byte `zero_point`.
    fn zero(zero_point: u8) -> Self;

    fn of_weight(weight: i8) -> Self;

    /// `factors` of as many `bytes`.
    fn convert(isa: Isa, bytes: &[u8], zero_point: u8, factors: &mut [Self]);

    fn multiply(isa: Isa, rows: &Rows<'_, Self>, panel: &Panel<'_, Self>, out: &mut [u8]);

    /// `len` factors and `rows` starts of unspecified content.
    fn scratch(scratch: &mut Scratch, len: usize, rows: usize) -> (&mut [Self], &mut [usize]);
}

/// The byte less the zero point.
impl Factor for i16 {
    const GROUP: usize = 2;

    fn zero(_: u8) -> i16 {
        0
    }

    fn of_weight(weight: i8) -> i16 {
        weight.into()
    }

    fn convert(isa: Isa, bytes: &[u8], zero_point: u8, factors: &mut [i16]) {
        arch::widen(isa, bytes, zero_point, factors);
    }

    fn multiply(isa: Isa, rows: &Rows<'_, i16>, panel: &Panel<'_, i16>, out: &mut [u8]) {
        arch::multiply_words(isa, rows, panel, out);
    }

    fn scratch(scratch: &mut Scratch, len: usize, rows: usize) -> (&mut [i16], &mut [usize]) {
        scratch.rows(len, rows)
    }
}

/// The byte less 128.
impl Factor for i8 {
    const GROUP: usize = 4;

    fn zero(zero_point: u8) -> i8 {
        (zero_point ^ 0x80).cast_signed()
    }

    fn of_weight(weight: i8) -> i8 {
        weight
    }

    fn convert(_: Isa, bytes: &[u8], _: u8, factors: &mut [i8]) {
        for (factor, byte) in factors.iter_mut().zip(bytes) {
            *factor = (byte ^ 0x80).cast_signed();
        }
    }

    fn multiply(isa: Isa, rows: &Rows<'_, i8>, panel: &Panel<'_, i8>, out: &mut [u8]) {
        arch::multiply_bytes(isa, rows, panel, out);
    }

    fn scratch(scratch: &mut Scratch, len: usize, rows: usize) -> (&mut [i8], &mut [usize]) {
        scratch.byte_rows(len, rows)
    }
}
