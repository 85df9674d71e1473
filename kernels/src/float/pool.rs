//! Pooling.

use crate::pooling::{Pooling, global_average};
use crate::workers::Workers;
use crate::{Image, Isa, KernelError, PoolKind, Window};

/// The mean of each channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlobalAverage {
    isa: Isa,
    input: Image,
}

impl GlobalAverage {
    /// # Errors
    /// The image is empty or too large.
    pub fn new(isa: Isa, input: Image) -> Result<GlobalAverage, KernelError> {
        input.check()?;
        Ok(GlobalAverage { isa, input })
    }

    /// Computes one value per channel.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[f32], output: &mut [f32], workers: &mut Workers) {
        let count = self.input.pixels() as f32;
        let mean = |sum| sum / count;
        global_average(self.isa, self.input, input, output, workers, mean);
    }
}

/// Pooling in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool(Pooling);

impl Pool {
    /// # Errors
    /// The window does not fit or can lie outside the image.
    pub fn new(
        isa: Isa,
        kind: PoolKind,
        input: Image,
        window: Window,
    ) -> Result<Pool, KernelError> {
        Pooling::new(isa, kind, input, window).map(Pool)
    }

    /// The size of the output.
    pub fn output(&self) -> Image {
        self.0.output
    }

    /// Computes `output` from `input`.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[f32], output: &mut [f32], workers: &mut Workers) {
        let mean = |_, count: usize| move |sum| sum / count as f32;
        self.0.run(input, output, workers, mean);
    }
}
