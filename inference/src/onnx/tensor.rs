//! The constants of a file, of which exporters write a thousand, most of them with a single value.

use std::io;
use std::ops::Range;

use models::Blob;
use prost::Message;
use prost::encoding::WireType::LengthDelimited;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::constants::{Constant, Constants, Values};
use super::reader::Reader;

/// Fields, by the numbers that ONNX gives them.
const DIMS: u32 = 1;
const DATA_TYPE: u32 = 2;
const FLOAT_DATA: u32 = 4;
const INT32_DATA: u32 = 5;
const INT64_DATA: u32 = 7;
const NAME: u32 = 8;
const RAW_DATA: u32 = 9;
const DOC_STRING: u32 = 12;

/// Values of fewer bytes are read with the graph.
const SMALL: usize = 4096;

/// Tensors that are read one after the other.
#[derive(Default)]
pub(super) struct Tensors {
    found: Vec<(String, Head, Place)>,
    /// Those with fields that few have.
    others: Vec<(String, Constant)>,
    /// Values of all tensors that have few.
    small: Vec<u8>,
}

/// What a tensor says about its values.
#[derive(Default)]
struct Head {
    data_type: i32,
    dims: Vec<i64>,
}

/// Where the values of a tensor are, as bytes.
enum Place {
    Small(Range<usize>),
    File(Range<usize>),
}

impl Tensors {
    pub(super) fn read(
        &mut self,
        reader: &mut Reader<'_>,
        message: Range<usize>,
    ) -> io::Result<()> {
        let first = self.small.len();
        match self.plain(reader, message.clone())? {
            Some(found) => self.found.push(found),
            None => {
                self.small.truncate(first);
                let mut bytes = Vec::new();
                reader.copy(message, &mut bytes)?;
                let mut tensor = TensorProto::decode(bytes.as_slice())?;
                let name = std::mem::take(&mut tensor.name);
                self.others.push((name, Constant::of(tensor)));
            }
        }
        Ok(())
    }

    /// None where the tensor has other fields than most, or values in an unusual place.
    fn plain(
        &mut self,
        reader: &mut Reader<'_>,
        mut message: Range<usize>,
    ) -> io::Result<Option<(String, Head, Place)>> {
        let (mut name, mut head, mut place) = (String::new(), Head::default(), None);
        while let Some(field) = reader.next(&mut message)? {
            let number = field.number;
            match number {
                DIMS => reader.numbers(&field, |dim| head.dims.push(dim.cast_signed()))?,
                DATA_TYPE => reader.numbers(&field, |kind| head.data_type = kind as i32)?,
                NAME => {
                    let mut bytes = Vec::new();
                    reader.copy(field.value, &mut bytes)?;
                    let Ok(text) = String::from_utf8(bytes) else {
                        return Ok(None);
                    };
                    name = text;
                }
                DOC_STRING => {}
                _ if place.is_some() => return Ok(None),
                RAW_DATA | FLOAT_DATA if field.wire_type == LengthDelimited => {
                    if number == FLOAT_DATA && head.data_type != DataType::Float as i32 {
                        return Ok(None);
                    }
                    place = Some(self.place(reader, field.value)?);
                }
                INT32_DATA | INT64_DATA if field.wire_type == LengthDelimited => {
                    let first = self.small.len();
                    let small = &mut self.small;
                    let bytes: fn(u64, &mut Vec<u8>) = match (number, head.data_type) {
                        (INT32_DATA, 2 | 3) => |value, to| to.push(value as u8),
                        (INT32_DATA, 6) => |value, to| to.extend((value as i32).to_le_bytes()),
                        (INT64_DATA, 7) => |value, to| to.extend(value.to_le_bytes()),
                        _ => return Ok(None),
                    };
                    reader.numbers(&field, |value| bytes(value, small))?;
                    place = Some(Place::Small(first..small.len()));
                }
                _ => return Ok(None),
            }
        }
        Ok(place.map(|place| (name, head, place)))
    }

    fn place(&mut self, reader: &mut Reader<'_>, values: Range<usize>) -> io::Result<Place> {
        if values.len() >= SMALL {
            return Ok(Place::File(values));
        }
        let first = self.small.len();
        reader.copy(values, &mut self.small)?;
        Ok(Place::Small(first..self.small.len()))
    }

