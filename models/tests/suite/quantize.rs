use std::collections::{BTreeMap, BTreeSet};

use models::graph::{Activation, Padding};
use models::passes::{MeanMaps, correct_bias, equalize, fold_batch_norm};
use models::quantize::{
    Affine, Histogram, Observer, Role, Scheme, quantize_bias, quantize_weight, roles,
};
use models::{Graph, Op, Tensor, Weights, reference, zoo};
use proptest::prelude::*;

use crate::graph::{conv, graph, pool};

fn affine() -> impl Strategy<Value = Affine> {
    (-50.0f32..1.0, -1.0f32..50.0).prop_map(|(low, high)| Affine::covering([low, high]))
}

proptest! {
    #[test]
    fn a_byte_is_the_nearest_value_and_zero_is_zero(affine in affine(), value in -60.0f32..60.0) {
        prop_assert_eq!(affine.round(0.0), 0.0);
        let [low, high] = affine.range();
        let rounded = affine.round(value);
        let within = value.clamp(low, high);
        prop_assert!((rounded - within).abs() <= 0.501 * affine.scale, "{rounded} {within}");
        prop_assert_eq!(affine.round(rounded), rounded);
        prop_assert!(affine.quantize(value) <= affine.quantize(value + affine.scale));
    }

    #[test]
    fn a_range_is_covered_up_to_half_a_step(ends in [-50.0f32..1.0, -1.0f32..50.0]) {
        let [low, high] = [ends[0].min(ends[1]), ends[0].max(ends[1])];
        let affine = Affine::covering([low, high]);
        for end in [low, high] {
            prop_assert!((affine.round(end) - end).abs() <= 1.001 * affine.scale);
        }
    }

    #[test]
    fn codes_are_neighbours_of_their_weights_and_kernels_keep_their_sums(
        data in proptest::collection::vec(-3.0f32..3.0, 2 * 3 * 9),
        depthwise in any::<bool>(),
    ) {
        let shape = if depthwise { vec![6, 1, 3, 3] } else { vec![2, 3, 3, 3] };
        let (weight, limit) = (Tensor { shape, data }, if depthwise { 127 } else { 64 });
        let codes = quantize_weight(&weight, &[], 1.0);
        let channel = weight.data.len() / codes.scales.len();
        for (index, kernel) in weight.data.chunks_exact(9).enumerate() {
            let scale = codes.scales[index * 9 / channel];
            let codes = &codes.values[index * 9..][..9];
            for (weight, code) in kernel.iter().zip(codes) {
                prop_assert!((weight / scale - f32::from(*code)).abs() < 1.001);
                prop_assert!(code.abs() <= limit);
            }
            let exact: f32 = kernel.iter().map(|weight| weight / scale).sum();
            let sum: i32 = codes.iter().map(|code| i32::from(*code)).sum();
            prop_assert!((exact - sum as f32).abs() <= 0.51, "{exact} became {sum}");
        }
    }

    #[test]
    fn a_bias_fits_however_small_its_weights_are(
        size in -40i32..0, bias in -9.0f32..9.0, input in 1e-4f32..1.0,
    ) {
        let weight = Tensor { shape: vec![1, 2, 1, 1], data: vec![2f32.powi(size), 0.0] };
        let codes = quantize_weight(&weight, &[bias], input);
        let whole = quantize_bias(&[bias], &codes.scales, input);
        prop_assert!(whole[0].unsigned_abs() <= (1 << 30));
        let found = whole[0] as f32 * (input * codes.scales[0]);
        prop_assert!((found - bias).abs() <= 0.51 * input * codes.scales[0] + 1e-5 * bias.abs());
    }

    #[test]
    fn histograms_of_parts_add_up_in_any_order(
        values in proptest::collection::vec(-1e4f32..1e4, 0..200), cut in 0usize..200,
        small in 1e-6f32..1.0,
    ) {
        let values: Vec<f32> = values
            .iter()
            .enumerate()
            .map(|(index, x)| if index % 3 == 0 { x * small } else { *x })
            .collect();
        let (first, second) = values.split_at(cut.min(values.len()));
        let [first, second] = [first, second].map(Histogram::of);
        let (mut forth, mut back) = (first.clone(), second.clone());
        forth.merge(&second);
        back.merge(&first);
        prop_assert_eq!(&forth, &Histogram::of(&values));
        prop_assert_eq!(&forth, &back);
    }

    #[test]
    fn ranges_lie_in_what_was_seen_and_the_least_error_is_the_least(
        values in proptest::collection::vec(-4.0f32..9.0, 1..300), outlier in 1.0f32..300.0,
    ) {
        let values: Vec<f32> = values.into_iter().chain([outlier]).collect();
        let seen = Histogram::of(&values);
        let [low, high] = seen.range();
        let error = |observer: Observer| {
            seen.mean_square_error(Affine::covering(observer.range(&seen)))
        };
        for observer in Observer::ALL {
            let [from, to] = observer.range(&seen);
            prop_assert!(low <= from && from <= 0.0 && 0.0 <= to && to <= high, "{observer:?}");
        }
        prop_assert!(error(Observer::MeanSquare) <= error(Observer::MinMax) * 1.0001);
    }
}

