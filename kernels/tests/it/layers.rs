//! Layers of drawn shapes and values.

use kernels::{
    Add, Conv, Depthwise, GlobalAverage, Grouped, Image, Isa, KernelError, Mul, Pool, PoolKind,
    Quantization, Range, Requantize, Table, Window, Workers, dequantize, quantize_planes,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Strategy;

use crate::reference;

/// Any byte, the extremes more often than chance.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![4 => any::<u8>(), 1 => Just(0), 1 => Just(255)]
}

/// Any weights, the extremes more often than chance; half of the time none is -128, and half of the
/// time all are small enough for sums in 16 bits: then 64 and -64 are frequent.
fn weights(count: usize) -> impl Strategy<Value = Vec<i8>> {
    let weight = prop_oneof![4 => any::<i8>(), 1 => Just(-128), 1 => Just(-127), 1 => Just(127)];
    let all = (vec(weight, count), any::<bool>(), any::<bool>());
    all.prop_map(|(mut weights, any, small)| {
        if small {
            weights.iter_mut().for_each(|weight| *weight /= 2);
        } else if !any {
            weights
                .iter_mut()
                .for_each(|weight| *weight = (*weight).max(-127));
        }
        weights
    })
}

/// Some kernels have loops of their own for all bytes, and for those with 0 for zero.
fn range() -> impl Strategy<Value = Range> {
    let any = (byte(), byte(), byte()).prop_map(|(zero_point, a, b)| {
        let (min, max) = (a.min(b), a.max(b));
        Range {
            zero_point,
            min,
            max,
        }
    });
    prop_oneof![2 => any, 1 => byte().prop_map(Range::full), 1 => Just(Range::full(0))]
}

fn requantize(channels: usize) -> impl Strategy<Value = Requantize> {
    let bias = prop_oneof![
        vec(-60_000..60_000, channels),
        vec(
            prop_oneof![4 => -60_000..60_000, 1 => any::<i32>()],
            channels
        ),
    ];
    // Some kernels are for scales as networks have them.
    let scale = prop_oneof![
        4 => vec(1e-5_f32..1e-2, channels),
        2 => vec(prop_oneof![1e-5_f32..1e-2, 1e-30_f32..0.5, Just(0.5)], channels),
        1 => vec(prop_oneof![1e-5_f32..1e-2, 1e-30_f32..1e30], channels),
    ];
    (bias, scale, range()).prop_map(|(bias, scale, range)| Requantize { bias, scale, range })
}

