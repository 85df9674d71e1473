//! Layers of `f32` against their plain definition in `f64`.

use kernels::float::{
    Activation, Conv, Depthwise, GlobalAverage, Pool, activate, add, from_planes, multiply,
    to_planes,
};
use kernels::{Image, Isa, KernelError, PoolKind, Window, Workers};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::layers::{geometry, with_pools};
use crate::reference::inside;

/// A sum of products in `f64`, and how far the same sum in `f32` may be off: each of `count`
/// additions and products rounds by at most half a unit of what has been summed by then.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    value: f64,
    size: f64,
    count: usize,
}

impl Sum {
    fn push(&mut self, value: f32, weight: f32) {
        let product = f64::from(value) * f64::from(weight);
        self.value += product;
        self.size += product.abs();
        self.count += 1;
    }

    fn error(&self) -> f64 {
        self.size * (self.count + 1) as f64 * f64::from(f32::EPSILON)
    }
}

fn function(activation: Activation, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::None => x,
        Activation::Limits { min, max } => x.max(min.into()).min(max.into()),
        Activation::LeakyRelu(slope) => x.max(0.0) + x.min(0.0) * f64::from(slope),
        Activation::HardSigmoid { alpha, beta } => {
            (x * f64::from(alpha) + f64::from(beta)).clamp(0.0, 1.0)
        }
        Activation::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Activation::Sigmoid => sigmoid,
        Activation::Silu => x * sigmoid,
    }
}

fn check(activation: Activation, sums: &[Sum], found: &[f32]) -> Result<(), TestCaseError> {
    prop_assert_eq!(sums.len(), found.len());
    for (sum, found) in sums.iter().zip(found) {
        let expected = function(activation, sum.value);
        // No function is steeper than 1.5, and each has an error of its own.
        let error = 1.5 * sum.error() + 1e-6 * (expected.abs() + sum.value.abs()) + 1e-37;
        prop_assert!(
            (f64::from(*found) - expected).abs() <= error,
            "{found}, not {expected}: {sum:?}, {activation:?}"
        );
    }
    Ok(())
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::None),
        Just(Activation::RELU),
        (-3.0_f32..0.0, 0.0_f32..6.0).prop_map(|(min, max)| Activation::Limits { min, max }),
        (0.0_f32..0.5).prop_map(Activation::LeakyRelu),
        (0.1_f32..0.5).prop_map(|alpha| Activation::HardSigmoid { alpha, beta: 0.5 }),
        Just(Activation::HardSwish),
        Just(Activation::Sigmoid),
        Just(Activation::Silu),
    ]
}

/// `len` values, the seed over and over with changing signs.
fn drawn(seed: &[f32], len: usize) -> Vec<f32> {
    let signs = [1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0].into_iter().cycle();
    let values = seed.iter().cycle().zip(signs);
    values.map(|(value, sign)| value * sign).take(len).collect()
}

fn seed() -> impl Strategy<Value = Vec<f32>> {
    vec(-2.0_f32..2.0, 40..60)
}

