//! The constants of an ONNX graph and the attributes of its nodes.

use std::collections::HashMap;

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::prelude::{DatumType, Tensor};
use tract_onnx::tensor::load_tensor;

/// Tensors that a graph holds, by name.
pub(crate) struct Constants<'a>(HashMap<&'a str, &'a TensorProto>);

impl<'a> Constants<'a> {
    pub(crate) fn of(graph: &'a GraphProto) -> Constants<'a> {
        let given = graph.initializer.iter().map(|t| (t.name.as_str(), t));
        let constants = graph.node.iter().filter(|node| node.op_type == "Constant");
        let made = constants.filter_map(|node| {
            let value = node.attribute.iter().find(|a| a.name == "value")?;
            Some((node.output.first()?.as_str(), value.t.as_ref()?))
        });
        Constants(given.chain(made).collect())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<Tensor> {
        load_tensor(&MmapDataResolver, self.0.get(name)?, None).ok()
    }

    /// All values of a tensor of f32.
    pub(crate) fn floats(&self, name: &str) -> Option<Vec<f32>> {
        values(&self.tensor(name)?)
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
        values(&self.tensor(name)?)
    }
}

/// All values of a tensor, if it is of that type.
pub(crate) fn values<T: tract_onnx::prelude::Datum + Copy>(tensor: &Tensor) -> Option<Vec<T>> {
    Some(
        tensor
            .try_as_plain_ram()
            .ok()?
            .as_slice::<T>()
            .ok()?
            .to_vec(),
    )
}

/// All values of a tensor of 8-bit integers, and whether they are signed.
pub(crate) fn bytes(tensor: &Tensor) -> Option<(Vec<i32>, bool)> {
    match tensor.datum_type() {
        DatumType::I8 => Some((
            values::<i8>(tensor)?.into_iter().map(i32::from).collect(),
            true,
        )),
        DatumType::U8 => Some((
            values::<u8>(tensor)?.into_iter().map(i32::from).collect(),
            false,
        )),
        _ => None,
    }
}

/// The attributes of a node, with ONNX's defaults given by the caller.
pub(crate) struct Attributes<'a>(pub(crate) &'a NodeProto);

impl Attributes<'_> {
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        let found = self.0.attribute.iter().find(|a| a.name == name);
        found.map_or(default, |a| a.i)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        let found = self.0.attribute.iter().find(|a| a.name == name);
        found.map_or(default, |a| a.f)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.attribute.iter().find(|a| a.name == name);
        found.map(|a| a.s.as_slice())
    }

    /// A list of numbers that are not negative; the default is `default` repeated.
    pub(crate) fn sizes<const N: usize>(&self, name: &str, default: usize) -> Option<[usize; N]> {
        let Some(found) = self.0.attribute.iter().find(|a| a.name == name) else {
            return Some([default; N]);
        };
        let sizes: Option<Vec<usize>> = found
            .ints
            .iter()
            .map(|n| usize::try_from(*n).ok())
            .collect();
        sizes?.try_into().ok()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.attribute.iter().any(|a| a.name == name)
    }
}
