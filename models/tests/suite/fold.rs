use models::graph::{Activation, Padding, Shape};
use models::passes::fold_batch_norm;
use models::{Graph, GraphError, Node, Op, Weights, reference, zoo};
use proptest::prelude::*;

use crate::graph::{conv, graph, pool};

#[track_caller]
fn assert_same_function(graph: &Graph, weights: &Weights, seed: u64) -> (Graph, Weights) {
    let (folded, folded_weights) = fold_batch_norm(graph, weights).unwrap();
    let input = reference::random_input(graph, seed);
    let before = reference::run(graph, weights, &input).unwrap();
    let after = reference::run(&folded, &folded_weights, &input).unwrap();
    let largest = before
        .iter()
        .fold(0.0f32, |largest, x| largest.max(x.abs()));
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert!(
            (before - after).abs() <= 1e-4 * largest,
            "{before} became {after} of {largest}"
        );
    }
    (folded, folded_weights)
}

/// The networks without the larger ones of the same make.
fn one_of_each_kind() -> impl Iterator<Item = &'static str> {
    let larger = |name: &str| {
        let size = name.strip_prefix("efficientnet-b");
        size.is_some_and(|size| size > "1") || name == "mobilenet-v2-1.4"
    };
    zoo::names().into_iter().filter(move |name| !larger(name))
}

fn is_left(graph: &Graph, is_it: fn(&Op) -> bool) -> bool {
    graph.nodes.iter().any(|node| is_it(&node.op))
}

#[test]
fn zoo_networks_have_nothing_left_that_only_training_needs() {
    for name in one_of_each_kind() {
        let graph = zoo::build(name, 7, Some(32)).unwrap();
        let weights = reference::random_weights(&graph, 3).unwrap();
        let (folded, _) = assert_same_function(&graph, &weights, 4);
        assert!(!is_left(&folded, |op| matches!(
            op,
            Op::BatchNorm { .. } | Op::Dropout { .. } | Op::StochasticDepth { .. }
        )));
        assert_eq!(folded.macs(), graph.macs());
    }
}

/// A graph drawn from `choices`: every node takes what was drawn from the nodes before it.
fn random_graph(choices: &[(u8, usize, usize)]) -> Graph {
    let mut graph = Graph {
        name: "random".into(),
        input: [4, 7, 6],
        nodes: Vec::new(),
    };
    graph.nodes.push(Node {
        name: "input".into(),
        op: Op::Input,
        inputs: vec![],
    });
    for (index, &(kind, pick, number)) in choices.iter().enumerate() {
        let shapes = graph.shapes().unwrap();
        // Mostly the newest node, now and then an older one.
        let source = shapes.len()
            - 1
            - if pick % 3 == 0 {
                pick % shapes.len()
            } else {
                0
            };
        let channels = shapes[source].channels();
        let is_map = matches!(shapes[source], Shape::Map { .. });
        let (op, inputs) = match kind % 10 {
            0..=2 if is_map => {
                let grouped = channels.is_multiple_of(2) && number % 2 == 0;
                let op = Op::Conv {
                    out: 2 + 2 * (number % 3),
                    kernel: [1 + number % 3, 1 + pick % 3],
                    stride: 1 + number % 2,
                    padding: if pick % 2 == 0 {
                        Padding::Same
                    } else {
                        Padding::all(1)
                    },
                    groups: if grouped { 2 } else { 1 },
                    bias: number % 5 < 2,
                };
                (op, vec![source])
            }
            3 | 4 if is_map => (Op::BatchNorm { eps: 1e-3 }, vec![source]),
            5 => (Op::Dropout { p: 0.3 }, vec![source]),
            6 => {
                let twin = shapes.iter().position(|shape| *shape == shapes[source]);
                (Op::Add, vec![source, twin.unwrap_or(source)])
            }
            7 if !is_map => (Op::Dense { out: 3 }, vec![source]),
            8 if is_map => (pool(1 + number % 3, 1, Padding::Same), vec![source]),
            8 => (Op::StochasticDepth { p: 0.3 }, vec![source]),
            9 if is_map && twin_features(&shapes, channels).is_some() => {
                let features = twin_features(&shapes, channels).unwrap();
                (Op::Mul, vec![source, features])
            }
            9 if is_map => (Op::GlobalAvgPool, vec![source]),
            7 if number % 4 == 0 => (Op::GlobalAvgPool, vec![source]),
            _ => (Op::Activation(Activation::Relu), vec![source]),
        };
        graph.nodes.push(Node {
            name: format!("n{index}"),
            op,
            inputs,
        });
    }
    graph
}