/// For every output the pixels under its window and their places in it.
fn windows(image: Image, window: Window) -> Vec<Vec<(usize, usize)>> {
    let output = window.output(image, 1).unwrap();
    let positions = (0..output.pixels()).map(|at| [at / output.width, at % output.width]);
    let under = positions.map(|[y, x]| {
        let taps = 0..window.kernel[0] * window.kernel[1];
        let pixels = taps.filter_map(|tap| {
            let (row, column) = (tap / window.kernel[1], tap % window.kernel[1]);
            let at = [y * window.stride[0] + row, x * window.stride[1] + column];
            Some((inside(image, window, at)?, tap))
        });
        pixels.collect()
    });
    under.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn conv(
        (image, window) in geometry(1..=4, 1..=40),
        outputs in 1..=70_usize,
        activation in activation(),
        adds: bool,
        seed in seed(),
    ) {
        let taps = window.kernel[0] * window.kernel[1];
        let input = drawn(&seed, image.len());
        let weights = drawn(&seed[3..], taps * image.channels * outputs);
        let bias = drawn(&seed[5..], outputs);
        let len = window.output(image, outputs).unwrap().len();
        let addend = adds.then(|| drawn(&seed[7..], len));
        let mut expected = Vec::new();
        for pixels in windows(image, window) {
            for channel in 0..outputs {
                let mut sum = Sum::default();
                sum.push(bias[channel], 1.0);
                for (at, tap) in &pixels {
                    for index in 0..image.channels {
                        let weight = weights[(channel * taps + tap) * image.channels + index];
                        sum.push(input[at + index], weight);
                    }
                }
                if let Some(addend) = &addend {
                    sum.push(addend[expected.len()], 1.0);
                }
                expected.push(sum);
            }
        }
        for isa in Isa::available() {
            let layer = Conv::new(isa, image, window, &weights, &bias, activation).unwrap();
            let outputs = with_pools(|workers| {
                let mut output = vec![f32::NAN; len];
                layer.run(&input, addend.as_deref(), &mut output, workers);
                output
            });
            check(activation, &expected, &outputs[0])?;
            for output in &outputs {
                prop_assert_eq!(output, &outputs[0], "{} on another number of threads", isa);
            }
        }
    }

    #[test]
    fn depthwise(
        (image, window) in geometry(1..=7, 1..=40),
        activation in activation(),
        seed in seed(),
    ) {
        let taps = window.kernel[0] * window.kernel[1];
        let input = drawn(&seed, image.len());
        let weights = drawn(&seed[3..], taps * image.channels);
        let bias = drawn(&seed[5..], image.channels);
        let mut expected = Vec::new();
        for pixels in windows(image, window) {
            for channel in 0..image.channels {
                let mut sum = Sum::default();
                sum.push(bias[channel], 1.0);
                for (at, tap) in &pixels {
                    sum.push(input[at + channel], weights[channel * taps + tap]);
                }
                expected.push(sum);
            }
        }
        for isa in Isa::available() {
            let layer = Depthwise::new(isa, image, window, &weights, &bias, activation).unwrap();
            let outputs = with_pools(|workers| {
                let mut output = vec![f32::NAN; expected.len()];
                layer.run(&input, &mut output, workers);
                output
            });
            check(activation, &expected, &outputs[0])?;
            for output in &outputs {
                prop_assert_eq!(output, &outputs[0], "{} on another number of threads", isa);
            }
        }
    }

    #[test]
    fn pools((image, window) in geometry(1..=4, 1..=70), seed in seed()) {
        let input = drawn(&seed, image.len());
        let kinds = [
            PoolKind::Max,
            PoolKind::Average { count_padding: true },
            PoolKind::Average { count_padding: false },
        ];
        for kind in kinds {
            let mut expected = Vec::new();
            for pixels in windows(image, window) {
                let count = match kind {
                    PoolKind::Average { count_padding: true } => {
                        window.kernel[0] * window.kernel[1]
                    }
                    _ => pixels.len(),
                };
                for channel in 0..image.channels {
                    let mut sum = Sum::default();
                    let values = pixels.iter().map(|(at, _)| input[at + channel]);
                    if kind == PoolKind::Max {
                        sum.push(values.fold(f32::NEG_INFINITY, f32::max), 1.0);
                    } else {
                        values.for_each(|value| sum.push(value, 1.0 / count as f32));
                    }
                    expected.push(sum);
                }
            }
            for isa in Isa::available() {
                let pool = Pool::new(isa, kind, image, window).unwrap();
                for output in with_pools(|workers| {
                    let mut output = vec![f32::NAN; expected.len()];
                    pool.run(&input, &mut output, workers);
                    output
                }) {
                    check(Activation::None, &expected, &output)?;
                }
            }
        }
    }

    #[test]
    fn global_average(
        height in 1..=9_usize, width in 1..=9_usize, channels in 1..=150_usize, seed in seed(),
    ) {
        let image = Image { height, width, channels };
        let input = drawn(&seed, image.len());
        let mut expected = vec![Sum::default(); channels];
        for (index, value) in input.iter().enumerate() {
            expected[index % channels].push(*value, 1.0 / image.pixels() as f32);
        }
        for isa in Isa::available() {
            let layer = GlobalAverage::new(isa, image).unwrap();
            for output in with_pools(|workers| {
                let mut output = vec![f32::NAN; channels];
                layer.run(&input, &mut output, workers);
                output
            }) {
                check(Activation::None, &expected, &output)?;
            }
        }
    }

    #[test]
    fn sums_products_and_functions(
        pixels in 1..=300_usize, channels in 1..=70_usize, activation in activation(),
        seed in seed(),
    ) {
        let a = drawn(&seed, pixels * channels);
        let b = drawn(&seed[3..], pixels * channels);
        let one = drawn(&seed[5..], channels);
        let sums = |terms: &dyn Fn(usize) -> [(f32, f32); 2]| -> Vec<Sum> {
            let sums = (0..a.len()).map(|at| {
                let mut sum = Sum::default();
                terms(at).into_iter().for_each(|(value, weight)| sum.push(value, weight));
                sum
            });
            sums.collect()
        };
        let none = (0.0, 0.0);
        let all = [
            sums(&|at| [(a[at], 1.0), (b[at], 1.0)]),
            sums(&|at| [(a[at], b[at]), none]),
            sums(&|at| [(a[at], one[at % channels]), none]),
            sums(&|at| [(a[at], 1.0), none]),
        ];
        for isa in Isa::available() {
            for found in with_pools(|workers| {
                let mut found = [(); 4].map(|()| vec![f32::NAN; a.len()]);
                let [sum, product, scaled, own] = &mut found;
                add(isa, [&a, &b], activation, sum, workers);
                multiply(isa, [&a, &b], activation, product, workers);
                multiply(isa, [&a, &one], activation, scaled, workers);
                activate(isa, &a, activation, own, workers);
                found
            }) {
                for (expected, found) in all.iter().zip(&found) {
                    check(activation, expected, found)?;
                }
            }
        }
    }

    #[test]
    fn planes_and_back(pixels in 1..=600_usize, channels in 1..=20_usize, seed in seed()) {
        let planes = drawn(&seed, pixels * channels);
        for [inside, back] in with_pools(|workers| {
            let [mut inside, mut back] = [(); 2].map(|()| vec![f32::NAN; planes.len()]);
            from_planes(&planes, channels, &mut inside, workers);
            to_planes(&inside, channels, &mut back, workers);
            [inside, back]
        }) {
            prop_assert_eq!(&back, &planes);
            for (index, value) in inside.iter().enumerate() {
                let (pixel, channel) = (index / channels, index % channels);
                prop_assert_eq!(*value, planes[channel * pixels + pixel]);
            }
        }
    }
}