#[test]
fn the_error_of_a_range_is_that_of_the_values() {
    let values: Vec<f32> = (0..20_000)
        .map(|n| (n as f32 * 0.618).fract() * 7.0 - 2.0)
        .collect();
    let seen = Histogram::of(&values);
    for range in [[-2.0, 5.0], [-1.0, 4.0], [-2.0, 2.0]] {
        let affine = Affine::covering(range);
        let square = |x: &f32| f64::from(affine.round(*x) - x).powi(2);
        let exact = values.iter().map(square).sum::<f64>() / values.len() as f64;
        let found = seen.mean_square_error(affine);
        assert!(
            (found / exact - 1.0).abs() < 0.02,
            "{range:?}: {found} {exact}"
        );
    }
}

#[test]
fn one_outlier_does_not_set_the_range_of_a_percentile() {
    let values: Vec<f32> = (0..40_000)
        .map(|n| (n % 100) as f32 / 100.0)
        .chain([500.0])
        .collect();
    let seen = Histogram::of(&values);
    assert_eq!(Observer::MinMax.range(&seen), [0.0, 500.0]);
    assert!(Observer::Percentile.range(&seen)[1] < 1.2);
}

const NO_PADDING: Padding = Padding::all(0);

fn depthwise(channels: usize, stride: usize) -> Op {
    Op::Conv {
        out: channels,
        kernel: [3; 2],
        stride,
        padding: Padding::Same,
        groups: channels,
        bias: true,
    }
}

/// A convolution, a depthwise one, pools and a dense layer, with this function in between.
fn pairs(activation: Activation) -> (Graph, Weights) {
    let function = Op::Activation(activation);
    let graph = graph(&[
        (Op::Input, &[]),
        (conv(6, 3, 1, Padding::Same), &[0]),
        (function, &[1]),
        (depthwise(6, 2), &[2]),
        (function, &[3]),
        (pool(2, 1, NO_PADDING), &[4]),
        (conv(5, 1, 1, NO_PADDING), &[5]),
        (function, &[6]),
        (Op::GlobalAvgPool, &[7]),
        (Op::Dense { out: 3 }, &[8]),
    ]);
    let mut weights = reference::random_weights(&graph, 5).unwrap();
    // Channels of very different sizes.
    for name in ["1", "3", "6"] {
        for kind in ["weight", "bias"] {
            let tensor = weights.get_mut(&format!("{name}.{kind}")).unwrap();
            let size = tensor.data.len() / tensor.shape[0];
            for (channel, values) in tensor.data.chunks_exact_mut(size).enumerate() {
                let factor = 0.4f32.powi(channel as i32);
                values.iter_mut().for_each(|value| *value *= factor);
            }
        }
    }
    (graph, weights)
}

fn peaks(graph: &Graph, weights: &Weights, input: &[f32]) -> Vec<Vec<f32>> {
    let shapes = graph.shapes().unwrap();
    let values = reference::run_all(graph, weights, input).unwrap();
    let peak = |values: &[f32]| values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let of_node = |(values, shape): (&Vec<f32>, &models::graph::Shape)| {
        let area = values.len() / shape.channels();
        values.chunks_exact(area).map(peak).collect()
    };
    values.iter().zip(&shapes).map(of_node).collect()
}

