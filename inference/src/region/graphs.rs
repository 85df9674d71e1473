//! Small graphs for tests.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
    attribute_proto::AttributeType, tensor_proto::DataType,
};

use crate::onnx::{Constants, Onnx};

use super::Region;

pub(crate) fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        ..NodeProto::default()
    }
}

/// A 1x1 convolution.
pub(crate) fn conv(input: &str, weight: &str, output: &str) -> NodeProto {
    let mut conv = node("Conv", &[input, weight], output);
    conv.attribute.push(AttributeProto {
        name: "kernel_shape".to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: vec![1, 1],
        ..AttributeProto::default()
    });
    conv
}

pub(crate) fn constant(name: &str, kind: DataType, dims: &[i64], raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: kind as i32,
        dims: dims.to_vec(),
        raw_data,
        ..TensorProto::default()
    }
}

pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    constant(name, DataType::Float, dims, bytes.collect())
}

/// What `extract` makes of a graph: regions, and what it leaves.
pub(crate) fn extracted<A: super::Arithmetic>(
    extract: fn(&mut GraphProto, &Constants) -> Vec<Region<A>>,
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    outputs: &[&str],
) -> (Vec<Region<A>>, GraphProto) {
    let output = |name: &&str| ValueInfoProto {
        name: (*name).to_owned(),
        ..ValueInfoProto::default()
    };
    let graph = GraphProto {
        node,
        initializer,
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

pub(crate) fn operators(graph: &GraphProto) -> Vec<&str> {
    let operators = graph.node.iter().map(|node| node.op_type.as_str());
    operators.collect()
}
