//! Dropout with masks of our own.

use burn::tensor::{Tensor, TensorData};

use crate::random::{Purpose, generator, unit};
use crate::value::Value;

/// Where dropout masks come from: our own generator, so that every back end and every split of a
/// batch over threads drops the same values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    pub(crate) seed: u64,
    pub(crate) step: u64,
    /// The batch row that is row 0 here.
    pub(crate) first_row: usize,
}

impl Dropout {
    pub(crate) fn apply(&self, node: usize, p: f64, x: Value) -> Value {
        match x {
            Value::Map(x) => {
                let shape = x.dims();
                let mask = self.mask(node, p, shape[0], shape[1..].iter().product());
                let mask = Tensor::from_data(TensorData::new(mask, shape), &x.device());
                Value::Map(x * mask)
            }
            Value::Features(x) => {
                let shape = x.dims();
                let mask = self.mask(node, p, shape[0], shape[1]);
                let mask = Tensor::from_data(TensorData::new(mask, shape), &x.device());
                Value::Features(x * mask)
            }
        }
    }

    /// The same with one draw for all values of a row.
    pub(crate) fn apply_to_rows(&self, node: usize, p: f64, x: Value) -> Value {
        match x {
            Value::Map(x) => {
                let rows = x.dims()[0];
                let mask = TensorData::new(self.mask(node, p, rows, 1), [rows, 1, 1, 1]);
                let mask = Tensor::from_data(mask, &x.device());
                Value::Map(x * mask)
            }
            Value::Features(x) => {
                let rows = x.dims()[0];
                let mask = TensorData::new(self.mask(node, p, rows, 1), [rows, 1]);
                let mask = Tensor::from_data(mask, &x.device());
                Value::Features(x * mask)
            }
        }
    }

    pub(crate) fn mask(&self, node: usize, p: f64, rows: usize, row_len: usize) -> Vec<f32> {
        let kept = 1.0 / (1.0 - p as f32);
        let mut mask = Vec::with_capacity(rows * row_len);
        for row in self.first_row..self.first_row + rows {
            let position = [self.step, row as u64, node as u64];
            let mut rng = generator(self.seed, Purpose::Dropout, position);
            mask.extend((0..row_len).map(|_| if unit(&mut rng) < p as f32 { 0.0 } else { kept }));
        }
        mask
    }
}
