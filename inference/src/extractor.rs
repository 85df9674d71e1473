//! The first part of a network, for what is learned on top of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use models::Blob;
use tract_onnx::prelude::*;

use crate::quiet::quietly;
use crate::{InferenceError, network};

/// Computes features: the output of a network that ends before a classifier.
///
/// Threads may share one.
pub struct Extractor {
    plan: Arc<TypedRunnableModel>,
    /// What images are computed in: as many as there have been threads at a time.
    states: Mutex<Vec<TypedSimpleState>>,
    size: usize,
    width: usize,
}

impl Extractor {
    /// Loads the ONNX of a network from f32 `[1, 3, size, size]` to f32 `[1, width]`. An image is
    /// computed on one thread.
    ///
    /// # Errors
    /// The network is no such ONNX, or cannot be run.
    pub fn new(
        onnx: impl Into<Blob>,
        size: usize,
        width: usize,
    ) -> Result<Extractor, InferenceError> {
        let plan = network::load(&onnx.into(), size, width, 1)?;
        Ok(Extractor {
            plan,
            states: Mutex::default(),
            size,
            width,
        })
    }

    /// The number of features.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The features of a preprocessed image: channels x rows x columns.
    ///
    /// # Errors
    /// The length is not that of the network's input, or the network failed.
    pub fn features(&self, values: &[f32]) -> Result<Vec<f32>, InferenceError> {
        let expected = 3 * self.size * self.size;
        if values.len() != expected {
            let found = values.len();
            return Err(InferenceError::TensorLength { expected, found });
        }
        let run = || -> TractResult<Vec<f32>> {
            let input = Tensor::from_shape(&[1, 3, self.size, self.size], values)?;
            let idle = self.states().pop();
            let mut state = idle.map_or_else(|| self.plan.spawn(), Ok)?;
            let outputs = state.run(tvec!(input.into_tvalue()))?;
            // One in which a run broke off is not used again.
            self.states().push(state);
            let plain = outputs[0].try_as_plain_ram()?;
            Ok(plain.as_slice::<f32>()?.to_vec())
        };
        let failed = |error| InferenceError::Run(network::reason(&error));
        quietly(run).map_err(InferenceError::Run)?.map_err(failed)
    }

    fn states(&self) -> MutexGuard<'_, Vec<TypedSimpleState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
