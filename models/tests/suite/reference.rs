//! The reference evaluator against values worked out by hand and against laws.

use models::graph::{Activation, Padding};
use models::{Graph, Node, Op, Tensor, Weights, reference};
use proptest::prelude::*;

/// One operation on an input of this shape.
fn single(input: [usize; 3], op: Op) -> Graph {
    let inputs = if op == Op::Add { vec![0, 0] } else { vec![0] };
    let node = |name: &str, op, inputs| Node {
        name: name.into(),
        op,
        inputs,
    };
    let nodes = vec![node("input", Op::Input, vec![]), node("n", op, inputs)];
    Graph {
        name: "single".into(),
        input,
        nodes,
    }
}

#[track_caller]
fn check(
    input: [usize; 3],
    op: Op,
    weights: &[(&str, &[usize], &[f32])],
    x: &[f32],
    expect: &[f32],
) {
    let tensor = |(name, shape, data): &(&str, &[usize], &[f32])| {
        (
            format!("n.{name}"),
            Tensor {
                shape: shape.to_vec(),
                data: data.to_vec(),
            },
        )
    };
    let weights: Weights = weights.iter().map(tensor).collect();
    assert_eq!(
        reference::run(&single(input, op), &weights, x).unwrap(),
        expect
    );
}

#[test]
fn convolutions_by_hand() {
    let conv = |out, kernel, stride, padding, groups, bias| Op::Conv {
        out,
        kernel,
        stride,
        padding,
        groups,
        bias,
    };
    let x = [1., 2., 3., 4., 5., 6., 7., 8., 9.];
    let k: (&str, &[usize], &[f32]) = ("weight", &[1, 1, 2, 2], &[1., 10., 100., 1000.]);
    // No padding: the kernel is not flipped.
    check(
        [1, 3, 3],
        conv(1, [2, 2], 1, Padding::all(0), 1, true),
        &[k, ("bias", &[1], &[0.5])],
        &x,
        &[5421.5, 6532.5, 8754.5, 9865.5],
    );
    // One row above, one column to the right, stride 2.
    let padding = Padding::Explicit {
        top: 1,
        left: 0,
        bottom: 0,
        right: 1,
    };
    check(
        [1, 3, 3],
        conv(1, [2, 2], 2, padding, 1, false),
        &[k],
        &x,
        &[2100., 300., 8754., 906.],
    );
    // TensorFlow's rule puts the odd zero below and to the right.
    check(
        [1, 3, 3],
        conv(1, [2, 2], 2, Padding::Same, 1, false),
        &[k],
        &x,
        &[5421., 603., 87., 9.],
    );
    // Two groups of two channels, a kernel of one row.
    check(
        [4, 1, 2],
        conv(2, [1, 2], 1, Padding::all(0), 2, false),
        &[("weight", &[2, 2, 1, 2], &[1., 2., 3., 4., 5., 6., 7., 8.])],
        &[1., 10., 100., 1000., 2., 20., 200., 2000.],
        &[21. + 4300., 130. + 17400.],
    );
}

#[test]
fn other_operations_by_hand() {
    let relu = Op::Activation(Activation::Relu);
    check([1, 1, 3], relu, &[], &[-1., 0.5, 7.], &[0., 0.5, 7.]);
    let relu6 = Op::Activation(Activation::Relu6);
    check([1, 1, 3], relu6, &[], &[-1., 0.5, 7.], &[0., 0.5, 6.]);
    check(
        [2, 1, 2],
        Op::GlobalAvgPool,
        &[],
        &[1., 2., 3., 6.],
        &[1.5, 4.5],
    );
    check([1, 1, 2], Op::Add, &[], &[1., -2.], &[2., -4.]);
    let depth = Op::StochasticDepth { p: 0.9 };
    check([1, 1, 2], depth, &[], &[1., -2.], &[1., -2.]);
    check(
        [1, 1, 2],
        Op::Dropout { p: 0.9 },
        &[],
        &[1., -2.],
        &[1., -2.],
    );
    check(
        [2, 1, 1],
        Op::BatchNorm { eps: 0.25 },
        &[
            ("weight", &[2], &[3., 1.]),
            ("bias", &[2], &[0.5, 1.]),
            ("mean", &[2], &[1., 0.]),
            ("var", &[2], &[3.75, 0.]),
        ],
        &[5., 2.],
        &[6.5, 5.],
    );
}

#[test]
fn activations_by_hand() {
    let x = [-4., -3., -1., 0., 1., 3., 4.];
    let check = |activation, expect: [f32; 7]| {
        let found = reference::run(
            &single([1, 1, 7], Op::Activation(activation)),
            &Weights::new(),
            &x,
        );
        for (found, expect) in found.unwrap().into_iter().zip(expect) {
            assert!(
                (found - expect).abs() < 1e-6,
                "{activation:?}: {found} {expect}"
            );
        }
    };
    let sigmoid = [
        0.017_986_21,
        0.047_425_87,
        0.268_941_4,
        0.5,
        0.731_058_6,
        0.952_574_1,
        0.982_013_8,
    ];
    check(Activation::Sigmoid, sigmoid);
    check(Activation::Silu, std::array::from_fn(|n| x[n] * sigmoid[n]));
    let hard = [0., 0., 1. / 3., 0.5, 2. / 3., 1., 1.];
    check(Activation::HardSigmoid, hard);
    check(
        Activation::HardSwish,
        std::array::from_fn(|n| x[n] * hard[n]),
    );
}

