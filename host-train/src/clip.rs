//! Gradients that are too long.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::network::Network;
use crate::value::floats;

/// Shortens the gradients, all of them taken as one vector, to the length `longest` (Pascanu et al.
/// 2013). Gives the length that they had.
pub(crate) fn clip(network: &Network, gradients: &mut GradientsParams, longest: f64) -> f64 {
    let mut length = Length {
        gradients,
        squares: 0.0,
    };
    network.visit(&mut length);
    let length = length.squares.sqrt();
    if length > longest {
        let factor = longest / length;
        network.visit(&mut Scale { gradients, factor });
    }
    length
}

struct Length<'a> {
    gradients: &'a GradientsParams,
    squares: f64,
}

impl ModuleVisitor for Length<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            // Summed here and in order, so that the result is the same on any number of threads.
            let squares = floats(gradient).into_iter().map(|x| f64::from(x).powi(2));
            self.squares += squares.sum::<f64>();
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let shorter = gradient.mul_scalar(self.factor);
            self.gradients.register(param.id, shorter);
        }
    }
}
