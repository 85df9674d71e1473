//! The one definition of rounding.

use kernels::{Quantization, Range, dequantize_one, quantize_one};
use proptest::prelude::*;

use crate::reference;

#[test]
fn halves_go_to_even() {
    let range = Range::full(100);
    let cases = [
        (0.5, 100),
        (1.5, 102),
        (2.5, 102),
        (-0.5, 100),
        (-1.5, 98),
        (-2.5, 98),
    ];
    for (value, byte) in cases {
        assert_eq!(range.round(value), byte, "{value}");
    }
}

#[test]
fn everything_beyond_saturates() {
    let range = Range {
        zero_point: 3,
        min: 3,
        max: 200,
    };
    for value in [1e3, 1e9, 1e30, f32::INFINITY] {
        assert_eq!(range.round(value), 200);
        assert_eq!(range.round(-value), 3);
    }
}

proptest! {
    #[test]
    fn rounding_is_that_of_real_numbers(bits: u32, zero_point: u8, a: u8, b: u8) {
        let value = f32::from_bits(bits);
        prop_assume!(!value.is_nan());
        let range = Range { zero_point, min: a.min(b), max: a.max(b) };
        prop_assert_eq!(range.round(value), reference::round(range, value));
    }

    #[test]
    fn small_values_round_as_real_numbers(value in -300_f32..300.0, zero_point: u8) {
        let range = Range::full(zero_point);
        prop_assert_eq!(range.round(value), reference::round(range, value));
        let half = (value.trunc() + 0.5).copysign(value);
        prop_assert_eq!(range.round(half), reference::round(range, half));
    }

    #[test]
    fn a_byte_survives_the_way_there_and_back(byte: u8, zero_point: u8, scale in 1e-6_f32..1e6) {
        let quantization = Quantization { scale, zero_point };
        let value = dequantize_one(byte, quantization);
        prop_assert_eq!(quantize_one(value, quantization), byte);
    }
}
