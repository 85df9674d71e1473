//! Every network of the zoo: burn against the reference evaluator, the exported file against burn, in
//! tract and in ONNX Runtime; and a few steps make the loss smaller.

use std::path::Path;
use std::process::Command;

use burn::module::Module;
use models::quantize::Scheme;
use models::{Graph, Op, Weights, passes, reference, zoo};
use tract_onnx::prelude::{
    DatumExt, Framework, InferenceModelExt, IntoRunnable, Tensor as Input, tvec,
};

use crate::config::{Backend, FullConfig};
use crate::dropout::Dropout;
use crate::evaluate::output::TensorFile;
use crate::network::{Mode, Network, Norm};
use crate::onnx::encode;
use crate::optimizer;
use crate::step::{Lesson, Target, learn};
use crate::trainer::device;
use crate::value::{Value, floats};

const CLASSES: usize = 5;

/// Small and odd: paddings that depend on the size are at work.
const SIDE: u32 = 45;

/// Largest difference of two logits, relative to the largest logit, that rounding explains.
const TOLERANCE: f32 = 1e-3;

const FAMILIES: [&str; 8] = [
    "resnet",
    "se-resnet",
    "xception",
    "se-xception",
    "efficientnet-b",
    "efficientnet-lite",
    "mobilenet-v2",
    "mobilenet-v3",
];

