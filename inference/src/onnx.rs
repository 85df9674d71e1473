//! An ONNX file as it is read: the graph, and constants whose values stay where the file has them.
//!
//! Weights are most of a file. Decoding it as a whole would copy them, tract would copy them again,
//! and layers are packed from them: so all but the values of constants is decoded.

mod constants;
mod weights;

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};

pub(crate) use constants::{Constant, Constants};
pub(crate) use weights::{Order, Weights};

use crate::InferenceError;

/// Fields, by the numbers that ONNX gives them.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
const RAW_DATA: u32 = 9;

/// A network as an exporter wrote it.
#[derive(Debug)]
pub(crate) struct Onnx {
    /// Without constants.
    pub(crate) model: ModelProto,
    pub(crate) constants: Constants,
}

impl Onnx {
    pub(crate) fn read(file: &Bytes) -> Result<Onnx, InferenceError> {
        let refuse = |why: &str| InferenceError::Network(why.to_owned());
        Onnx::decode(file)
            .map_err(|error| refuse(&error.to_string()))?
            .ok_or_else(|| refuse("it is not an ONNX model"))
    }

    /// None where the file has no graph.
    fn decode(file: &Bytes) -> Result<Option<Onnx>, prost::DecodeError> {
        let (rest, graphs) = split(file, GRAPH)?;
        let mut model = ModelProto::decode(rest.as_slice())?;
        let [graph] = graphs.as_slice() else {
            return Ok(None);
        };
        let (rest, initializers) = split(graph, INITIALIZER)?;
        let mut graph = GraphProto::decode(rest.as_slice())?;
        let mut constants = Constants::default();
        for initializer in initializers {
            let (rest, values) = split(&initializer, RAW_DATA)?;
            let tensor = TensorProto::decode(rest.as_slice())?;
            let values = values.last().cloned().unwrap_or_default();
            constants.insert(tensor.name.clone(), Constant::new(tensor, values));
        }
        constants.take(&mut graph);
        model.graph = Some(graph);
        Ok(Some(Onnx { model, constants }))
    }
}

/// The values of the fields of this number, and the bytes of all others.
fn split(message: &Bytes, field: u32) -> Result<(Vec<u8>, Vec<Bytes>), prost::DecodeError> {
    let mut left = message.clone();
    let (mut rest, mut found) = (Vec::new(), Vec::new());
    while left.has_remaining() {
        let start = left.clone();
        let (number, wire_type) = decode_key(&mut left)?;
        let length = match wire_type {
            WireType::Varint => {
                decode_varint(&mut left)?;
                0
            }
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::LengthDelimited => decode_varint(&mut left)?,
            // ONNX has none; whoever decodes the rest refuses them.
            WireType::StartGroup | WireType::EndGroup => 0,
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // What is cut short is refused by whoever decodes the rest.
        let value = left.split_to(length.min(left.len()));
        if number == field && wire_type == WireType::LengthDelimited && value.len() == length {
            found.push(value);
        } else {
            rest.extend_from_slice(&start[..start.len() - left.len()]);
        }
    }
    Ok((rest, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tract_onnx::pb::tensor_proto::DataType;

    fn tensor(name: &str, raw_data: Vec<u8>) -> TensorProto {
        TensorProto {
            name: name.to_owned(),
            data_type: DataType::Int8 as i32,
            dims: vec![raw_data.len() as i64],
            raw_data,
            ..TensorProto::default()
        }
    }

    #[test]
    fn values_of_constants_stay_in_the_file() {
        let graph = GraphProto {
            initializer: vec![tensor("a", vec![1, 2, 3]), tensor("b", vec![4])],
            name: "graph".to_owned(),
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            producer_name: "test".to_owned(),
            ..ModelProto::default()
        };
        let file = Bytes::from(model.encode_to_vec());
        let onnx = Onnx::read(&file).unwrap();
        let weights = onnx.constants.get("a").unwrap().stored::<i8>().unwrap();
        assert_eq!(weights, [1, 2, 3][..]);
        assert!(file.as_ptr_range().contains(&weights.as_ptr()));
        let mut again = onnx.model.clone();
        assert_eq!(again.producer_name, "test");
        let graph = again.graph.as_mut().unwrap();
        assert!(graph.initializer.is_empty());
        graph.node.push(tract_onnx::pb::NodeProto {
            input: vec!["b".to_owned()],
            ..Default::default()
        });
        onnx.constants.give(graph);
        assert_eq!(graph.initializer, [tensor("b", vec![4])]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let file = Bytes::from(bytes);
            if let Ok((rest, found)) = split(&file, GRAPH) {
                let found: usize = found.iter().map(Bytes::len).sum();
                prop_assert!(rest.len() + found <= file.len());
            }
            let _ = Onnx::read(&file);
        }
    }
}
