//! An ONNX file as it is read: the graph, and constants whose values stay where the file has them.
//!
//! Weights are most of a file, and each is needed once, when its layer is packed: so all but the values
//! of large constants is decoded.

mod constants;
mod reader;
mod weights;

use std::io;

use models::Blob;
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};

pub(crate) use constants::{Constant, Constants};
pub(crate) use weights::{Order, Room, Weights};

use crate::InferenceError;
use reader::Reader;

/// Fields, by the numbers that ONNX gives them.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
const RAW_DATA: u32 = 9;

/// Values of fewer bytes are read with the graph.
const SMALL: usize = 4096;

/// A network as an exporter wrote it.
#[derive(Debug)]
pub(crate) struct Onnx {
    /// Without constants.
    pub(crate) model: ModelProto,
    pub(crate) constants: Constants,
}

impl Onnx {
    pub(crate) fn read(file: &Blob) -> Result<Onnx, InferenceError> {
        let refuse = |why: &str| InferenceError::Network(why.to_owned());
        Onnx::decode(file)
            .map_err(|error| refuse(&error.to_string()))?
            .ok_or_else(|| refuse("it is not an ONNX model"))
    }

    /// None where the file has no graph.
    fn decode(file: &Blob) -> io::Result<Option<Onnx>> {
        let mut reader = Reader::new(file);
        let (rest, graphs) = reader.split(0..file.len(), GRAPH)?;
        let mut model = ModelProto::decode(rest.as_slice())?;
        let [graph] = graphs.as_slice() else {
            return Ok(None);
        };
        let (rest, initializers) = reader.split(graph.clone(), INITIALIZER)?;
        let mut graph = GraphProto::decode(rest.as_slice())?;
        let mut constants = Constants::default();
        for initializer in initializers {
            let (rest, values) = reader.split(initializer, RAW_DATA)?;
            let tensor = TensorProto::decode(rest.as_slice())?;
            let values = values.last().cloned().unwrap_or_default();
            let values = if values.len() < SMALL {
                let mut bytes = Vec::new();
                reader.copy(values, &mut bytes)?;
                bytes.into()
            } else {
                file.slice(values)
            };
            constants.insert(tensor.name.clone(), Constant::new(tensor, values));
        }
        constants.take(&mut graph);
        model.graph = Some(graph);
        Ok(Some(Onnx { model, constants }))
    }
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
        let large: Vec<u8> = (0..2 * SMALL).map(|at| at as u8).collect();
        let graph = GraphProto {
            initializer: vec![tensor("a", large.clone()), tensor("b", vec![4])],
            name: "graph".to_owned(),
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            producer_name: "test".to_owned(),
            ..ModelProto::default()
        };
        let onnx = Onnx::read(&model.encode_to_vec().into()).unwrap();
        let weights = onnx.constants.get("a").unwrap().stored::<i8>().unwrap();
        assert_eq!(weights.bytes().unwrap(), large);
        let mut again = onnx.model.clone();
        assert_eq!(again.producer_name, "test");
        let graph = again.graph.as_mut().unwrap();
        assert!(graph.initializer.is_empty());
        graph.node.push(tract_onnx::pb::NodeProto {
            input: vec!["b".to_owned()],
            ..Default::default()
        });
        onnx.constants.give(graph).unwrap();
        assert_eq!(graph.initializer, [tensor("b", vec![4])]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Onnx::read(&bytes.into());
        }
    }
}
