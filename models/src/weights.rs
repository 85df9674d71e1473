//! Named tensors.

use std::collections::BTreeMap;

/// Numbers in row-major order.
///
/// Nothing keeps `data` as long as `shape` says; [`Graph::check`](crate::Graph::check) verifies it
/// together with everything else.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensor {
    /// Sizes, slowest dimension first.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub data: Vec<f32>,
}

/// A network's parameters by name, as [`Graph::parameters`](crate::Graph::parameters) lists them.
///
/// Layouts: a convolution's weight is `[out, in / groups, height, width]`, a dense layer's is
/// `[out, in]`; biases and the four vectors of a batch norm are `[channels]`.
pub type Weights = BTreeMap<String, Tensor>;

impl Tensor {
    /// A tensor whose every value is `value`.
    pub fn filled(shape: &[usize], value: f32) -> Tensor {
        Tensor {
            shape: shape.to_vec(),
            data: vec![value; shape.iter().product()],
        }
    }
}
