//! The constants of an ONNX graph.

use std::io;

use foldhash::{HashMap, HashSet};
use models::Blob;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{GraphProto, TensorProto};

/// Tensors that a graph holds, by name.
#[derive(Debug, Default)]
pub(crate) struct Constants(HashMap<String, Constant>);

/// A tensor.
#[derive(Debug)]
pub(crate) struct Constant {
    data_type: i32,
    dims: Vec<i64>,
    values: Values,
}

#[derive(Debug)]
pub(super) enum Values {
    /// One after the other, little endian.
    Bytes(Blob),
    /// Of a type, or in a place, that nothing but tract reads.
    Other(Box<TensorProto>),
}

/// A type of values.
pub(crate) trait Value: Copy + Default {
    const TYPE: DataType;
    type Bytes: Default + AsMut<[u8]>;
    fn of(bytes: Self::Bytes) -> Self;
    /// The bytes of all values of a tensor that lists them.
    fn listed(tensor: &TensorProto) -> Vec<u8>;
}

macro_rules! value {
    ($type:ty, $kind:ident, $list:ident) => {
        impl Value for $type {
            const TYPE: DataType = DataType::$kind;
            type Bytes = [u8; size_of::<$type>()];

            fn of(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }

            fn listed(tensor: &TensorProto) -> Vec<u8> {
                let values = tensor.$list.iter();
                values
                    .flat_map(|value| (*value as $type).to_le_bytes())
                    .collect()
            }
        }
    };
}

value!(i8, Int8, int32_data);
value!(u8, Uint8, int32_data);
value!(i32, Int32, int32_data);
value!(i64, Int64, int64_data);
value!(f32, Float, float_data);

impl FromIterator<(String, Constant)> for Constants {
    fn from_iter<I: IntoIterator<Item = (String, Constant)>>(constants: I) -> Constants {
        Constants(constants.into_iter().collect())
    }
}

impl Constants {
    /// Takes the nodes that make constants out of a graph, and its inputs that are some.
    pub(super) fn take(&mut self, graph: &mut GraphProto) {
        graph.node.retain_mut(|node| {
            if node.op_type != "Constant" {
                return true;
            }
            let value = node.attribute.iter_mut().find(|a| a.name == "value");
            let (Some(tensor), [name]) = (value.and_then(|a| a.t.take()), node.output.as_slice())
            else {
                return true;
            };
            self.0.insert(name.clone(), Constant::of(tensor));
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
        let tensors = used.map(|(name, constant)| constant.tensor(name.clone()));
        graph.initializer = tensors.collect::<io::Result<_>>()?;
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Constant> {
        self.0.get(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Constant)> {
        let constants = self.0.iter();
        constants.map(|(name, constant)| (name.as_str(), constant))
    }

    /// All values of a tensor of f32.
    pub(crate) fn floats(&self, name: &str) -> Option<Vec<f32>> {
        self.get(name)?.values()
    }

    /// The only value of a tensor of f32.
    pub(crate) fn float(&self, name: &str) -> Option<f32> {
        self.get(name)?.scalar()
    }

    /// All values of a tensor of i64.
    pub(crate) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        self.get(name)?.values()
    }
}

impl Constant {
    pub(super) fn new(data_type: i32, dims: Vec<i64>, values: Values) -> Constant {
        Constant {
            data_type,
            dims,
            values,
        }
    }

    pub(crate) fn of(mut tensor: TensorProto) -> Constant {
        let listed = || {
            Some(match DataType::try_from(tensor.data_type).ok()? {
                DataType::Int8 => i8::listed(&tensor),
                DataType::Uint8 => u8::listed(&tensor),
                DataType::Int32 => i32::listed(&tensor),
                DataType::Int64 => i64::listed(&tensor),
                DataType::Float => f32::listed(&tensor),
                _ => return None,
            })
        };
        let (data_type, dims) = (tensor.data_type, tensor.dims.clone());
        let values = if !is_inside(&tensor) {
            None
        } else if tensor.raw_data.is_empty() {
            listed()
        } else {
            Some(std::mem::take(&mut tensor.raw_data))
        };
        let values = match values {
            Some(bytes) => Values::Bytes(bytes.into()),
            None => Values::Other(Box::new(tensor)),
        };
        Constant::new(data_type, dims, values)
    }

    fn tensor(&self, name: String) -> io::Result<TensorProto> {
        Ok(match &self.values {
            Values::Bytes(bytes) => TensorProto {
                name,
                data_type: self.data_type,
                dims: self.dims.clone(),
                raw_data: bytes.bytes()?,
                ..TensorProto::default()
            },
            Values::Other(tensor) => TensorProto {
                name,
                ..TensorProto::clone(tensor)
            },
        })
    }

    /// Whether the file has the values, and not another one beside it.
    pub(crate) fn is_inside(&self) -> bool {
        match &self.values {
            Values::Bytes(_) => true,
            Values::Other(tensor) => is_inside(tensor),
        }
    }

    /// As the file says them.
    pub(crate) fn stated_dims(&self) -> &[i64] {
        &self.dims
    }

    pub(crate) fn dims(&self) -> Option<Vec<usize>> {
        let dims = self.dims.iter();
        dims.map(|dim| usize::try_from(*dim).ok()).collect()
    }

    /// The bytes of all values, if they are of that type and as many as the dimensions say.
    pub(crate) fn stored<T: Value>(&self) -> Option<&Blob> {
        let Values::Bytes(bytes) = &self.values else {
            return None;
        };
        let mut dims = self.dims.iter();
        let expected = dims.try_fold(size_of::<T>(), |product, dim| {
            product.checked_mul(usize::try_from(*dim).ok()?)
        });
        let fits = self.data_type == T::TYPE as i32 && expected == Some(bytes.len());
        fits.then_some(bytes)
    }

    /// All values, if they are of that type.
    pub(crate) fn values<T: Value>(&self) -> Option<Vec<T>> {
        let bytes = self.stored::<T>()?.bytes().ok()?;
        let values = bytes.chunks_exact(size_of::<T>()).map(|bytes| {
            let mut value = T::Bytes::default();
            value.as_mut().copy_from_slice(bytes);
            T::of(value)
        });
        Some(values.collect())
    }

    /// The only value, if there is one of that type.
    pub(crate) fn scalar<T: Value>(&self) -> Option<T> {
        let bytes = self.stored::<T>()?;
        let mut value = T::Bytes::default();
        let only = bytes.len() == size_of::<T>();
        (only && bytes.read_at(0, value.as_mut()).is_ok()).then(|| T::of(value))
    }

    /// All values of a tensor of 8-bit integers as `u8`: what is signed gets 128 added.
    pub(crate) fn eight_bit(&self) -> Option<Vec<u8>> {
        match self.stored::<i8>() {
            Some(signed) => {
                let mut bytes = signed.bytes().ok()?;
                bytes.iter_mut().for_each(|byte| *byte ^= 0x80);
                Some(bytes)
            }
            None => self.stored::<u8>()?.bytes().ok(),
        }
    }
}

fn is_inside(tensor: &TensorProto) -> bool {
    tensor.data_location() == DataLocation::Default && tensor.external_data.is_empty()
}