/// An image and a window that fits it.
pub(crate) fn geometry(
    kernel: std::ops::RangeInclusive<usize>,
    channels: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = (Image, Window)> {
    let kernels = [kernel.clone(), kernel];
    (
        1..=12_usize,
        1..=12_usize,
        channels,
        kernels,
        [1..=3_usize, 1..=3],
    )
        .prop_flat_map(|(height, width, channels, kernel, stride)| {
            let pad = [0..kernel[0], 0..kernel[1]];
            (
                Just((
                    Image {
                        height,
                        width,
                        channels,
                    },
                    kernel,
                    stride,
                )),
                pad.clone(),
                pad,
            )
        })
        .prop_map(|((image, kernel, stride), pad_before, pad_after)| {
            (
                image,
                Window {
                    kernel,
                    stride,
                    pad_before,
                    pad_after,
                },
            )
        })
        .prop_filter("the window fits", |(image, window)| {
            window.output(*image, 1).is_ok()
        })
}

#[derive(Debug)]
struct Case {
    image: Image,
    window: Window,
    input: Vec<u8>,
    zero_point: u8,
    weights: Vec<i8>,
    requantize: Requantize,
}

fn case(
    geometry: impl Strategy<Value = (Image, Window)>,
    outputs: Option<std::ops::RangeInclusive<usize>>,
) -> impl Strategy<Value = Case> {
    let outputs = outputs.unwrap_or(0..=0);
    (geometry, outputs)
        .prop_flat_map(|((image, window), outputs)| {
            let taps = window.kernel[0] * window.kernel[1];
            let (channels, weights) = match outputs {
                0 => (image.channels, taps * image.channels),
                outputs => (outputs, taps * image.channels * outputs),
            };
            let shape = Just((image, window));
            let weights = self::weights(weights);
            (
                shape,
                vec(byte(), image.len()),
                byte(),
                weights,
                requantize(channels),
            )
        })
        .prop_map(
            |((image, window), input, zero_point, weights, requantize)| Case {
                image,
                window,
                input,
                zero_point,
                weights,
                requantize,
            },
        )
}

fn check_conv(case: &Case) -> Result<(), TestCaseError> {
    let Case {
        image,
        window,
        input,
        zero_point,
        weights,
        requantize,
    } = case;
    let expected = reference::conv(input, *image, *window, *zero_point, weights, requantize);
    for isa in Isa::available() {
        let conv = Conv::new(isa, *image, *window, *zero_point, weights, requantize).unwrap();
        for (output, threads) in with_pools(|workers| {
            let mut output = vec![0xAA; expected.len()];
            conv.run(input, &mut output, workers);
            (output, workers.count())
        }) {
            prop_assert_eq!(&output, &expected, "{} on {} threads", isa, threads);
        }
    }
    Ok(())
}

fn check_depthwise(case: &Case) -> Result<(), TestCaseError> {
    let Case {
        image,
        window,
        input,
        zero_point,
        weights,
        requantize,
    } = case;
    let expected = reference::depthwise(input, *image, *window, *zero_point, weights, requantize);
    for isa in Isa::available() {
        let layer = Depthwise::new(isa, *image, *window, *zero_point, weights, requantize).unwrap();
        for (output, threads) in with_pools(|workers| {
            let mut output = vec![0xAA; expected.len()];
            layer.run(input, &mut output, workers);
            (output, workers.count())
        }) {
            prop_assert_eq!(&output, &expected, "{} on {} threads", isa, threads);
        }
    }
    Ok(())
}

/// Windows that networks slide over channels.
fn squares() -> impl Strategy<Value = (Image, Window)> {
    let sides = (1..=20_usize, 1..=20_usize, 1..=40_usize);
    (sides, 1..=3_usize, 1..=2_usize).prop_flat_map(|((height, width, channels), pad, stride)| {
        let image = Image {
            height,
            width,
            channels,
        };
        ([0..=pad, 0..=pad], [0..=pad, 0..=pad]).prop_filter_map("the window fits", move |pads| {
            let window = Window {
                kernel: [2 * pad + 1; 2],
                stride: [stride; 2],
                pad_before: pads.0,
                pad_after: pads.1,
            };
            window.output(image, 1).is_ok().then_some((image, window))
        })
    })
}

/// Threads are kept from case to case, as they are from frame to frame.
pub(crate) fn with_pools<R>(mut check: impl FnMut(&mut Workers) -> R) -> Vec<R> {
    thread_local! {
        static POOLS: std::cell::RefCell<Vec<Workers>> =
            std::cell::RefCell::new((1..=3).map(|n| Workers::new(n).unwrap()).collect());
    }
    POOLS.with_borrow_mut(|pools| pools.iter_mut().map(&mut check).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn convolution(case in case(geometry(1..=5, 1..=9), Some(1..=70))) {
        check_conv(&case)?;
    }

    #[test]
    fn one_pixel_at_a_time(case in case(geometry(1..=1, 1..=70), Some(1..=150))) {
        check_conv(&case)?;
    }

    #[test]
    fn depthwise(case in case(geometry(1..=7, 1..=50), None)) {
        check_depthwise(&case)?;
    }

    /// These have loops of their own.
    #[test]
    fn square_depthwise(case in case(squares(), None)) {
        check_depthwise(&case)?;
    }

    #[test]
    fn groups(
        (image, window) in geometry(1..=3, 1..=9),
        groups in 1..=4_usize, outputs in 1..=20_usize,
        seed in vec((byte(), any::<i8>()), 50..90),
        zero_point in byte(),
        requantize in requantize(80),
    ) {
        let one = image;
        let image = Image { channels: groups * one.channels, ..one };
        let depth = window.kernel[0] * window.kernel[1] * one.channels;
        let drawn = || seed.iter().cycle();
        let input: Vec<u8> = drawn().take(image.len()).map(|drawn| drawn.0).collect();
        let weights: Vec<i8> =
            drawn().take(groups * outputs * depth).map(|drawn| drawn.1).collect();
        let some = |first: usize, count: usize| Requantize {
            bias: requantize.bias[first..][..count].to_vec(),
            scale: requantize.scale[first..][..count].to_vec(),
            range: requantize.range,
        };
        // Group by group, as images of their own.
        let pixels = window.output(one, 1).unwrap().pixels();
        let mut expected = vec![0; pixels * groups * outputs];
        for group in 0..groups {
            let slice: Vec<u8> = input
                .chunks(image.channels)
                .flat_map(|pixel| &pixel[group * one.channels..][..one.channels])
                .copied()
                .collect();
            let weights = &weights[group * outputs * depth..][..outputs * depth];
            let end = some(group * outputs, outputs);
            let out = reference::conv(&slice, one, window, zero_point, weights, &end);
            for (to, out) in expected.chunks_mut(groups * outputs).zip(out.chunks(outputs)) {
                to[group * outputs..][..outputs].copy_from_slice(out);
            }
        }
        let end = some(0, groups * outputs);
        for isa in Isa::available() {
            let layer = Grouped::new(isa, image, window, zero_point, &weights, &end, groups);
            let layer = layer.unwrap();
            prop_assert_eq!(layer.output().len(), expected.len());
            for output in with_pools(|workers| {
                let mut output = vec![0xAA; expected.len()];
                layer.run(&input, &mut output, workers);
                output
            }) {
                prop_assert_eq!(&output, &expected, "{}", isa);
            }
        }
    }

    #[test]
    fn pools_of_values(
        (image, window) in geometry(1..=4, 1..=70),
        seed in vec(byte(), 64),
        zero_point: u8,
        scales in [1e-3_f32..1e3, 1e-3_f32..1e3],
        range in range(),
    ) {
        let input: Vec<u8> = seed.iter().copied().cycle().take(image.len()).collect();
        let quantization = Quantization { scale: scales[0], zero_point };
        let kinds = [
            PoolKind::Max,
            PoolKind::Average { count_padding: true },
            PoolKind::Average { count_padding: false },
        ];
        for (kind, isa) in kinds.into_iter().flat_map(|k| Isa::available().into_iter().map(move |i| (k, i))) {
            let expected =
                reference::pool(&input, image, window, kind, quantization, scales[1], range);
            let pool = Pool::new(isa, kind, image, window, quantization, scales[1], range).unwrap();
            for output in with_pools(|workers| {
                let mut output = vec![0xAA; expected.len()];
                pool.run(&input, &mut output, workers);
                output
            }) {
                prop_assert_eq!(&output, &expected, "{} {:?}", isa, kind);
            }
        }
    }

    #[test]
    fn global_average_is_the_average_of_a_window_as_large_as_the_image(
        height in 1..=9_usize, width in 1..=9_usize, channels in 1..=150_usize,
        seed in vec(byte(), 64),
        zero_point: u8,
        scales in [1e-3_f32..1e3, 1e-3_f32..1e3],
        range in range(),
    ) {
        let image = Image { height, width, channels };
        let input: Vec<u8> = seed.iter().copied().cycle().take(image.len()).collect();
        let quantization = Quantization { scale: scales[0], zero_point };
        let window = Window { kernel: [height, width], ..Window::PIXEL };
        let kind = PoolKind::Average { count_padding: false };
        let expected = reference::pool(&input, image, window, kind, quantization, scales[1], range);
        for isa in Isa::available() {
            let layer = GlobalAverage::new(isa, image, quantization, scales[1], range).unwrap();
            let mut output = vec![0xAA; channels];
            layer.run(&input, &mut output, &mut Workers::single());
            prop_assert_eq!(&output, &expected, "{}", isa);
        }
    }

    #[test]
    fn sums_and_products(
        pairs in vec((byte(), byte()), 1..200),
        zero_points in [byte(), byte()],
        scales in [1e-4_f32..1.0, 1e-4_f32..1.0, 1e-4_f32..1.0],
        range in range(),
    ) {
        let (a, b): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
        let quantization = |i: usize| Quantization { scale: scales[i], zero_point: zero_points[i] };
        let inputs = [quantization(0), quantization(1)];
        let steps = |i: usize, byte: u8| i32::from(byte) - i32::from(zero_points[i]);
        let ratios = [scales[0] / scales[2], scales[1] / scales[2]];
        let sum = |(a, b): (&u8, &u8)| {
            let value = steps(0, *a) as f32 * ratios[0] + steps(1, *b) as f32 * ratios[1];
            reference::round(range, value)
        };
        let product = |(a, b): (&u8, &u8)| {
            let value = (steps(0, *a) * steps(1, *b)) as f32 * (scales[0] * scales[1] / scales[2]);
            reference::round(range, value)
        };
        let sums: Vec<u8> = a.iter().zip(&b).map(sum).collect();
        let products: Vec<u8> = a.iter().zip(&b).map(product).collect();
        let one: Vec<u8> = a.iter().zip(b[..1].iter().cycle()).map(product).collect();
        for isa in Isa::available() {
            let mut output = vec![0xAA; a.len()];
            let workers = &mut Workers::single();
            Add::new(isa, inputs, scales[2], range).unwrap().run(&a, &b, &mut output, workers);
            prop_assert_eq!(&output, &sums, "{}", isa);
            let mul = Mul::new(isa, inputs, scales[2], range).unwrap();
            mul.run(&a, &b, &mut output, workers);
            prop_assert_eq!(&output, &products, "{}", isa);
            mul.run(&a, &b[..1], &mut output, workers);
            prop_assert_eq!(&output, &one, "{}", isa);
        }
    }

    #[test]
    fn tables(bytes in vec(any::<u8>(), 256), input in vec(any::<u8>(), 0..200)) {
        let expected: Vec<u8> = input.iter().map(|byte| bytes[usize::from(*byte)]).collect();
        for isa in Isa::available() {
            let table = Table::new(isa, |byte| bytes[usize::from(byte)]);
            let mut output = vec![0xAA; input.len()];
            table.run(&input, &mut output, &mut Workers::single());
            prop_assert_eq!(&output, &expected, "{}", isa);
        }
    }

    #[test]
    fn planes(
        channels in 1..=5_usize, pixels in 1..=200_usize,
        seed in vec(-1e3_f32..1e3, 32),
        scale in 1e-2_f32..10.0, zero_point: u8,
    ) {
        let values: Vec<f32> = seed.iter().copied().cycle().take(channels * pixels).collect();
        let quantization = Quantization { scale, zero_point };
        let mut expected = Vec::new();
        for pixel in 0..pixels {
            let plane = |channel: usize| values[channel * pixels + pixel];
            expected.extend((0..channels).map(|c| {
                reference::round(Range::full(zero_point), plane(c) / scale)
            }));
        }
        for isa in Isa::available() {
            let mut bytes = vec![0xAA; expected.len()];
            let workers = &mut Workers::single();
            quantize_planes(isa, &values, channels, quantization, &mut bytes, workers);
            prop_assert_eq!(&bytes, &expected, "{}", isa);
            let mut back = vec![0.0; values.len()];
            dequantize(&bytes, channels, quantization, &mut back, workers);
            let mut again = vec![0xAA; expected.len()];
            quantize_planes(isa, &back, channels, quantization, &mut again, workers);
            prop_assert_eq!(&again, &expected, "{}", isa);
        }
    }
}

#[test]
fn the_largest_sums_are_exact() {
    let channels = 60_000;
    let image = Image {
        height: 1,
        width: 1,
        channels,
    };
    let requantize = Requantize {
        bias: vec![0, 0],
        scale: vec![6e-8, 6e-8],
        range: Range::full(128),
    };
    for (byte, zero_point) in [(255, 0), (0, 255)] {
        let mut weights = vec![-128; channels];
        weights.resize(2 * channels, 127);
        let input = vec![byte; channels];
        let expected = reference::conv(
            &input,
            image,
            Window::PIXEL,
            zero_point,
            &weights,
            &requantize,
        );
        for isa in Isa::available() {
            let conv =
                Conv::new(isa, image, Window::PIXEL, zero_point, &weights, &requantize).unwrap();
            let mut output = [0; 2];
            conv.run(&input, &mut output, &mut Workers::single());
            assert_eq!(output.to_vec(), expected, "{isa}");
        }
    }
}

#[test]
fn groups_are_equal() {
    let image = Image {
        height: 2,
        width: 2,
        channels: 4,
    };
    let end = |outputs: usize| Requantize {
        bias: vec![0; outputs],
        scale: vec![0.1; outputs],
        range: Range::full(0),
    };
    let grouped = |weights: usize, outputs: usize, groups: usize| {
        let (weights, end) = (vec![1; weights], end(outputs));
        Grouped::new(
            Isa::PORTABLE,
            image,
            Window::PIXEL,
            0,
            &weights,
            &end,
            groups,
        )
        .err()
    };
    assert_eq!(grouped(12, 6, 2), None);
    for (outputs, groups) in [(6, 0), (6, 3), (6, 4), (5, 2)] {
        let error = grouped(outputs * 4, outputs, groups);
        assert!(matches!(error, Some(KernelError::Shape(_))), "{error:?}");
    }
    let error = grouped(13, 6, 2);
    assert!(matches!(
        error,
        Some(KernelError::Count { expected: 12, .. })
    ));
}

#[test]
fn what_does_not_fit_is_refused() {
    let image = Image {
        height: 4,
        width: 4,
        channels: 2,
    };
    let end = Requantize {
        bias: vec![0],
        scale: vec![1.0],
        range: Range::full(0),
    };
    let conv = |window, weights: &[i8], end: &Requantize| {
        Conv::new(Isa::PORTABLE, image, window, 0, weights, end).err()
    };
    let wide = Window {
        kernel: [5, 1],
        ..Window::PIXEL
    };
    assert!(matches!(
        conv(wide, &[0; 10], &end),
        Some(KernelError::Shape(_))
    ));
    let still = Window {
        stride: [0, 1],
        ..Window::PIXEL
    };
    assert!(matches!(
        conv(still, &[0; 2], &end),
        Some(KernelError::Shape(_))
    ));
    let count = KernelError::Count {
        what: "weights",
        expected: 2,
        found: 3,
    };
    assert_eq!(conv(Window::PIXEL, &[0; 3], &end), Some(count));
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let end = Requantize {
            scale: vec![scale],
            ..end.clone()
        };
        assert!(matches!(
            conv(Window::PIXEL, &[0; 2], &end),
            Some(KernelError::Scale(_))
        ));
    }
}
