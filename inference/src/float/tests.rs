//! Which operators are taken out of a graph, and what is made of them.

use kernels::float::Activation;
use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
    attribute_proto::AttributeType, tensor_proto::DataType,
};

use crate::onnx::{Onnx, Room};
use crate::region::{Region, StepOp};

use super::{F32, extract};

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        ..NodeProto::default()
    }
}

/// A 1x1 convolution of two channels.
fn conv(input: &str, output: &str) -> NodeProto {
    let mut conv = node("Conv", &[input, "weight"], output);
    conv.attribute.push(AttributeProto {
        name: "kernel_shape".to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: vec![1, 1],
        ..AttributeProto::default()
    });
    conv
}

fn constant(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: DataType::Float as i32,
        dims: dims.to_vec(),
        raw_data: values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        ..TensorProto::default()
    }
}

fn extracted(nodes: Vec<NodeProto>, outputs: &[&str]) -> (Vec<Region<F32>>, GraphProto) {
    let output = |name: &&str| ValueInfoProto {
        name: (*name).to_owned(),
        ..ValueInfoProto::default()
    };
    let graph = GraphProto {
        node: nodes,
        initializer: vec![
            constant("weight", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]),
            constant("two", &[2], &[2.0, 3.0]),
            constant("one", &[2], &[1.0, 1.0]),
        ],
        output: outputs.iter().map(output).collect(),
        ..GraphProto::default()
    };
    let model = ModelProto {
        graph: Some(graph),
        ..ModelProto::default()
    };
    let onnx = Onnx::read(&model.encode_to_vec().into()).unwrap();
    let mut graph = onnx.model.graph.unwrap();
    let regions = extract(&mut graph, &onnx.constants);
    onnx.constants.give(&mut graph).unwrap();
    (regions, graph)
}

fn operators(graph: &GraphProto) -> Vec<&str> {
    let operators = graph.node.iter().map(|node| node.op_type.as_str());
    operators.collect()
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
