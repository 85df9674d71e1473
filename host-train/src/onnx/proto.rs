//! The parts of an ONNX file.

use models::graph::Pads;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// What convolutions and pools have in common.
pub(super) fn window(kernel: [usize; 2], stride: usize, pads: Pads) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &kernel),
        ints("pads", &[pads.top, pads.left, pads.bottom, pads.right]),
        ints("strides", &[stride; 2]),
    ]
}

pub(super) fn initializer(
    name: &str,
    shape: &[usize],
    data_type: DataType,
    raw_data: Vec<u8>,
) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: shape.iter().map(|&side| side as i64).collect(),
        data_type: data_type as i32,
        raw_data,
        ..TensorProto::default()
    }
}

pub(super) fn float_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: kind as i32,
        ..AttributeProto::default()
    }
}

pub(super) fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        i: value as i64,
        ..attribute(name, AttributeType::Int)
    }
}

pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&value| value as i64).collect();
    AttributeProto {
        ints,
        ..attribute(name, AttributeType::Ints)
    }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: value,
        ..attribute(name, AttributeType::Float)
    }
}

/// A value of f32 with a symbolic batch before `shape`.
pub(super) fn value_info(name: &str, shape: &[usize]) -> ValueInfoProto {
    let batch = dimension::Value::DimParam("N".to_owned());
    let sides = shape
        .iter()
        .map(|&side| dimension::Value::DimValue(side as i64));
    let dim = std::iter::once(batch)
        .chain(sides)
        .map(|value| Dimension {
            value: Some(value),
            ..Dimension::default()
        })
        .collect();
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}