#[test]
fn every_network_is_of_a_family_that_is_tested() {
    let tested = |name: &str| FAMILIES.iter().any(|family| name.starts_with(family));
    let forgotten: Vec<&str> = zoo::names().into_iter().filter(|n| !tested(n)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn resnets_agree_everywhere() {
    check_family("resnet");
    check_family("se-resnet");
}

#[test]
fn xceptions_agree_everywhere() {
    check_family("xception");
    check_family("se-xception");
}

#[test]
fn efficientnets_agree_everywhere() {
    check_family("efficientnet-b");
}

#[test]
fn lite_efficientnets_agree_everywhere() {
    check_family("efficientnet-lite");
}

#[test]
fn mobilenets_agree_everywhere() {
    check_family("mobilenet-v2");
    check_family("mobilenet-v3");
}

fn check_family(prefix: &str) {
    for name in zoo::names() {
        if name.starts_with(prefix) {
            check(name);
        }
    }
}

#[track_caller]
fn check(name: &str) {
    check_graph(name, zoo::build(name, CLASSES, Some(SIDE)).unwrap());
}

#[test]
fn networks_with_group_norms_agree_everywhere() {
    for name in ["resnet18", "mobilenet-v3-small"] {
        let graph = zoo::build(name, CLASSES, Some(SIDE)).unwrap();
        check_graph(name, passes::with_group_norms(&graph).unwrap());
    }
}

#[track_caller]
fn check_graph(name: &str, graph: Graph) {
    let images: Vec<f32> = (0..4)
        .flat_map(|seed| reference::random_input(&graph, seed))
        .collect();
    let weights = settled_weights(&graph, &images);
    let input = images[..images.len() / 4].to_vec();
    let expected = reference::run(&graph, &weights, &input).unwrap();
    let burn = in_burn(&graph, &weights, &input);
    assert_close(name, "burn", &burn, &expected);
    let (folded, weights) = passes::fold_batch_norm(&graph, &weights).unwrap();
    let onnx = encode(&folded, &weights, &Scheme::float(&folded)).unwrap();
    assert_close(name, "tract", &in_tract(&onnx, &input), &burn);
    if let Some(logits) = in_onnx_runtime(&onnx, &input, SIDE) {
        assert_close(name, "ONNX Runtime", &logits, &burn);
    }
}

/// Random weights with norms that fit these images: what flows through the network neither grows nor vanishes,
/// as in a trained one. Without that, rounding alone changes the outputs of deep networks.
fn settled_weights(graph: &Graph, images: &[f32]) -> Weights {
    let weights = reference::random_weights(graph, 3).unwrap();
    let plain = device(Backend::Flex);
    let mut network = Network::new(without_chance(graph), &weights, &plain).unwrap();
    let input = Value::new(images.to_vec(), network.shape(0), &plain.autodiff());
    let dropout = Dropout {
        seed: 1,
        step: 0,
        first_row: 0,
    };
    let mode = Mode::Training {
        norm: Norm::Batch,
        dropout: &dropout,
    };
    let constant = network.tracked(graph.nodes.len());
    let (_, statistics) = constant.forward(0, input, mode);
    network.update_statistics(&[statistics], 1.0);
    network.weights()
}

/// The same without dropout.
fn without_chance(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    for node in &mut graph.nodes {
        if let Op::Dropout { p } | Op::StochasticDepth { p } = &mut node.op {
            *p = 0.0;
        }
    }
    graph
}

#[track_caller]
fn assert_close(network: &str, what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert!(
        largest.is_finite() && largest > 1e-3,
        "{network}: {expected:?}"
    );
    let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let apart = apart.fold(0.0, f32::max);
    assert!(
        apart <= TOLERANCE * largest,
        "{network} in {what}: {apart} apart of {largest}"
    );
}

fn in_burn(graph: &Graph, weights: &Weights, input: &[f32]) -> Vec<f32> {
    let device = device(Backend::Flex);
    let network = Network::new(graph.clone(), weights, &device).unwrap();
    let value = Value::new(input.to_vec(), network.shape(0), &device);
    floats(network.forward(0, value, Mode::Inference).0)
}

fn in_tract(onnx: &[u8], input: &[f32]) -> Vec<f32> {
    let shape = [1, 3, SIDE as usize, SIDE as usize];
    let model = tract_onnx::onnx()
        .model_for_read(&mut &*onnx)
        .unwrap()
        .with_input_fact(0, f32::fact(shape).into())
        .unwrap()
        .into_optimized()
        .unwrap()
        .into_runnable()
        .unwrap();
    let input = Input::from_shape(&shape, input).unwrap();
    let output = model.run(tvec!(input.into())).unwrap();
    let output = output[0].to_plain_array_view::<f32>().unwrap();
    output.iter().copied().collect()
}

/// Nothing where Python with ONNX Runtime is not installed.
pub(crate) fn in_onnx_runtime(onnx: &[u8], input: &[f32], side: u32) -> Option<Vec<f32>> {
    let Some(python) = std::env::var_os("SORTLINE_PYTHON") else {
        eprintln!("SKIPPED: no ONNX Runtime to compare with (run `cargo xtask test`)");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let [model, inputs, logits] =
        ["model.onnx", "inputs.npy", "logits.csv"].map(|name| folder.path().join(name));
    std::fs::write(&model, onnx).unwrap();
    TensorFile::create(&inputs, 1, side)
        .unwrap()
        .write(0, input)
        .unwrap();
    let script = Path::new("../tests/reference/onnx_logits.py");
    let run = Command::new(python)
        .arg(script)
        .args([&model, &inputs, &logits])
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let text = std::fs::read_to_string(&logits).unwrap();
    Some(text.trim().split(',').map(|x| x.parse().unwrap()).collect())
}

/// The loss on four fixed images falls in a few steps. Without dropout: in the largest networks it makes more
/// of a difference than so few steps.
#[track_caller]
fn check_learns(name: &str) {
    let graph = without_chance(&zoo::build(name, CLASSES, Some(32)).unwrap());
    let weights = crate::initialize::initialize(&graph, 1).unwrap();
    let targets = [0, 1, 2, 3].map(Target::new);
    let images: Vec<f32> = (0..4)
        .flat_map(|seed| reference::random_input(&graph, seed))
        .collect();
    let size = images.len() / targets.len();
    let device = device(Backend::Flex);
    let mut network = Network::new(graph, &weights, &device).unwrap();
    let stage = FullConfig::from_scratch().stage;
    let mut optimizer = optimizer::optimizer(&stage, &network);
    let mut losses = Vec::new();
    for step in 0..8 {
        let lesson = Lesson {
            from: 0,
            frozen: 0,
            shards: 1,
            threads: 1,
            norm: Norm::Batch,
            label_smoothing: 0.0,
            seed: 1,
            step,
        };
        let rows = |range: std::ops::Range<usize>| {
            Ok(images[range.start * size..range.end * size].to_vec())
        };
        let learned = learn(&network, &device, lesson, &targets, rows).unwrap();
        losses.push(learned.loss);
        let changed = optimizer.step(stage.rate.lr, network.clone().train(), learned.gradients);
        network = changed.valid();
    }
    let early: f64 = losses[..2].iter().sum();
    let late: f64 = losses[losses.len() - 2..].iter().sum();
    assert!(late < 0.8 * early, "{name}: {losses:?}");
}

fn check_family_learns(prefix: &str) {
    for name in zoo::names() {
        if name.starts_with(prefix) {
            check_learns(name);
        }
    }
}

#[test]
fn resnets_learn() {
    check_family_learns("resnet");
    check_family_learns("se-resnet");
}

#[test]
fn xceptions_learn() {
    check_family_learns("xception");
    check_family_learns("se-xception");
}

#[test]
fn efficientnets_learn() {
    check_family_learns("efficientnet-b");
}

#[test]
fn lite_efficientnets_learn() {
    check_family_learns("efficientnet-lite");
}

#[test]
fn mobilenets_learn() {
    check_family_learns("mobilenet-v2");
    check_family_learns("mobilenet-v3");
}
