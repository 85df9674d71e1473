//! The constants of an ONNX graph.

use std::collections::{HashMap, HashSet};
use std::io;

use models::Blob;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, TensorProto};

/// Tensors that a graph holds, by name.
#[derive(Debug, Default)]
pub(crate) struct Constants(HashMap<String, Constant>);

/// A tensor whose values lie in the file where the exporter wrote bytes.
#[derive(Debug)]
pub(crate) struct Constant {
    /// Without those bytes.
    tensor: TensorProto,
    bytes: Blob,
}

/// A type of values.
pub(crate) trait Value: Copy + Default {
    const TYPE: DataType;
    type Bytes: for<'a> TryFrom<&'a [u8], Error: std::fmt::Debug> + AsRef<[u8]>;
    fn of(bytes: Self::Bytes) -> Self;
    fn bytes(self) -> Self::Bytes;
    /// Of a tensor whose values were not written as bytes.
    fn listed(tensor: &TensorProto) -> Vec<Self>;
}

macro_rules! value {
    ($type:ty, $kind:ident, $list:ident) => {
        impl Value for $type {
            const TYPE: DataType = DataType::$kind;
            type Bytes = [u8; size_of::<$type>()];

            fn of(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }

            fn bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            fn listed(tensor: &TensorProto) -> Vec<Self> {
                tensor.$list.iter().map(|value| *value as $type).collect()
            }
        }
    };
}

value!(i8, Int8, int32_data);
value!(u8, Uint8, int32_data);
value!(i32, Int32, int32_data);
value!(i64, Int64, int64_data);
value!(f32, Float, float_data);

impl Constants {
    pub(super) fn insert(&mut self, name: String, constant: Constant) {
        self.0.insert(name, constant);
    }

    /// Takes the nodes that make constants out of a graph, and its inputs that are some.
    pub(super) fn take(&mut self, graph: &mut GraphProto) {
        graph.node.retain_mut(|node| {
            let value = node.attribute.iter_mut().find(|a| a.name == "value");
            let value = value.filter(|_| node.op_type == "Constant");
            let (Some(tensor), [name]) = (value.and_then(|a| a.t.take()), node.output.as_slice())
            else {
                return true;
            };
            self.insert(name.clone(), Constant::whole(tensor));
            false
        });
        graph.input.retain(|input| !self.has(&input.name));
    }

    /// Puts the constants that a graph uses into it.
    pub(crate) fn give(&self, graph: &mut GraphProto) -> io::Result<()> {
        let used = graph.node.iter().flat_map(|node| &node.input);
        let used = used.chain(graph.output.iter().map(|output| &output.name));
        let used: HashSet<&String> = used.collect();
        let used = used
            .into_iter()
            .filter_map(|name| Some((name, self.get(name)?)));
        let tensors = used.map(|(name, constant)| {
            Ok(TensorProto {
                name: name.clone(),
                raw_data: constant.bytes.bytes()?,
                ..constant.tensor.clone()
            })
        });
        graph.initializer = tensors.collect::<io::Result<_>>()?;
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Constant> {
        self.0.get(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &TensorProto)> {
        let constants = self.0.iter();
        constants.map(|(name, constant)| (name.as_str(), &constant.tensor))
    }

    /// All values of a tensor of f32.
    pub(crate) fn floats(&self, name: &str) -> Option<Vec<f32>> {
        self.get(name)?.values()
    }

    /// The only value of a tensor of f32.
    pub(crate) fn float(&self, name: &str) -> Option<f32> {
        match self.floats(name)?.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// All values of a tensor of i64.
    pub(crate) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        self.get(name)?.values()
    }
}

impl Constant {
    pub(super) fn new(tensor: TensorProto, bytes: Blob) -> Constant {
        Constant { tensor, bytes }
    }

    fn whole(mut tensor: TensorProto) -> Constant {
        let bytes = std::mem::take(&mut tensor.raw_data);
        Constant::new(tensor, bytes.into())
    }

    pub(crate) fn dims(&self) -> Option<Vec<usize>> {
        let dims = self.tensor.dims.iter();
        dims.map(|dim| usize::try_from(*dim).ok()).collect()
    }

    /// The bytes of all values, if they are of that type and as many as the dimensions say.
    pub(crate) fn stored<T: Value>(&self) -> Option<Blob> {
        if self.tensor.data_type != T::TYPE as i32 {
            return None;
        }
        let bytes = if self.bytes.is_empty() {
            let listed = T::listed(&self.tensor).into_iter().map(T::bytes);
            let bytes: Vec<u8> = listed.flat_map(|bytes| bytes.as_ref().to_vec()).collect();
            bytes.into()
        } else {
            self.bytes.clone()
        };
        let dims = self.dims()?;
        let expected = dims
            .iter()
            .try_fold(size_of::<T>(), |product, dim| product.checked_mul(*dim));
        (expected == Some(bytes.len())).then_some(bytes)
    }

    /// All values, if they are of that type.
    pub(crate) fn values<T: Value>(&self) -> Option<Vec<T>> {
        let bytes = self.stored::<T>()?.bytes().ok()?;
        let mut values = Vec::with_capacity(bytes.len() / size_of::<T>());
        for bytes in bytes.chunks_exact(size_of::<T>()) {
            values.push(T::of(T::Bytes::try_from(bytes).ok()?));
        }
        Some(values)
    }

    /// All values of a tensor of 8-bit integers, and whether they are signed.
    pub(crate) fn eight_bit(&self) -> Option<(Vec<i32>, bool)> {
        let wide = |signed: Vec<i8>| signed.into_iter().map(i32::from).collect();
        match self.values::<i8>() {
            Some(signed) => Some((wide(signed), true)),
            None => {
                let unsigned = self.values::<u8>()?;
                Some((unsigned.into_iter().map(i32::from).collect(), false))
            }
        }
    }
}