    /// What was read, of the file that it was read from.
    pub(super) fn constants(self, file: &Blob) -> Constants {
        let small = Blob::from(self.small);
        let found = self.found.into_iter().map(|(name, head, place)| {
            let values = match place {
                Place::Small(range) => small.slice(range),
                Place::File(range) => file.slice(range),
            };
            let Head { data_type, dims } = head;
            (name, Constant::new(data_type, dims, Values::Bytes(values)))
        });
        found.chain(self.others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

    use crate::onnx::Onnx;

    /// Reads a file of constants, and gives them back.
    fn read(initializer: Vec<TensorProto>) -> (Constants, Vec<TensorProto>) {
        let node = NodeProto {
            input: initializer
                .iter()
                .map(|tensor| tensor.name.clone())
                .collect(),
            ..NodeProto::default()
        };
        let graph = GraphProto {
            initializer,
            node: vec![node],
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            producer_name: "test".to_owned(),
            ..ModelProto::default()
        };
        let Onnx {
            mut model,
            constants,
        } = Onnx::read(&model.encode_to_vec().into()).unwrap();
        assert_eq!(model.producer_name, "test");
        let graph = model.graph.as_mut().unwrap();
        assert!(graph.initializer.is_empty());
        constants.give(graph).unwrap();
        let mut given = std::mem::take(&mut graph.initializer);
        given.sort_by(|a, b| a.name.cmp(&b.name));
        (constants, given)
    }

    fn tensor(name: &str, data_type: DataType, count: usize) -> TensorProto {
        TensorProto {
            name: name.to_owned(),
            data_type: data_type as i32,
            dims: vec![count as i64],
            ..TensorProto::default()
        }
    }

    proptest! {
        /// As bytes or as lists, few or many, values are the same, and tract gets the same.
        #[test]
        fn values_are_read_however_they_were_written(
            values in prop_oneof![vec(any::<i32>(), 1..5), vec(any::<i32>(), 1000..3000)],
        ) {
            let count = values.len();
            let floats: Vec<f32> = values.iter().map(|value| *value as f32 / 3.0).collect();
            let signed: Vec<i8> = values.iter().map(|value| *value as i8).collect();
            let unsigned: Vec<u8> = values.iter().map(|value| *value as u8).collect();
            let long: Vec<i64> = values.iter().map(|value| i64::from(*value) << 20).collect();
            let wide = |value: &i8| i32::from(*value);
            let raw = |bytes: Vec<u8>, tensor: TensorProto| TensorProto { raw_data: bytes, ..tensor };
            let bytes = |values: &[i32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let listed = vec![
                TensorProto { float_data: floats.clone(), ..tensor("a", DataType::Float, count) },
                TensorProto {
                    int32_data: signed.iter().map(wide).collect(), ..tensor("b", DataType::Int8, count)
                },
                TensorProto {
                    int32_data: unsigned.iter().map(|value| i32::from(*value)).collect(),
                    ..tensor("c", DataType::Uint8, count)
                },
                TensorProto { int32_data: values.clone(), ..tensor("d", DataType::Int32, count) },
                TensorProto { int64_data: long.clone(), ..tensor("e", DataType::Int64, count) },
                raw(bytes(&values), tensor("f", DataType::Int32, count)),
                // Two bytes each, in 32 bits; doubles.
                TensorProto { int32_data: vec![15360; count], ..tensor("g", DataType::Float16, count) },
                TensorProto { double_data: vec![0.5; count], ..tensor("h", DataType::Double, count) },
            ];
            let (constants, given) = read(listed.clone());
            let get = |name: &str| constants.get(name).unwrap();
            prop_assert_eq!(get("a").values::<f32>().unwrap(), floats);
            prop_assert_eq!(get("b").values::<i8>().unwrap(), signed);
            prop_assert_eq!(get("c").values::<u8>().unwrap(), unsigned);
            prop_assert_eq!(get("d").values::<i32>().unwrap(), values.clone());
            prop_assert_eq!(get("e").values::<i64>().unwrap(), long);
            prop_assert_eq!(get("f").values::<i32>().unwrap(), values.clone());
            prop_assert_eq!(get("d").scalar::<i32>(), (count == 1).then(|| values[0]));
            prop_assert!(get("g").values::<f32>().is_none() && get("a").values::<i32>().is_none());
            prop_assert_eq!(given.len(), 8);
            prop_assert_eq!(&given[3], &raw(bytes(&values), tensor("d", DataType::Int32, count)));
            prop_assert_eq!(&given[5..], &listed[5..]);
            prop_assert!(constants.iter().all(|(_, constant)| constant.is_inside()));
        }
    }

    #[test]
    fn a_tensor_in_another_file_is_not_inside() {
        let mut outside = tensor("a", DataType::Float, 1);
        outside.data_location = Some(1);
        let (constants, _) = read(vec![outside, tensor("b", DataType::Float, 0)]);
        assert!(!constants.get("a").unwrap().is_inside());
        assert!(constants.get("b").unwrap().is_inside());
        assert_eq!(
            constants.get("b").unwrap().values::<f32>(),
            Some(Vec::new())
        );
    }
}
