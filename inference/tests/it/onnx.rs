//! Small ONNX models and the bundles around them.

use models::{Bundle, Filter, LabelSet, Manifest, Precision, PreprocessSpec, Provenance};
use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto::Dimension, tensor_shape_proto::dimension::Value,
    type_proto,
};

/// Side of the test networks' input.
pub(crate) const SIZE: u32 = 8;

/// Three items in two categories.
pub(crate) fn labels() -> LabelSet {
    let items = [("dry", "red"), ("wet", "green"), ("wet", "blue")];
    LabelSet::new(
        "three",
        items.map(|(c, i)| (c.to_owned(), i.to_owned())).to_vec(),
    )
    .unwrap()
}

/// A bundle around `model`: values are pixel / 255, nothing is rejected.
pub(crate) fn bundle(model: &ModelProto) -> Bundle {
    let labels = labels();
    let manifest = Manifest {
        name: "test".to_owned(),
        version: 1,
        network: "test".to_owned(),
        reject_thresholds: vec![0.0; labels.categories().len()],
        labels,
        preprocess: PreprocessSpec {
            size: SIZE,
            fill: [255; 3],
            filter: Filter::Triangle,
            mean: [0.0; 3],
            std: [1.0; 3],
        },
        parameters: 12,
        macs: 12,
        precision: Precision::F32,
        accuracy: None,
        provenance: Provenance {
            data_hash: String::new(),
            config: String::new(),
            seed: 0,
            tool: "test".to_owned(),
        },
    };
    Bundle::new(manifest, model.encode_to_vec())
}

/// Logits = `gain` x mean of red, green and blue: the item is the colour of the picture.
pub(crate) fn colour_model(gain: f32) -> ModelProto {
    let identity = (0..9)
        .map(|i| if i % 4 == 0 { gain } else { 0.0 })
        .collect();
    model(
        vec![
            node("GlobalAveragePool", &["image"], "pool"),
            node("Flatten", &["pool"], "flat"),
            with_int(
                node("Gemm", &["flat", "weight", "bias"], "logits"),
                "transB",
                1,
            ),
        ],
        vec![
            tensor("weight", &[3, 3], identity),
            tensor("bias", &[3], vec![0.0; 3]),
        ],
    )
}

/// A model with the input `image` and the output `logits`.
pub(crate) fn model(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> ModelProto {
    let side = i64::from(SIZE);
    let graph = GraphProto {
        node: nodes,
        name: "test".to_owned(),
        initializer: initializers,
        input: vec![value(
            "image",
            DataType::Float,
            &[None, Some(3), Some(side), Some(side)],
        )],
        output: vec![value("logits", DataType::Float, &[None, Some(3)])],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 13,
        }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// A node with one output, named as its output.
pub(crate) fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        input: inputs.iter().map(|i| (*i).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        ..NodeProto::default()
    }
}

/// The node with an integer attribute.
pub(crate) fn with_int(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    });
    node
}

/// A tensor of f32.
pub(crate) fn tensor(name: &str, dims: &[i64], values: Vec<f32>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        float_data: values,
        ..TensorProto::default()
    }
}

/// A tensor of i64.
pub(crate) fn integers(name: &str, values: Vec<i64>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: DataType::Int64 as i32,
        int64_data: values,
        ..TensorProto::default()
    }
}

/// An input or output; `None` is the free dimension N.
pub(crate) fn value(name: &str, kind: DataType, dims: &[Option<i64>]) -> ValueInfoProto {
    let dim = |dim: &Option<i64>| Dimension {
        value: Some(dim.map_or_else(|| Value::DimParam("N".to_owned()), Value::DimValue)),
        ..Dimension::default()
    };
    let shape = TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    };
    let fact = type_proto::Tensor {
        elem_type: kind as i32,
        shape: Some(shape),
    };
    let r#type = TypeProto {
        value: Some(type_proto::Value::TensorType(fact)),
        ..TypeProto::default()
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(r#type),
        ..ValueInfoProto::default()
    }
}
