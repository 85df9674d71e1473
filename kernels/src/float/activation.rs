//! Functions of one value.

use crate::Isa;
use crate::arch::{float::Limits, vectorized};

/// What becomes of a layer's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// Nothing.
    None,
    /// Limits, as ReLU and clips set them.
    Limits {
        /// What less becomes.
        min: f32,
        /// What more becomes.
        max: f32,
    },
    /// A slope for values below 0.
    LeakyRelu(f32),
    /// `alpha * x + beta` between 0 and 1.
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// `x` times the hard sigmoid with a slope of 1/6 and 0.5 at 0.
    HardSwish,
    /// `1 / (1 + exp(-x))`, at most 4e-7 of it off.
    Sigmoid,
    /// `x / (1 + exp(-x))`, at most 4e-7 of it off.
    Silu,
}

impl Activation {
    /// No less than 0.
    pub const RELU: Activation = Activation::Limits {
        min: 0.0,
        max: f32::INFINITY,
    };

    /// What a kernel limits its sums to before it stores them.
    pub(super) fn limits(self) -> Limits {
        match self {
            Activation::Limits { min, max } => Limits { min, max },
            _ => Limits {
                min: f32::NEG_INFINITY,
                max: f32::INFINITY,
            },
        }
    }

    /// What is left to do after [`Activation::limits`].
    pub(super) fn after_limits(self) -> Activation {
        match self {
            Activation::Limits { .. } => Activation::None,
            other => other,
        }
    }

    /// Applies the function to values in place.
    pub(super) fn apply(self, isa: Isa, values: &mut [f32]) {
        if isa.fuses() {
            vectorized(isa, || self.each::<true>(values));
        } else {
            vectorized(isa, || self.each::<false>(values));
        }
    }

    /// `FUSED` where products and sums are rounded together.
    #[inline(always)]
    fn each<const FUSED: bool>(self, values: &mut [f32]) {
        match self {
            Activation::None => {}
            Activation::Limits { min, max } => each(values, |x| limit(x, min, max)),
            Activation::LeakyRelu(slope) => each(values, |x| if x < 0.0 { x * slope } else { x }),
            Activation::HardSigmoid { alpha, beta } => {
                each(values, |x| {
                    limit(multiply_add::<FUSED>(x, alpha, beta), 0.0, 1.0)
                });
            }
            Activation::HardSwish => each(values, |x| {
                x * limit(multiply_add::<FUSED>(x, 1.0 / 6.0, 0.5), 0.0, 1.0)
            }),
            Activation::Sigmoid => each(values, |x| 1.0 / (1.0 + exp::<FUSED>(-x))),
            Activation::Silu => each(values, |x| x / (1.0 + exp::<FUSED>(-x))),
        }
    }
}

#[inline(always)]
fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
    for value in values {
        *value = function(*value);
    }
}

/// What is no number stays.
#[inline(always)]
fn limit(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `exp(x)`, at most 3e-7 of it off, for `x` from -87 to 88; the ends stand for what is beyond.
///
/// `x` is `n * ln 2 + r` with the nearest whole `n`; `exp(r)` is `1 + r + r^2 * q(r)` with a `q` of
/// the third degree, fitted so that the largest error, 1.06e-7 of the value, is as small as can be.
#[inline(always)]
fn exp<const FUSED: bool>(x: f32) -> f32 {
    /// Added to a small number, its unit is the last bit.
    const WHOLE: f32 = 12_582_912.0;
    /// ln 2 in two parts; the first has so few bits that its product with `n` is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const Q: [f32; 4] = [0.499_992_3, 0.166_671_16, 0.041_890_33, 0.008_312_501];
    let x = limit(x, -87.0, 88.0);
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, WHOLE);
    let n = shifted - WHOLE;
    let r = multiply_add::<FUSED>(n, -LN_2[0], x);
    let r = multiply_add::<FUSED>(n, -LN_2[1], r);
    let mut sum = Q[3];
    for factor in [Q[2], Q[1], Q[0], 1.0, 1.0] {
        sum = multiply_add::<FUSED>(sum, r, factor);
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    sum * power
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 997th `f32`, and the neighbours of what matters.
    fn many() -> impl Iterator<Item = f32> {
        let special = [0.0, -0.0, 87.0, 88.0, 1e30, f32::INFINITY];
        let special = special.into_iter().flat_map(|x| [x, -x]);
        (0..u32::MAX)
            .step_by(997)
            .map(f32::from_bits)
            .filter(|x| x.is_finite())
            .chain(special)
    }

    #[test]
    fn exp_is_as_near_as_it_says() {
        let mut worst = [0.0_f64; 2];
        for x in many().filter(|x| (-87.0..=88.0).contains(x)) {
            let expected = f64::from(x).exp();
            let off = |found: f32| (f64::from(found) / expected - 1.0).abs();
            worst[0] = worst[0].max(off(exp::<false>(x)));
            worst[1] = worst[1].max(off(exp::<true>(x)));
        }
        assert!(worst.iter().all(|worst| *worst < 3e-7), "{worst:?}");
    }

    #[test]
    fn functions_are_as_near_as_they_say_on_all_instructions() {
        let values: Vec<f32> = many().step_by(13).collect();
        for isa in Isa::available() {
            let [mut sigmoid, mut silu] = [values.clone(), values.clone()];
            Activation::Sigmoid.apply(isa, &mut sigmoid);
            Activation::Silu.apply(isa, &mut silu);
            for ((x, sigmoid), silu) in values.iter().zip(sigmoid).zip(silu) {
                let expected = 1.0 / (1.0 + (-f64::from(*x)).exp());
                for (found, expected) in [(sigmoid, expected), (silu, expected * f64::from(*x))] {
                    // Below, exp is at its end: what is left is nearly nothing.
                    let (found, beyond) = (f64::from(found), *x < -87.0);
                    let allowed = if beyond { 1e-37 * x.abs() } else { 0.0 };
                    let error = (found - expected).abs();
                    let near = 4e-7 * expected.abs() + f64::from(allowed + f32::MIN_POSITIVE);
                    assert!(error <= near, "{isa}: {found}, not {expected}, of {x}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays() {
        let functions = [
            Activation::RELU,
            Activation::LeakyRelu(0.1),
            Activation::HardSigmoid {
                alpha: 0.2,
                beta: 0.5,
            },
            Activation::HardSwish,
            Activation::Sigmoid,
            Activation::Silu,
        ];
        for (function, isa) in functions
            .into_iter()
            .flat_map(|function| Isa::available().into_iter().map(move |isa| (function, isa)))
        {
            let mut none = [f32::NAN; 33];
            function.apply(isa, &mut none);
            assert!(none.iter().all(|x| x.is_nan()), "{function:?} on {isa}");
        }
    }
}
