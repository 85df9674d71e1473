//! What flows between the nodes of a network.

use burn::tensor::{Device, Tensor, TensorData};
use models::graph::Shape;
use models::quantize::Affine;

/// What flows between nodes, with the batch as first dimension.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// `[batch, channels, height, width]`
    Map(Tensor<4>),
    /// `[batch, features]`
    Features(Tensor<2>),
}

impl Value {
    /// A batch from numbers: `shape` is one sample's.
    pub(crate) fn new(data: Vec<f32>, shape: Shape, device: &Device) -> Value {
        let batch = data.len() / shape.len();
        match shape {
            Shape::Map {
                channels,
                height,
                width,
            } => {
                let data = TensorData::new(data, [batch, channels, height, width]);
                Value::Map(Tensor::from_data(data, device))
            }
            Shape::Features(features) => Value::Features(Tensor::from_data(
                TensorData::new(data, [batch, features]),
                device,
            )),
        }
    }

    /// The same value where gradients are recorded; it is a constant there.
    pub(crate) fn autodiff(self) -> Value {
        match self {
            Value::Map(x) => Value::Map(x.autodiff()),
            Value::Features(x) => Value::Features(x.autodiff()),
        }
    }

    /// What becomes of the values when they go through 8 bits. The gradient is that of limiting them to
    /// the range alone: it goes straight through the rounding (Bengio et al. 2013).
    pub(crate) fn round(self, affine: &Affine) -> Value {
        match self {
            Value::Map(x) => Value::Map(round(x, affine)),
            Value::Features(x) => Value::Features(round(x, affine)),
        }
    }

    /// The numbers of a batch.
    pub(crate) fn floats(self) -> Vec<f32> {
        match self {
            Value::Map(x) => floats(x),
            Value::Features(x) => floats(x),
        }
    }
}

fn round<const D: usize>(x: Tensor<D>, affine: &Affine) -> Tensor<D> {
    let [low, high] = affine.range();
    let steps = |x: Tensor<D>| {
        let steps = x.div_scalar(affine.scale).round();
        steps.mul_scalar(affine.scale)
    };
    let limited = x.clamp(low, high);
    if !limited.is_autodiff() {
        return steps(limited);
    }
    let exact = limited.clone().inner();
    let change = steps(exact.clone()) - exact;
    limited + change.autodiff()
}

/// A tensor's values in row-major order.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec()
        .expect("the tensors here hold f32")
}

/// The sum of two values of one shape.
pub(crate) fn add(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Map(a), Value::Map(b)) => Value::Map(a + b),
        (Value::Features(a), Value::Features(b)) => Value::Features(a + b),
        _ => unreachable!("shape inference lets only equal shapes be added"),
    }
}

/// Every channel of a map times its feature.
pub(crate) fn mul(map: Value, features: Value) -> Value {
    match (map, features) {
        (Value::Map(x), Value::Features(factors)) => {
            let [n, c] = factors.dims();
            Value::Map(x * factors.reshape([n, c, 1, 1]))
        }
        _ => unreachable!("shape inference lets only a map be multiplied by features"),
    }
}
