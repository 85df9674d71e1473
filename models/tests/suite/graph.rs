use models::graph::{Activation, Padding, Pads, Parameter, Shape};
use models::{Graph, GraphError, Node, Op, Tensor, Weights, reference};
use proptest::prelude::*;

/// A graph on an input of 4x8x8 whose nodes are called `0`, `1`, ...
pub(crate) fn graph(nodes: &[(Op, &[usize])]) -> Graph {
    let node = |(index, (op, inputs)): (usize, &(Op, &[usize]))| Node {
        name: index.to_string(),
        op: *op,
        inputs: inputs.to_vec(),
    };
    let nodes = nodes.iter().enumerate().map(node).collect();
    Graph {
        name: "test".into(),
        input: [4, 8, 8],
        nodes,
    }
}

pub(crate) fn conv(out: usize, kernel: usize, stride: usize, padding: Padding) -> Op {
    Op::Conv {
        out,
        kernel: [kernel; 2],
        stride,
        padding,
        groups: 1,
        bias: true,
    }
}

pub(crate) fn pool(kernel: usize, stride: usize, padding: Padding) -> Op {
    Op::MaxPool {
        kernel: [kernel; 2],
        stride,
        padding,
    }
}

const NONE: Padding = Padding::all(0);

#[track_caller]
fn check(nodes: &[(Op, &[usize])], expect: Result<Shape, GraphError>) {
    let last = graph(nodes).shapes().map(|shapes| *shapes.last().unwrap());
    assert_eq!(last, expect);
}

fn map(channels: usize, height: usize, width: usize) -> Shape {
    Shape::Map {
        channels,
        height,
        width,
    }
}

#[test]
fn shapes_follow_the_operations() {
    let input: (Op, &[usize]) = (Op::Input, &[]);
    check(&[input], Ok(map(4, 8, 8)));
    check(&[input, (conv(6, 3, 1, NONE), &[0])], Ok(map(6, 6, 6)));
    check(
        &[input, (conv(6, 3, 2, Padding::all(1)), &[0])],
        Ok(map(6, 4, 4)),
    );
    check(
        &[input, (conv(6, 3, 3, Padding::Same), &[0])],
        Ok(map(6, 3, 3)),
    );
    let padding = Padding::Explicit {
        top: 1,
        left: 2,
        bottom: 3,
        right: 4,
    };
    check(&[input, (conv(6, 1, 1, padding), &[0])], Ok(map(6, 12, 14)));
    check(&[input, (Op::GlobalAvgPool, &[0])], Ok(Shape::Features(4)));
    let dense = Op::Dense { out: 9 };
    check(
        &[input, (Op::GlobalAvgPool, &[0]), (dense, &[1])],
        Ok(Shape::Features(9)),
    );
    check(
        &[
            input,
            (Op::Add, &[0, 0]),
            (Op::BatchNorm { eps: 1e-3 }, &[1]),
        ],
        Ok(map(4, 8, 8)),
    );
    let relu = Op::Activation(Activation::Relu);
    check(
        &[input, (relu, &[0]), (Op::Dropout { p: 0.0 }, &[1])],
        Ok(map(4, 8, 8)),
    );
    check(
        &[input, (Op::StochasticDepth { p: 0.5 }, &[0])],
        Ok(map(4, 8, 8)),
    );
    check(
        &[input, (pool(3, 2, Padding::all(1)), &[0])],
        Ok(map(4, 4, 4)),
    );
    check(
        &[input, (pool(3, 3, Padding::Same), &[0])],
        Ok(map(4, 3, 3)),
    );
    check(
        &[input, (Op::GlobalAvgPool, &[0]), (Op::Mul, &[0, 1])],
        Ok(map(4, 8, 8)),
    );
}

