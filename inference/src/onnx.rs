//! An ONNX file as it is read: the graph, and constants whose values stay where the file has them.
//!
//! Weights are most of a file, and each is needed once, when its layer is packed: so all but the values
//! of large constants is decoded.

mod constants;
mod reader;
mod tensor;
mod weights;

use std::io;

use models::Blob;
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto};

pub(crate) use constants::{Constant, Constants};
pub(crate) use weights::{Order, Room, Weights};

use crate::InferenceError;
use reader::Reader;
use tensor::Tensors;

/// Fields, by the numbers that ONNX gives them.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
/// What is said about values inside, which follows from the input.
const VALUE_INFO: u32 = 13;

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

    /// None where the file has no graph, or more than one.
    fn decode(file: &Blob) -> io::Result<Option<Onnx>> {
        let mut reader = Reader::new(file);
        let (mut rest, mut graphs) = (Vec::new(), Vec::new());
        let mut message = 0..file.len();
        while let Some(field) = reader.next(&mut message)? {
            match field.number {
                GRAPH => graphs.push(field.value),
                _ => reader.copy(field.whole, &mut rest)?,
            }
        }
        let mut model = ModelProto::decode(rest.as_slice())?;
        let [graph] = graphs.as_mut_slice() else {
            return Ok(None);
        };
        rest.clear();
        let mut tensors = Tensors::default();
        while let Some(field) = reader.next(graph)? {
            match field.number {
                INITIALIZER => tensors.read(&mut reader, field.value)?,
                VALUE_INFO => {}
                _ => reader.copy(field.whole, &mut rest)?,
            }
        }
        let mut graph = GraphProto::decode(rest.as_slice())?;
        let mut constants = tensors.constants(file);
        constants.take(&mut graph);
        model.graph = Some(graph);
        Ok(Some(Onnx { model, constants }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Onnx::read(&bytes.into());
        }
    }
}
