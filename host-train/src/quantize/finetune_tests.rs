//! What fine-tuning computes is what the sorting program will compute, and it helps where rounding hurts.

use std::collections::BTreeSet;

use inference::Extractor;
use models::graph::{Activation, Padding};
use models::quantize::Affine;
use models::{Node, Op, passes, reference, zoo};

use super::*;
use crate::config::Backend;
use crate::initialize::initialize;
use crate::network::Mode;
use crate::onnx::encode;
use crate::quantize::observe::{decibels, powers, watched};
use crate::quantize::probe::Probe;
use crate::random::normal;
use crate::step::{Score, predict, score};
use crate::value::{Value, floats};

const SIDE: usize = 32;
const CLASSES: usize = 10;

/// All of a graph in 8 bits, with the ranges that these images need.
fn scheme(graph: &Graph, weights: &Weights, images: &[f32]) -> Scheme {
    let nodes: Vec<usize> = std::iter::once(0).chain(watched(graph)).collect();
    let probe = Probe::new(graph, weights, &Scheme::float(graph), &nodes).unwrap();
    let mut ends = vec![[0.0f32; 2]; graph.nodes.len()];
    for image in images.chunks_exact(graph.input.iter().product()) {
        let see = |place: usize, output: &[f32]| {
            for &value in output {
                let [low, high] = &mut ends[nodes[place]];
                (*low, *high) = (low.min(value), high.max(value));
            }
        };
        probe.run(image, see).unwrap();
    }
    let ranges: Vec<Affine> = ends.into_iter().map(Affine::covering).collect();
    Scheme::new(graph, &ranges, &BTreeSet::new())
}

fn logits(network: &Network, image: &[f32], device: &Device) -> Vec<f32> {
    let value = Value::new(image.to_vec(), network.shape(0), device);
    floats(network.forward(0, value, Mode::Inference).0)
}

/// The engine's bytes and burn's rounded numbers give the same logits, but where sums that are summed up in
/// another order fall to other sides of a rounding. (In deep networks that grows, until it is as large as
/// what rounding itself changes.)
#[track_caller]
fn check_engine(graph: Graph) {
    let name = graph.name.clone();
    let device = device(Backend::Flex);
    let weights = initialize(&graph, 5).unwrap();
    let (graph, weights) = passes::fold_batch_norm(&graph, &weights).unwrap();
    let images: Vec<f32> = (0..6)
        .flat_map(|seed| reference::random_input(&graph, seed))
        .collect();
    let scheme = scheme(&graph, &weights, &images);
    let stage = FullConfig::fine_tune().stage;
    let learner = Learner::new(&graph, &weights, &scheme, &stage, &device).unwrap();
    let network = learner.rounded().unwrap();
    let exact = Network::new(graph.clone(), &weights, &device).unwrap();
    let onnx = encode(&graph, &learner.weights(), &scheme).unwrap();
    let engine = Extractor::new(onnx, SIDE, CLASSES).unwrap();
    let (mut apart, mut lost) = ([0.0f64; 2], [0.0f64; 2]);
    for image in images.chunks_exact(images.len() / 6) {
        let found = engine.features(image).unwrap();
        let add = |sums: &mut [f64; 2], wanted: Vec<f32>| {
            let powers = powers(&wanted, &found);
            (0..2).for_each(|n| sums[n] += powers[n]);
        };
        add(&mut apart, logits(&network, image, &device));
        add(&mut lost, logits(&exact, image, &device));
    }
    let [apart, lost] = [apart, lost].map(|[signal, noise]| decibels(signal, noise));
    assert!(lost < 45.0, "{name}: nothing is rounded, {lost:.1} dB");
    assert!(
        apart > 30.0 && apart > lost + 3.0,
        "{name}: {apart:.1} dB between burn and the engine, {lost:.1} dB to f32"
    );
}

#[test]
fn the_engine_computes_what_is_fine_tuned() {
    for name in ["mobilenet-v2-0.35", "resnet18"] {
        check_engine(zoo::build(name, CLASSES, Some(SIDE as u32)).unwrap());
    }
    for activation in [Activation::Silu, Activation::HardSwish, Activation::Relu6] {
        check_engine(squeezing(activation));
    }
}

/// A block with squeeze-and-excitation.
fn squeezing(activation: Activation) -> Graph {
    let conv = |out, kernel, groups| Op::Conv {
        out,
        kernel: [kernel; 2],
        stride: 1,
        padding: Padding::Same,
        groups,
        bias: true,
    };
    let ops = [
        (Op::Input, vec![]),
        (conv(16, 3, 1), vec![0]),
        (Op::Activation(activation), vec![1]),
        (conv(16, 3, 16), vec![2]),
        (Op::Activation(activation), vec![3]),
        (Op::GlobalAvgPool, vec![4]),
        (Op::Dense { out: 4 }, vec![5]),
        (Op::Activation(activation), vec![6]),
        (Op::Dense { out: 16 }, vec![7]),
        (Op::Activation(Activation::Sigmoid), vec![8]),
        (Op::Mul, vec![4, 9]),
        (conv(16, 1, 1), vec![10]),
        (Op::Add, vec![2, 11]),
        (Op::GlobalAvgPool, vec![12]),
        (Op::Dense { out: CLASSES }, vec![13]),
    ];
    let node = |(index, (op, inputs))| Node {
        name: format!("n{index}"),
        op,
        inputs,
    };
    Graph {
        name: format!("squeeze-and-excitation with {activation:?}"),
        input: [3, SIDE, SIDE],
        nodes: ops.into_iter().enumerate().map(node).collect(),
    }
}

