//! The network against the reference evaluator, and its gradients against differences.

use models::graph::{Activation, Padding};
use models::{Graph, Node, Op, Tensor as Numbers, Weights, reference, zoo};
use proptest::prelude::*;

use super::*;
use crate::clip::clip;
use crate::config::Backend;
use crate::initialize::initialize;
use crate::random::{Purpose, generator};
use crate::random::{between, normal};
use crate::step::{Lesson, Target, learn};
use crate::trainer::device;
use crate::value::floats;

const BACKENDS: [Backend; 2] = [Backend::Flex, Backend::Ndarray];

/// A small classifier with every operation; `shape` varies kernels, strides, padding and groups.
fn graph(shape: [usize; 4], same: bool) -> Graph {
    let [kernel, stride, side, channels] = shape;
    let padding = match same {
        true => Padding::Same,
        false => Padding::Explicit {
            top: 1,
            left: 0,
            bottom: 2,
            right: 1,
        },
    };
    let conv = |out, kernel, stride, padding, groups, bias| Op::Conv {
        out,
        kernel: [kernel; 2],
        stride,
        padding,
        groups,
        bias,
    };
    let width = 4 * channels;
    let pool = Op::MaxPool {
        kernel: [2, 3],
        stride,
        padding: match same {
            true => Padding::Same,
            false => Padding::Explicit {
                top: 1,
                left: 2,
                bottom: 0,
                right: 1,
            },
        },
    };
    let ops: Vec<(Op, Vec<usize>)> = vec![
        (Op::Input, vec![]),
        (conv(width, kernel, stride, padding, 1, true), vec![0]),
        (Op::BatchNorm { eps: 1e-3 }, vec![1]),
        (Op::Activation(Activation::Relu6), vec![2]),
        (conv(width, kernel, 1, Padding::Same, width, false), vec![3]),
        (conv(width, 1, 1, Padding::Same, 1, false), vec![4]),
        (
            Op::GroupNorm {
                groups: 2,
                eps: 1e-5,
            },
            vec![5],
        ),
        (Op::StochasticDepth { p: 0.3 }, vec![6]),
        (Op::Add, vec![3, 7]),
        (conv(width, 1, 2, Padding::all(0), 2, true), vec![8]),
        (Op::Activation(Activation::Relu), vec![9]),
        (pool, vec![10]),
        (Op::GlobalAvgPool, vec![11]),
        (Op::Dense { out: 3 }, vec![12]),
        (Op::Activation(Activation::Silu), vec![13]),
        (Op::Dense { out: width }, vec![14]),
        (Op::Activation(Activation::HardSigmoid), vec![15]),
        (Op::Mul, vec![11, 16]),
        (Op::Activation(Activation::HardSwish), vec![17]),
        (Op::GlobalAvgPool, vec![18]),
        (Op::Activation(Activation::Sigmoid), vec![19]),
        (Op::Dropout { p: 0.4 }, vec![20]),
        (Op::Dense { out: 5 }, vec![21]),
    ];
    let nodes = ops.into_iter().enumerate();
    let nodes = nodes
        .map(|(n, (op, inputs))| Node {
            name: format!("n{n}"),
            op,
            inputs,
        })
        .collect();
    Graph {
        name: "test".into(),
        input: [3, side, side],
        nodes,
    }
}

/// Weights with norms that do something.
fn weights(graph: &Graph, seed: u64) -> Weights {
    let mut weights = initialize(graph, seed).unwrap();
    for (index, (name, tensor)) in weights.iter_mut().enumerate() {
        let mut rng = generator(seed, Purpose::Weights, [index as u64, 1, 0]);
        for value in &mut tensor.data {
            *value = match name.ends_with(".var") {
                true => between(&mut rng, 0.5, 2.0),
                false => *value + 0.2 * normal(&mut rng),
            };
        }
    }
    weights
}

fn images(graph: &Graph, count: usize, seed: u64) -> Vec<f32> {
    let mut rng = generator(seed, Purpose::Parity, [0; 3]);
    (0..count * graph.input.iter().product::<usize>())
        .map(|_| normal(&mut rng))
        .collect()
}

#[track_caller]
fn assert_close(ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{a} and {b}");
    }
}