/// A node that gives so many features.
fn twin_features(shapes: &[Shape], channels: usize) -> Option<usize> {
    let features = Shape::Features(channels);
    shapes.iter().position(|shape| *shape == features)
}

proptest! {
    #[test]
    fn folding_keeps_what_a_graph_computes(
        choices in prop::collection::vec((0u8..10, 0usize..100, 0usize..100), 1..24), seed: u64,
    ) {
        let graph = random_graph(&choices);
        let weights = reference::random_weights(&graph, seed).unwrap();
        let (folded, folded_weights) = assert_same_function(&graph, &weights, !seed);
        let left = is_left(&folded, |op| {
            matches!(op, Op::Dropout { .. } | Op::StochasticDepth { .. })
        });
        prop_assert!(!left, "a dropout is left");
        let again = fold_batch_norm(&folded, &folded_weights).unwrap();
        prop_assert_eq!(again, (folded, folded_weights));
    }
}

#[test]
fn a_norm_stays_where_the_convolution_has_another_use() {
    let norm = Op::BatchNorm { eps: 1e-5 };
    let conv = conv(4, 1, 1, Padding::all(0));
    let kept = |nodes: &[(Op, &[usize])]| {
        let graph = graph(nodes);
        let weights = reference::random_weights(&graph, 5).unwrap();
        let (folded, _) = assert_same_function(&graph, &weights, 6);
        is_left(&folded, |op| matches!(op, Op::BatchNorm { .. }))
    };
    let dropout = Op::Dropout { p: 0.5 };
    assert!(!kept(&[(Op::Input, &[]), (conv, &[0]), (norm, &[1])]));
    assert!(!kept(&[
        (Op::Input, &[]),
        (conv, &[0]),
        (dropout, &[1]),
        (norm, &[2])
    ]));
    assert!(!kept(&[
        (Op::Input, &[]),
        (conv, &[0]),
        (norm, &[1]),
        (norm, &[2])
    ]));
    assert!(kept(&[
        (Op::Input, &[]),
        (conv, &[0]),
        (norm, &[1]),
        (Op::Add, &[1, 2])
    ]));
    assert!(kept(&[
        (Op::Input, &[]),
        (conv, &[0]),
        (dropout, &[1]),
        (norm, &[2]),
        (Op::Add, &[1, 3])
    ]));
    assert!(kept(&[
        (Op::Input, &[]),
        (conv, &[0]),
        (norm, &[1]),
        (norm, &[2]),
        (Op::Add, &[2, 3]),
    ]));
    assert!(kept(&[(Op::Input, &[]), (norm, &[0])]));
    // The convolution itself is the output; the norm then has no use at all.
    assert!(!kept(&[
        (Op::Input, &[]),
        (conv, &[0]),
        (norm, &[1]),
        (dropout, &[1])
    ]));
}

#[test]
fn a_negative_variance_is_an_error() {
    let graph = graph(&[
        (Op::Input, &[]),
        (conv(1, 1, 1, Padding::all(0)), &[0]),
        (Op::BatchNorm { eps: 1e-5 }, &[1]),
    ]);
    let mut weights = reference::random_weights(&graph, 1).unwrap();
    weights.get_mut("2.var").unwrap().data[0] = -1.0;
    let error = fold_batch_norm(&graph, &weights).unwrap_err();
    assert_eq!(
        error,
        GraphError::NotFinite {
            name: "1.weight".into()
        }
    );
}