#[test]
fn faults_name_the_node() {
    let node = || "1".to_string();
    let input: (Op, &[usize]) = (Op::Input, &[]);
    check(&[], Err(GraphError::Empty));
    check(
        &[(Op::GlobalAvgPool, &[])],
        Err(GraphError::MisplacedInput { node: "0".into() }),
    );
    check(
        &[input, input],
        Err(GraphError::MisplacedInput { node: node() }),
    );
    let relu = Op::Activation(Activation::Relu6);
    check(
        &[input, (relu, &[1])],
        Err(GraphError::InputOrder {
            node: node(),
            input: 1,
        }),
    );
    check(
        &[input, (relu, &[7])],
        Err(GraphError::InputOrder {
            node: node(),
            input: 7,
        }),
    );
    let count = |expected, found| {
        Err(GraphError::InputCount {
            node: node(),
            expected,
            found,
        })
    };
    check(&[input, (relu, &[])], count(1, 0));
    check(&[input, (Op::Add, &[0])], count(2, 1));
    check(
        &[input, (Op::Dense { out: 1 }, &[0])],
        Err(GraphError::InputKind {
            node: node(),
            expected: "features",
            found: map(4, 8, 8),
        }),
    );
    check(
        &[input, (Op::GlobalAvgPool, &[0]), (Op::GlobalAvgPool, &[1])],
        Err(GraphError::InputKind {
            node: "2".into(),
            expected: "a map",
            found: Shape::Features(4),
        }),
    );
    check(
        &[input, (conv(4, 3, 1, NONE), &[0]), (Op::Add, &[0, 1])],
        Err(GraphError::ShapesDiffer {
            node: "2".into(),
            left: map(4, 8, 8),
            right: map(4, 6, 6),
        }),
    );
    check(
        &[input, (conv(4, 9, 1, NONE), &[0])],
        Err(GraphError::KernelTooLarge {
            node: node(),
            padded: 8,
            kernel: 9,
        }),
    );
    check(
        &[
            input,
            (Op::GlobalAvgPool, &[0]),
            (Op::Dense { out: 5 }, &[1]),
            (Op::Mul, &[0, 2]),
        ],
        Err(GraphError::ChannelsDiffer {
            node: "3".into(),
            map: map(4, 8, 8),
            features: Shape::Features(5),
        }),
    );
    check(
        &[input, (Op::GlobalAvgPool, &[0]), (Op::Mul, &[1, 0])],
        Err(GraphError::InputKind {
            node: "2".into(),
            expected: "a map",
            found: Shape::Features(4),
        }),
    );
    check(
        &[input, (pool(9, 1, NONE), &[0])],
        Err(GraphError::KernelTooLarge {
            node: node(),
            padded: 8,
            kernel: 9,
        }),
    );
    let overflow = || Err(GraphError::Overflow { node: node() });
    check(
        &[input, (conv(4, 1, 1, Padding::all(usize::MAX)), &[0])],
        overflow(),
    );
    check(
        &[input, (conv(4, 1, 1, Padding::all(usize::MAX / 4)), &[0])],
        overflow(),
    );
    check(&[input, (conv(usize::MAX, 1, 1, NONE), &[0])], overflow());
    check(
        &[
            input,
            (Op::GlobalAvgPool, &[0]),
            (Op::Dense { out: usize::MAX }, &[1]),
        ],
        Err(GraphError::Overflow { node: "2".into() }),
    );
}

#[test]
fn counts_beyond_64_bits_are_errors() {
    let dense = Op::Dense { out: 1 << 31 };
    let mut nodes: Vec<(Op, &[usize])> = vec![(Op::Input, &[]), (Op::GlobalAvgPool, &[0])];
    nodes.push((dense, &[1]));
    for input in [&[2], &[3], &[4], &[5], &[6]] {
        nodes.push((dense, input));
    }
    let graph = graph(&nodes);
    assert!(graph.shapes().is_ok());
    let overflow = Err(GraphError::Overflow { node: "6".into() });
    assert_eq!(graph.parameter_count(), overflow);
    assert_eq!(graph.macs(), overflow);
}

#[test]
fn numbers_without_sense_are_refused() {
    let grouped = |groups, out| Op::Conv {
        out,
        kernel: [1, 1],
        stride: 1,
        padding: NONE,
        groups,
        bias: false,
    };
    for op in [
        conv(0, 1, 1, NONE),
        conv(4, 0, 1, NONE),
        conv(4, 1, 0, NONE),
        conv(4, 1, 0, Padding::Same),
        grouped(0, 4),
        grouped(3, 6),
        grouped(2, 5),
        Op::GroupNorm {
            groups: 3,
            eps: 1e-5,
        },
        Op::GroupNorm {
            groups: 0,
            eps: 1e-5,
        },
        Op::GroupNorm {
            groups: 2,
            eps: 0.0,
        },
        Op::BatchNorm { eps: 0.0 },
        Op::BatchNorm { eps: f64::NAN },
        Op::Dropout { p: 1.0 },
        Op::Dropout { p: -0.1 },
        Op::Dropout { p: f64::NAN },
        Op::StochasticDepth { p: 1.0 },
        pool(0, 1, NONE),
        pool(3, 0, NONE),
        pool(3, 1, Padding::all(3)),
    ] {
        match graph(&[(Op::Input, &[]), (op, &[0])]).shapes() {
            Err(GraphError::Value { node, .. }) => assert_eq!(node, "1"),
            other => panic!("{other:?} for {op:?}"),
        }
    }
    let mut twice = graph(&[(Op::Input, &[]), (Op::Add, &[0, 0])]);
    twice.nodes[1].name = "0".into();
    assert_eq!(
        twice.shapes(),
        Err(GraphError::DuplicateName { node: "0".into() })
    );
}