/// Two convolutions and a classifier for [`patterns`].
fn small_graph() -> Graph {
    let conv = |out, stride| Op::Conv {
        out,
        kernel: [3; 2],
        stride,
        padding: Padding::Same,
        groups: 1,
        bias: true,
    };
    let ops = [
        Op::Input,
        conv(8, 1),
        Op::Activation(Activation::Relu6),
        conv(12, 2),
        Op::Activation(Activation::Relu6),
        Op::GlobalAvgPool,
        Op::Dense { out: 4 },
    ];
    let node = |(index, op): (usize, Op)| Node {
        name: format!("n{index}"),
        op,
        inputs: index.checked_sub(1).into_iter().collect(),
    };
    Graph {
        name: "small".into(),
        input: [3, 8, 8],
        nodes: ops.into_iter().enumerate().map(node).collect(),
    }
}

/// Stripes in four directions with noise, and the direction of each.
fn patterns(count: usize, seed: u64) -> (Vec<f32>, Vec<usize>) {
    let mut rng = generator(seed, Purpose::Parity, [7, 0, 0]);
    let mut images = Vec::new();
    let items: Vec<usize> = (0..count).map(|n| n % 4).collect();
    for item in &items {
        for place in 0..3 * 64 {
            let (y, x) = (place / 8 % 8, place % 8);
            let phase = [x, y, x + y, x + 8 - y][*item] % 4;
            let stripe = if phase < 2 { 0.5 } else { -0.5 };
            images.push(stripe + 1.0 * normal(&mut rng));
        }
    }
    (images, items)
}

fn accuracy(network: &Network, device: &Device) -> f64 {
    let (images, items) = patterns(400, 99);
    let size = images.len() / items.len();
    let rows =
        |range: std::ops::Range<usize>| Ok(images[range.start * size..range.end * size].to_vec());
    let ends = [0, network.graph().nodes.len() - 1];
    let logits = predict(network, device, ends, 1, items.len(), 50, rows).unwrap();
    let names = (0..4).map(|n| ("all".to_owned(), n.to_string())).collect();
    let labels = models::LabelSet::new("directions", names).unwrap();
    let Score { item_accuracy, .. } = score(&logits, &items, &labels);
    item_accuracy
}

fn teach(learner: &mut Learner<'_>, steps: u64, lr: f64) {
    for step in 0..steps {
        let (images, items) = patterns(32, 1000 + step);
        let size = images.len() / items.len();
        let targets: Vec<Target> = items.into_iter().map(Target::new).collect();
        let rows = |range: std::ops::Range<usize>| {
            Ok(images[range.start * size..range.end * size].to_vec())
        };
        let lesson = Lesson {
            from: 0,
            frozen: 0,
            shards: 1,
            threads: 1,
            norm: Norm::Running,
            label_smoothing: 0.0,
            seed: 1,
            step,
        };
        learner.learn(lesson, lr, &targets, &rows).unwrap();
    }
}

#[test]
fn what_few_bits_lose_comes_back() {
    let device = device(Backend::Flex);
    let graph = small_graph();
    let float = Scheme::float(&graph);
    let stage = FullConfig::fine_tune().stage;
    let weights = initialize(&graph, 2).unwrap();
    let mut exact = Learner::new(&graph, &weights, &float, &stage, &device).unwrap();
    teach(&mut exact, 150, 0.01);
    let weights = exact.weights();
    let f32 = accuracy(&exact.exact, &device);
    // Ever fewer bits, until it shows.
    let fine = scheme(&graph, &weights, &patterns(64, 5).0);
    let lossy = [16.0, 24.0, 36.0, 54.0, 81.0, 120.0].map(|factor| coarsened(&fine, factor));
    let rounded = |learner: &Learner<'_>| accuracy(&learner.rounded().unwrap(), &device);
    let visible = |scheme: &&Scheme| {
        let start = Learner::new(&graph, &weights, scheme, &stage, &device).unwrap();
        rounded(&start) < f32 - 0.1
    };
    let coarse = lossy.iter().find(visible).expect("2 bits are too few");
    let mut learner = Learner::new(&graph, &weights, coarse, &stage, &device).unwrap();
    let before = rounded(&learner);
    teach(&mut learner, 200, 0.003);
    let after = rounded(&learner);
    assert!(f32 > 0.85, "{f32}");
    assert!(
        after > before + (f32 - before) / 3.0,
        "{f32} {before} {after}"
    );
}

/// The same range in fewer steps.
fn coarsened(scheme: &Scheme, factor: f32) -> Scheme {
    let mut coarse = scheme.clone();
    for affine in coarse.tensors.iter_mut().flatten() {
        affine.scale *= factor;
        affine.zero_point = 127;
    }
    coarse
}