/// Inference equals the reference evaluator's on every back end.
fn check_inference(graph: &Graph, weights: &Weights, seed: u64) {
    let input = images(graph, 2, seed);
    let expected: Vec<f32> = input
        .chunks_exact(input.len() / 2)
        .flat_map(|image| reference::run(graph, weights, image).unwrap())
        .collect();
    for backend in BACKENDS {
        let device = device(backend);
        let network = Network::new(graph.clone(), weights, &device).unwrap();
        let value = Value::new(input.clone(), network.shape(0), &device);
        let (logits, _) = network.forward(0, value, Mode::Inference);
        assert_close(&floats(logits), &expected, 1e-4);
        assert_eq!(&network.weights(), weights);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn inference_is_the_reference_evaluators(
        kernel in 1usize..=5,
        stride in 1usize..=3,
        side in 5usize..=11,
        channels in 1usize..=2,
        same in any::<bool>(),
        seed in 0u64..1000,
    ) {
        let graph = graph([kernel, stride, side, channels], same);
        check_inference(&graph, &weights(&graph, seed), seed);
    }
}

#[test]
fn a_network_of_the_zoo_is_the_reference_evaluators() {
    let graph = zoo::build("mobilenet-v2-0.35", 7, Some(32)).unwrap();
    check_inference(&graph, &initialize(&graph, 3).unwrap(), 3);
}

fn lesson(shards: usize, norm: Norm) -> Lesson {
    Lesson {
        from: 0,
        frozen: 0,
        shards,
        threads: shards,
        norm,
        label_smoothing: 0.1,
        seed: 5,
        step: 3,
    }
}

/// The mean loss of a batch, and the gradients by name.
fn loss_and_gradients(
    graph: &Graph,
    weights: &Weights,
    backend: Backend,
    lesson: Lesson,
) -> (f64, Weights) {
    let targets = [0, 3, 1, 4].map(Target::new);
    let input = images(graph, targets.len(), 9);
    let size = input.len() / targets.len();
    let device = device(backend);
    let network = Network::new(graph.clone(), weights, &device).unwrap();
    let rows =
        |range: std::ops::Range<usize>| Ok(input[range.start * size..range.end * size].to_vec());
    let mut learned = learn(&network, &device, lesson, &targets, rows).unwrap();
    let mut gradients = Weights::new();
    for (node, layer) in graph.nodes.iter().zip(&network.layers) {
        let mut keep = |kind: &str, shape: Vec<usize>, data: Option<Vec<f32>>| {
            if let Some(data) = data {
                gradients.insert(format!("{}.{kind}", node.name), Numbers { shape, data });
            }
        };
        let g = &mut learned.gradients;
        if let Some(p) = &layer.kernel {
            keep("weight", p.dims().to_vec(), g.remove::<4>(p.id).map(floats));
        }
        if let Some(p) = &layer.matrix {
            keep("weight", p.dims().to_vec(), g.remove::<2>(p.id).map(floats));
        }
        if let Some(p) = &layer.scale {
            keep("weight", p.dims().to_vec(), g.remove::<1>(p.id).map(floats));
        }
        if let Some(p) = &layer.bias {
            keep("bias", p.dims().to_vec(), g.remove::<1>(p.id).map(floats));
        }
    }
    (learned.loss, gradients)
}

#[test]
fn gradients_are_those_of_differences() {
    let graph = graph([3, 2, 9, 1], false);
    let weights = weights(&graph, 11);
    for norm in [Norm::Batch, Norm::Running] {
        let lesson = lesson(1, norm);
        let (_, gradients) = loss_and_gradients(&graph, &weights, Backend::Flex, lesson);
        let trained = graph
            .parameters()
            .unwrap()
            .into_iter()
            .filter(|p| p.trained);
        for parameter in trained {
            let name = parameter.name;
            let gradient = &gradients[&name].data;
            let place = gradient.len() / 2;
            let loss_at = |step: f32| {
                let mut weights = weights.clone();
                weights.get_mut(&name).unwrap().data[place] += step;
                loss_and_gradients(&graph, &weights, Backend::Flex, lesson).0
            };
            let step = 2e-3;
            let slope = (loss_at(step) - loss_at(-step)) / f64::from(2.0 * step);
            let found = f64::from(gradient[place]);
            assert!(
                (slope - found).abs() < 2e-3 + 0.03 * slope.abs(),
                "{name} with {norm:?}: {found}, by differences {slope}"
            );
        }
    }
}

#[test]
fn both_back_ends_find_the_same_gradients() {
    let graph = graph([3, 2, 9, 2], true);
    let weights = weights(&graph, 2);
    for shards in [1, 2] {
        let lesson = lesson(shards, Norm::Batch);
        let (flex_loss, flex) = loss_and_gradients(&graph, &weights, Backend::Flex, lesson);
        let (loss, ndarray) = loss_and_gradients(&graph, &weights, Backend::Ndarray, lesson);
        assert!((flex_loss - loss).abs() < 1e-5);
        assert_eq!(flex.len(), ndarray.len());
        for (name, gradient) in &flex {
            assert_close(&gradient.data, &ndarray[name].data, 1e-4);
        }
    }
}

#[test]
fn without_batch_statistics_shards_change_nothing() {
    let graph = graph([3, 1, 7, 1], true);
    let weights = weights(&graph, 4);
    let of = |shards| {
        loss_and_gradients(
            &graph,
            &weights,
            Backend::Flex,
            lesson(shards, Norm::Running),
        )
    };
    let ((one_loss, one), (two_loss, two)) = (of(1), of(2));
    assert!((one_loss - two_loss).abs() < 1e-6);
    for (name, gradient) in &one {
        assert_close(&gradient.data, &two[name].data, 1e-4);
    }
}

#[test]
fn a_repeated_step_gives_the_same_bits() {
    let graph = graph([3, 2, 9, 2], true);
    let weights = weights(&graph, 8);
    let again = || loss_and_gradients(&graph, &weights, Backend::Flex, lesson(2, Norm::Batch));
    assert_eq!(again(), again());
}

#[test]
fn running_statistics_are_those_of_the_whole_batch() {
    let graph = graph([3, 2, 9, 1], true);
    let weights = weights(&graph, 6);
    let device = device(Backend::Flex);
    let input = images(&graph, 4, 1);
    let size = input.len() / 4;
    let running = |shards: usize| {
        let mut network = Network::new(graph.clone(), &weights, &device).unwrap();
        let rows = |range: std::ops::Range<usize>| {
            Ok(input[range.start * size..range.end * size].to_vec())
        };
        let lesson = lesson(shards, Norm::Batch);
        let learned = learn(
            &network,
            &device,
            lesson,
            &[0, 1, 2, 3].map(Target::new),
            rows,
        )
        .unwrap();
        network.update_statistics(&learned.statistics, 1.0);
        network.weights()
    };
    // The first norm sees the same values however the batch is split.
    let (one, two) = (running(1), running(2));
    assert_close(&one["n2.mean"].data, &two["n2.mean"].data, 1e-5);
    assert_close(&one["n2.var"].data, &two["n2.var"].data, 1e-5);
    assert_ne!(one["n2.var"], weights["n2.var"]);
}

#[test]
fn dropout_masks_follow_the_row_and_not_the_shard() {
    let mask = |first_row, rows| {
        Dropout {
            seed: 1,
            step: 2,
            first_row,
        }
        .mask(7, 0.5, rows, 40)
    };
    let whole = mask(0, 4);
    assert_eq!(whole[..80], mask(0, 2));
    assert_eq!(whole[80..], mask(2, 2));
    let dropped = whole.iter().filter(|value| **value == 0.0).count();
    assert!((40..120).contains(&dropped), "{dropped} of 160");
    assert!(whole.iter().all(|value| *value == 0.0 || *value == 2.0));
}

#[test]
fn clipping_keeps_the_direction_and_gives_the_length() {
    let graph = graph([3, 2, 9, 1], true);
    let weights = weights(&graph, 3);
    let device = device(Backend::Flex);
    let network = Network::new(graph.clone(), &weights, &device).unwrap();
    let input = images(&graph, 2, 1);
    let size = input.len() / 2;
    let rows =
        |range: std::ops::Range<usize>| Ok(input[range.start * size..range.end * size].to_vec());
    let targets = [0, 3].map(Target::new);
    let learned = || learn(&network, &device, lesson(1, Norm::Batch), &targets, rows).unwrap();
    let last = network.layers.last().unwrap().matrix.as_ref().unwrap().id;
    let values =
        |gradients: &burn::optim::GradientsParams| floats(gradients.get::<2>(last).unwrap());
    let mut gradients = learned().gradients;
    let before = values(&gradients);
    let length = clip(&network, &mut gradients, 1e9);
    assert!(length > 0.0);
    assert_eq!(values(&gradients), before);
    clip(&network, &mut gradients, length / 4.0);
    let quarter: Vec<f32> = before.iter().map(|x| x / 4.0).collect();
    assert_close(&values(&gradients), &quarter, 1e-5);
    let now = clip(&network, &mut gradients, 1e9);
    assert!((now - length / 4.0).abs() < 1e-4 * length);
}

#[test]
fn an_average_approaches_what_learns() {
    let graph = graph([3, 1, 7, 1], true);
    let device = device(Backend::Flex);
    let network = |seed| Network::new(graph.clone(), &weights(&graph, seed), &device).unwrap();
    let (mut average, newest) = (network(1), network(2));
    let (old, new) = (average.weights(), newest.weights());
    let from = 5;
    average.approach(&newest, from, 0.25);
    for (name, tensor) in average.weights() {
        let node = name.rsplit_once('.').unwrap().0;
        let share = if graph.find(node).unwrap() > from {
            0.25
        } else {
            0.0
        };
        let pairs = old[&name].data.iter().zip(&new[&name].data);
        let expected: Vec<f32> = pairs.map(|(a, b)| a + (b - a) * share).collect();
        assert_close(&tensor.data, &expected, 1e-5);
    }
}