#[test]
fn a_layer_whose_counts_do_not_match_its_shape_is_refused() {
    let image = Image {
        height: 4,
        width: 4,
        channels: 3,
    };
    let refused = Conv::new(
        Isa::PORTABLE,
        image,
        Window::PIXEL,
        &[0.0; 5],
        &[0.0; 2],
        Activation::None,
    );
    let expected = KernelError::Count {
        what: "weights",
        expected: 6,
        found: 5,
    };
    assert_eq!(refused.unwrap_err(), expected);
    let refused = Depthwise::new(
        Isa::PORTABLE,
        image,
        Window::PIXEL,
        &[0.0; 3],
        &[0.0; 2],
        Activation::None,
    );
    assert!(matches!(
        refused,
        Err(KernelError::Count { what: "biases", .. })
    ));
}

#[test]
fn long_rows_of_a_power_of_two() {
    let image = Image {
        height: 5,
        width: 6,
        channels: 1024,
    };
    let weights = vec![0.25; 1024 * 130];
    let input: Vec<f32> = (0..image.len()).map(|at| (at % 5) as f32).collect();
    for isa in Isa::available() {
        let bias = [1.0; 130];
        let relu = Activation::RELU;
        let conv = Conv::new(isa, image, Window::PIXEL, &weights, &bias, relu).unwrap();
        let mut output = vec![f32::NAN; conv.output().len()];
        conv.run(&input, None, &mut output, &mut Workers::single());
        for (pixel, output) in input.chunks_exact(1024).zip(output.chunks_exact(130)) {
            // Exact in f32.
            let expected = 1.0 + pixel.iter().sum::<f32>() / 4.0;
            assert!(output.iter().all(|value| *value == expected), "{isa}");
        }
    }
}