#[track_caller]
fn assert_same(graph: &Graph, [before, after]: [&Weights; 2], input: &[f32]) {
    let [before, after] =
        [before, after].map(|weights| reference::run(graph, weights, input).unwrap());
    let largest = before.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (before, after) in before.iter().zip(&after) {
        assert!(
            (before - after).abs() <= 1e-4 * largest,
            "{before} became {after}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn equalizing_leaves_the_function_and_brings_channels_together(seed in any::<u64>()) {
        for activation in [Activation::Relu, Activation::Relu6] {
            let (graph, weights) = pairs(activation);
            let input = reference::random_input(&graph, seed);
            let before = peaks(&graph, &weights, &input);
            let equal = equalize(&graph, &weights, &before).unwrap();
            assert_same(&graph, [&weights, &equal], &input);
            if activation == Activation::Relu {
                // Without a limit any input gives the same, not only the one that was measured.
                assert_same(&graph, [&weights, &equal], &reference::random_input(&graph, !seed));
            }
            let after = peaks(&graph, &equal, &input);
            let spread = |peaks: &[f32]| {
                let alive = || peaks.iter().copied().filter(|peak| *peak > 0.0);
                alive().fold(0.0, f32::max) / alive().fold(f32::INFINITY, f32::min)
            };
            for node in [2, 4, 7] {
                let [before, after] = [&before, &after].map(|peaks| spread(&peaks[node]));
                prop_assert!(after <= before * 1.001, "node {node}: {before} became {after}");
            }
            prop_assert!(spread(&after[2]) < 1.3, "a depthwise layer takes all that is wished");
        }
    }

    #[test]
    fn corrected_biases_leave_no_mean_error(
        seed in any::<u64>(), stride in 1usize..3, same in any::<bool>(), grouped in 0usize..3,
    ) {
        let groups = [1, 2, 4][grouped];
        let op = Op::Conv {
            out: 4,
            kernel: [3; 2],
            stride,
            padding: if same { Padding::Same } else { Padding::all(1) },
            groups,
            bias: true,
        };
        let graph = graph(&[(Op::Input, &[]), (op, &[0])]);
        let weights = reference::random_weights(&graph, seed).unwrap();
        // A range that cuts some values off, too.
        let affine = Affine::covering([-0.6, 0.9]);
        let mut rounded = weights.clone();
        let weight = rounded.get_mut("1.weight").unwrap();
        weight.data.iter_mut().for_each(|x| *x = (*x * 4.0).round() / 4.0);
        let images: Vec<Vec<f32>> =
            (0..4).map(|n| reference::random_input(&graph, seed ^ n)).collect();
        let mean = |f: &dyn Fn(f32) -> f32| -> Vec<f64> {
            let sum = |place| images.iter().map(|image| f64::from(f(image[place]))).sum::<f64>();
            (0..images[0].len()).map(|place| sum(place) / images.len() as f64).collect()
        };
        let means = MeanMaps { exact: mean(&|x| x), rounded: mean(&|x| affine.round(x)) };
        let corrected =
            correct_bias(&graph, &weights, &rounded, &BTreeMap::from([(0, means)])).unwrap();
        rounded.insert("1.bias".into(), corrected["1.bias"].clone());
        let mut errors = [0.0f64; 4];
        for image in &images {
            let exact = reference::run(&graph, &weights, image).unwrap();
            let bytes: Vec<f32> = image.iter().map(|x| affine.round(*x)).collect();
            let found = reference::run(&graph, &rounded, &bytes).unwrap();
            let area = exact.len() / 4;
            for (place, (exact, found)) in exact.iter().zip(&found).enumerate() {
                errors[place / area] += f64::from(found - exact) / (area * images.len()) as f64;
            }
        }
        for error in errors {
            prop_assert!(error.abs() < 1e-5, "{errors:?}");
        }
    }
}

#[test]
fn every_layer_of_every_network_takes_bytes() {
    for name in zoo::names() {
        let whole = zoo::build(name, 7, Some(64)).unwrap();
        let weights = reference::random_weights(&whole, 3).unwrap();
        let (graph, _) = fold_batch_norm(&whole, &weights).unwrap();
        let ranges = vec![Affine::covering([-1.0, 1.0]); graph.nodes.len()];
        let scheme = Scheme::new(&graph, &ranges, &BTreeSet::new());
        let roles = roles(&graph);
        let last = graph.nodes.len() - 1;
        assert_eq!((roles[last], scheme.tensors[last]), (Role::Output, None));
        for (index, node) in graph.nodes.iter().enumerate() {
            let layer = matches!(node.op, Op::Conv { .. } | Op::Dense { .. });
            assert_eq!(scheme.weights[index], layer, "{name}: {}", node.name);
            let fused = roles[index] == Role::Fused || index == last;
            assert_eq!(
                scheme.tensors[index].is_none(),
                fused,
                "{name}: {}",
                node.name
            );
        }
    }
}

#[test]
fn a_layer_that_stays_float_keeps_its_function() {
    let silu = Op::Activation(Activation::Silu);
    let graph = graph(&[
        (Op::Input, &[]),
        (conv(6, 3, 1, Padding::Same), &[0]),
        (silu, &[1]),
        (conv(6, 1, 1, NO_PADDING), &[2]),
        (silu, &[3]),
        (conv(2, 1, 1, NO_PADDING), &[4]),
    ]);
    let ranges = vec![Affine::covering([-1.0, 1.0]); graph.nodes.len()];
    let float = BTreeSet::from(["3".to_owned()]);
    let scheme = Scheme::new(&graph, &ranges, &float);
    let rounded: Vec<bool> = scheme.tensors.iter().map(Option::is_some).collect();
    assert_eq!(rounded, [true, true, true, false, true, false]);
    assert_eq!(scheme.weights, [false, true, false, false, false, true]);
    let none = Scheme::float(&graph);
    assert!(none.tensors.iter().all(Option::is_none) && !none.weights.contains(&true));
}
