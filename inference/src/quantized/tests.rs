//! Which operators are taken out of a graph.

use std::time::Duration;

use kernels::{Isa, Workers};
use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, attribute_proto::AttributeType, tensor_proto::DataType,
};

use crate::region::graphs::{self, constant, floats, node, operators};
use crate::region::{Plan, Region, Shape, StepOp};

use super::{Int8, extract};

/// `value` quantized and dequantized again, as `value.d`.
fn around(value: &str) -> [NodeProto; 2] {
    let (q, d) = (format!("{value}.q"), format!("{value}.d"));
    [
        node("QuantizeLinear", &[value, "scale", "zero"], &q),
        node("DequantizeLinear", &[&q, "scale", "zero"], &d),
    ]
}

/// A 1x1 convolution of two channels.
fn conv(input: &str, output: &str) -> NodeProto {
    graphs::conv(input, "weight.d", output)
}

fn extracted(nodes: Vec<NodeProto>, output: &str) -> (Vec<Region<Int8>>, GraphProto) {
    let weight = ["weight", "scale", "weight.zero"];
    let mut all = vec![node("DequantizeLinear", &weight, "weight.d")];
    all.extend(nodes);
    let constants = vec![
        floats("scale", &[], &[0.5]),
        constant("zero", DataType::Uint8, &[], vec![7]),
        constant("weight", DataType::Int8, &[2, 2, 1, 1], vec![1, 2, 3, 4]),
        constant("weight.zero", DataType::Int8, &[], vec![0]),
    ];
    graphs::extracted(extract, all, constants, &[output])
}

#[test]
fn a_whole_network_becomes_one_node() {
    let mut nodes = around("image").to_vec();
    nodes.extend([conv("image.d", "c"), node("Relu", &["c"], "r")]);
    nodes.extend(around("r"));
    nodes.push(node("Add", &["r.d", "image.d"], "sum"));
    nodes.extend(around("sum"));
    let (regions, graph) = extracted(nodes, "sum.d");
    assert_eq!(operators(&graph), ["QuantizedRegion"]);
    assert!(graph.initializer.is_empty());
    let [region] = regions.as_slice() else {
        panic!("{} regions", regions.len())
    };
    assert_eq!(region.inputs, ["image"]);
    let names: Vec<&str> = region.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["image", "c", "sum"]);
    assert_eq!(region.steps[1].activation.min, 0.0);
}

#[test]
fn a_convolution_in_groups_is_computed() {
    let mut grouped = conv("image.d", "c");
    grouped.attribute.push(AttributeProto {
        name: "group".to_owned(),
        r#type: AttributeType::Int as i32,
        i: 2,
        ..AttributeProto::default()
    });
    let mut nodes = around("image").to_vec();
    nodes.push(grouped);
    nodes.extend(around("c"));
    let (regions, _) = extracted(nodes, "c.d");
    let shape = Shape::of(&[1, 4, 1, 2]).unwrap();
    let plan = Plan::new(&regions[0], &[shape], Isa::detect()).unwrap();
    let mut workers = Workers::single();
    assert_eq!(plan.outputs().next().unwrap().dims(), [1, 2, 1, 2]);
    let image = [1.0, -1.0, 2.0, 0.5, 3.0, 0.0, 4.0, 1.0];
    let mut arena = vec![0; plan.arena()];
    let mut times = [Duration::ZERO; 2];
    plan.run(&[&image], &mut arena, &mut workers, &mut times);
    let mut output = [0.0; 4];
    plan.output(0, &arena, &mut output, &mut workers);
    // Weights are 0.5 and 1 for the first two channels, 1.5 and 2 for the others.
    assert_eq!(output, [2.5, 0.0, 12.5, 2.0]);
}

#[test]
fn an_unknown_operator_splits_regions() {
    let mut nodes = around("image").to_vec();
    nodes.push(conv("image.d", "a"));
    nodes.extend(around("a"));
    nodes.push(node("Pad", &["a.d"], "outside"));
    nodes.extend(around("outside"));
    nodes.push(node("Add", &["outside.d", "a.d"], "sum"));
    nodes.extend(around("sum"));
    let (regions, graph) = extracted(nodes, "sum.d");
    assert_eq!(
        operators(&graph),
        ["QuantizedRegion", "Pad", "QuantizedRegion"]
    );
    assert_eq!(regions[0].inputs, ["image"]);
    assert_eq!(regions[1].inputs, ["outside", "a.d"]);
    assert_eq!(regions[0].outputs[0].1, "a.d");
}

#[test]
fn what_is_not_quantized_on_all_sides_stays() {
    let mut nodes = around("image").to_vec();
    nodes.push(conv("image.d", "c"));
    let (regions, graph) = extracted(nodes, "c");
    assert!(regions.is_empty());
    assert_eq!(graph.node.len(), 4);
    assert_eq!(graph.initializer.len(), 4);
}

#[test]
fn a_value_that_is_needed_as_f32_is_computed_as_f32() {
    let mut nodes = around("image").to_vec();
    nodes.push(conv("image.d", "c"));
    nodes.extend(around("c"));
    nodes.push(node("Sub", &["c", "c.d"], "difference"));
    let (regions, graph) = extracted(nodes, "difference");
    assert!(regions.is_empty(), "{regions:?}");
    assert!(operators(&graph).contains(&"Conv"));
}

#[test]
fn a_function_times_its_argument_is_one_table() {
    let mut nodes = around("image").to_vec();
    nodes.push(conv("image.d", "c"));
    nodes.extend(around("c"));
    nodes.push(node("Sigmoid", &["c.d"], "s"));
    nodes.extend(around("s"));
    nodes.push(node("Mul", &["c.d", "s.d"], "silu"));
    nodes.extend(around("silu"));
    let (regions, _) = extracted(nodes, "silu.d");
    let ops: Vec<&StepOp<Int8>> = regions[0].steps.iter().map(|step| &step.op).collect();
    assert!(matches!(
        ops[..],
        [StepOp::Enter(_), StepOp::Conv(_), StepOp::Function(_)]
    ));
}