proptest! {
    #[test]
    fn same_padding_is_tensorflows(
        height in 1usize..50, width in 1usize..50, kernel in 1usize..8, stride in 1usize..5,
    ) {
        let Pads { top, left, bottom, right } =
            Padding::Same.resolve([height, width], [kernel; 2], stride);
        prop_assert!(bottom - top <= 1 && right - left <= 1);
        let mut graph = graph(&[(Op::Input, &[]), (conv(1, kernel, stride, Padding::Same), &[0])]);
        graph.input = [1, height, width];
        let expect = map(1, height.div_ceil(stride), width.div_ceil(stride));
        match graph.shapes() {
            Ok(shapes) => prop_assert_eq!(shapes[1], expect),
            // A stride over the kernel can leave the kernel no room only if there is none at all.
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

#[test]
fn same_padding_by_hand() {
    let pads = |size, kernel, stride| {
        let pads = Padding::Same.resolve([size; 2], [kernel; 2], stride);
        (pads.top, pads.bottom)
    };
    assert_eq!(pads(224, 3, 2), (0, 1));
    assert_eq!(pads(225, 3, 2), (1, 1));
    assert_eq!(pads(14, 5, 1), (2, 2));
    assert_eq!(pads(14, 5, 2), (1, 2));
    assert_eq!(pads(7, 1, 2), (0, 0));
}

/// Depthwise convolution, norm, dense: 4x8x8 to 5.
fn small() -> Graph {
    let depthwise = Op::Conv {
        out: 8,
        kernel: [3, 2],
        stride: 1,
        padding: NONE,
        groups: 4,
        bias: false,
    };
    graph(&[
        (Op::Input, &[]),
        (depthwise, &[0]),
        (Op::BatchNorm { eps: 1e-5 }, &[1]),
        (Op::GlobalAvgPool, &[2]),
        (Op::Dropout { p: 0.5 }, &[3]),
        (Op::Dropout { p: 0.5 }, &[4]),
        (Op::Dense { out: 5 }, &[5]),
    ])
}

#[test]
fn counts_by_hand() {
    let parameter = |name: &str, shape: &[usize], trained| Parameter {
        name: name.into(),
        shape: shape.to_vec(),
        trained,
    };
    let expect = [
        parameter("1.weight", &[8, 1, 3, 2], true),
        parameter("2.weight", &[8], true),
        parameter("2.bias", &[8], true),
        parameter("2.mean", &[8], false),
        parameter("2.var", &[8], false),
        parameter("6.weight", &[5, 8], true),
        parameter("6.bias", &[5], true),
    ];
    let graph = small();
    assert_eq!(graph.parameters().unwrap(), expect);
    assert_eq!(graph.parameter_count().unwrap(), 48 + 16 + 45);
    assert_eq!(graph.macs().unwrap(), 8 * 6 * 7 * 6 + 40);
}

#[test]
fn the_feature_node_is_before_dropout_and_classifier() {
    let whole = small();
    assert_eq!(whole.feature_node(), Some(3));
    assert_eq!(
        graph(&[(Op::Input, &[]), (Op::GlobalAvgPool, &[0])]).feature_node(),
        None
    );
    let prefix = whole.prefix(3);
    assert_eq!(prefix.nodes, whole.nodes[..4]);
    assert_eq!(prefix.shapes().unwrap(), whole.shapes().unwrap()[..4]);
    // What is no graph has no feature node and does not hang.
    let bad = graph(&[
        (Op::Input, &[]),
        (Op::Dropout { p: 0.1 }, &[1]),
        (Op::Dense { out: 1 }, &[1]),
    ]);
    assert_eq!(bad.feature_node(), None);
    let bad = graph(&[(Op::Input, &[]), (Op::Dense { out: 1 }, &[9])]);
    assert_eq!(bad.feature_node(), None);
}

#[test]
fn weights_are_checked_to_be_the_graphs_own() {
    let graph = small();
    let good = reference::random_weights(&graph, 1).unwrap();
    assert_eq!(graph.check(&good), Ok(()));
    let name = || "2.mean".to_string();
    let check = |change: fn(&mut Weights), expect| {
        let mut weights = good.clone();
        change(&mut weights);
        assert_eq!(graph.check(&weights), Err(expect));
    };
    check(
        |w| drop(w.remove("2.mean")),
        GraphError::MissingParameter { name: name() },
    );
    check(
        |w| drop(w.insert("3.weight".into(), Tensor::default())),
        GraphError::UnknownParameter {
            name: "3.weight".into(),
        },
    );
    check(
        |w| drop(w.insert("2.mean".into(), Tensor::filled(&[2, 4], 0.0))),
        GraphError::ParameterShape {
            name: name(),
            expected: vec![8],
            found: vec![2, 4],
        },
    );
    check(
        |w| w.get_mut("2.mean").unwrap().data.truncate(7),
        GraphError::ParameterLength {
            name: name(),
            expected: 8,
            found: 7,
        },
    );
    check(
        |w| w.get_mut("2.mean").unwrap().data[3] = f32::NAN,
        GraphError::NotFinite { name: name() },
    );
}