#[test]
fn pools_and_products_by_hand() {
    let x = [-1., -2., -3., -4., -5., -6., -7., -8., -9.];
    let pool = |kernel, stride, padding| Op::MaxPool {
        kernel,
        stride,
        padding,
    };
    let none = Padding::all(0);
    check(
        [1, 3, 3],
        pool([2, 2], 1, none),
        &[],
        &x,
        &[-1., -2., -4., -5.],
    );
    // What is padded is never the largest value.
    let one = Padding::all(1);
    check(
        [1, 3, 3],
        pool([3, 3], 2, one),
        &[],
        &x,
        &[-1., -2., -4., -5.],
    );
    check(
        [1, 3, 3],
        pool([1, 3], 2, Padding::Same),
        &[],
        &x,
        &[-1., -2., -7., -8.],
    );
    let mut graph = single([2, 1, 2], Op::GlobalAvgPool);
    graph.nodes.push(Node {
        name: "product".into(),
        op: Op::Mul,
        inputs: vec![0, 1],
    });
    let scaled = reference::run(&graph, &Weights::new(), &[1., 3., -2., 0.]).unwrap();
    assert_eq!(scaled, [2., 6., 2., 0.]);
}

#[test]
fn group_norms_by_hand() {
    let norm = Op::GroupNorm {
        groups: 2,
        eps: 0.25,
    };
    // Means 2 and 20, variances 2 and 0.
    let x = [0., 2., 2., 4., 20., 20., 20., 20.];
    let parameters: [(&str, &[usize], &[f32]); 2] = [
        ("weight", &[4], &[3., 1.5, 7., 1.]),
        ("bias", &[4], &[1., 0., 2., 3.]),
    ];
    let expect = [-3., 1., 0., 2., 2., 2., 3., 3.];
    check([4, 1, 2], norm, &parameters, &x, &expect);
}

#[test]
fn dense_layers_by_hand() {
    let mut graph = single([2, 1, 1], Op::GlobalAvgPool);
    graph.nodes.push(Node {
        name: "d".into(),
        op: Op::Dense { out: 3 },
        inputs: vec![1],
    });
    let weights = Weights::from([
        (
            "d.weight".into(),
            Tensor {
                shape: vec![3, 2],
                data: vec![1., 2., 3., 4., 5., 6.],
            },
        ),
        (
            "d.bias".into(),
            Tensor {
                shape: vec![3],
                data: vec![0.5, 0., -1.],
            },
        ),
    ]);
    let all = reference::run_all(&graph, &weights, &[1., 10.]).unwrap();
    assert_eq!(all, [vec![1., 10.], vec![1., 10.], vec![21.5, 43., 64.]]);
}

proptest! {
    /// Each output of a grouped convolution is the plain convolution of its own channels.
    #[test]
    fn groups_are_independent_convolutions(
        groups in 1usize..4, inputs in 1usize..3, outputs in 1usize..3,
        kernel in 1usize..4, stride in 1usize..3, seed: u64,
    ) {
        let conv = |out, groups| Op::Conv {
            out, kernel: [kernel; 2], stride, padding: Padding::Same, groups, bias: true,
        };
        let whole = single([groups * inputs, 6, 5], conv(groups * outputs, groups));
        let part = single([inputs, 6, 5], conv(outputs, 1));
        let weights = reference::random_weights(&whole, seed).unwrap();
        let x = reference::random_input(&whole, seed ^ 1);
        let mut joined = Vec::new();
        for group in 0..groups {
            let piece = |(name, tensor): (&String, &Tensor)| {
                let length = tensor.data.len() / groups;
                let data = tensor.data[group * length..][..length].to_vec();
                let mut shape = tensor.shape.clone();
                shape[0] = outputs;
                (name.clone(), Tensor { shape, data })
            };
            let weights = weights.iter().map(piece).collect();
            let x = &x[group * inputs * 30..][..inputs * 30];
            joined.extend(reference::run(&part, &weights, x).unwrap());
        }
        prop_assert_eq!(reference::run(&whole, &weights, &x).unwrap(), joined);
    }
}

#[test]
fn random_weights_depend_on_the_seed_only() {
    let graph = models::zoo::build("mobilenet-v2-0.35", 3, Some(32)).unwrap();
    let weights = |seed| reference::random_weights(&graph, seed).unwrap();
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
    assert_eq!(graph.check(&weights(1)), Ok(()));
}
