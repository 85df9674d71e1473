//! Which operators are taken out of a graph, and what is made of them.

use kernels::float::Activation;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, attribute_proto::AttributeType};

use crate::onnx::Room;
use crate::region::graphs::{self, floats, node, operators};
use crate::region::{Region, StepOp};

use super::{F32, extract};

/// A 1x1 convolution of two channels.
fn conv(input: &str, output: &str) -> NodeProto {
    graphs::conv(input, "weight", output)
}

fn extracted(nodes: Vec<NodeProto>, outputs: &[&str]) -> (Vec<Region<F32>>, GraphProto) {
    let constants = vec![
        floats("weight", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]),
        floats("two", &[2], &[2.0, 3.0]),
        floats("one", &[2], &[1.0, 1.0]),
    ];
    graphs::extracted(extract, nodes, constants, outputs)
}

#[test]
fn a_residual_block_is_two_convolutions() {
    let nodes = vec![
        conv("image", "a"),
        node("Relu", &["a"], "b"),
        conv("b", "c"),
        node("Add", &["c", "b"], "sum"),
        node("Relu", &["sum"], "out"),
    ];
    let (regions, graph) = extracted(nodes, &["out"]);
    assert_eq!(operators(&graph), ["FloatRegion"]);
    assert!(graph.initializer.is_empty());
    let [region] = regions.as_slice() else {
        panic!("{} regions", regions.len())
    };
    assert_eq!(region.inputs, ["image"]);
    let [enter, first, second] = region.steps.as_slice() else {
        panic!("{region:?}")
    };
    assert!(matches!(enter.op, StepOp::Enter(0)));
    for step in [first, second] {
        assert!(matches!(step.op, StepOp::Conv(_)), "{step:?}");
        assert_eq!(step.activation, Activation::RELU);
    }
    assert_eq!(second.inputs, [first.output; 2]);
    assert_eq!(region.outputs, [(second.output, "out".to_owned())]);
}

#[test]
fn a_value_times_its_sigmoid_is_one_function() {
    for [gate, function] in [["Sigmoid", "Silu"], ["HardSigmoid", "HardSwish"]] {
        let mut gate = node(gate, &["a"], "s");
        for (name, f) in [("alpha", 1.0 / 6.0), ("beta", 0.5)] {
            gate.attribute.push(AttributeProto {
                name: name.to_owned(),
                r#type: AttributeType::Float as i32,
                f,
                ..AttributeProto::default()
            });
        }
        let nodes = vec![conv("image", "a"), gate, node("Mul", &["s", "a"], "out")];
        let (regions, _) = extracted(nodes, &["out"]);
        let [_, conv] = regions[0].steps.as_slice() else {
            panic!("{regions:?}")
        };
        assert_eq!(format!("{:?}", conv.activation), function);
    }
}

#[test]
fn a_norm_becomes_part_of_its_convolution() {
    let norm = ["a", "two", "one", "two", "one"];
    let nodes = vec![conv("image", "a"), node("BatchNormalization", &norm, "out")];
    let (regions, _) = extracted(nodes, &["out"]);
    let [_, step] = regions[0].steps.as_slice() else {
        panic!("{regions:?}")
    };
    let StepOp::Conv(conv) = &step.op else {
        panic!("{step:?}")
    };
    let mut room = Room::default();
    let weights = conv.read(&mut room).unwrap();
    for (found, expected) in weights.iter().zip([2.0, 4.0, 9.0, 12.0]) {
        assert!((found - expected).abs() < 1e-3, "{weights:?}");
    }
    for (found, expected) in conv.parameters.bias.iter().zip([-3.0, -8.0]) {
        assert!(
            (found - expected).abs() < 1e-3,
            "{:?}",
            conv.parameters.bias
        );
    }
}

#[test]
fn an_unknown_operator_splits_regions() {
    let nodes = vec![
        conv("image", "a"),
        node("Softmax", &["a"], "outside"),
        node("Add", &["outside", "a"], "sum"),
        conv("sum", "out"),
    ];
    let (regions, graph) = extracted(nodes, &["out"]);
    assert_eq!(operators(&graph), ["FloatRegion", "Softmax", "FloatRegion"]);
    assert_eq!(regions[0].inputs, ["image"]);
    assert_eq!(regions[0].outputs[0].1, "a");
    assert_eq!(regions[1].inputs, ["outside", "a"]);
}

#[test]
fn what_is_needed_elsewhere_is_not_fused_away() {
    let nodes = vec![conv("image", "a"), node("Relu", &["a"], "b")];
    let (regions, _) = extracted(nodes, &["a", "b"]);
    let names: Vec<&str> = regions[0]
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(names, ["image", "a", "b"]);
    assert_eq!(regions[0].outputs.len(), 2);
}

#[test]
fn without_a_convolution_or_with_constants_alone_all_stays() {
    let nodes = vec![
        node("Relu", &["image"], "a"),
        node("Add", &["a", "one"], "out"),
    ];
    let (regions, graph) = extracted(nodes, &["out"]);
    assert!(regions.is_empty());
    assert_eq!(operators(&graph), ["Relu", "Add"]);
    let constants: Vec<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(constants, ["one"]);
}
