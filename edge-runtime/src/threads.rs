//! The threads of the classifier, as arguments.

use std::num::NonZeroUsize;

use inference::{Classifier, InferenceError};
use models::Bundle;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ThreadArgs {
    /// Threads that one frame is classified on
    #[arg(long, value_name = "N", default_value = "1")]
    threads: NonZeroUsize,
    /// Keep these threads on cores, one each, as 2,3; their number is then that of the cores
    #[arg(
        long,
        value_name = "CORES",
        value_delimiter = ',',
        conflicts_with = "threads"
    )]
    pin: Vec<usize>,
}

impl ThreadArgs {
    pub(crate) fn classifier(&self, bundle: &Bundle) -> Result<Classifier, InferenceError> {
        if self.pin.is_empty() {
            Classifier::new(bundle, self.threads.get())
        } else {
            Classifier::pinned(bundle, &self.pin)
        }
    }
}
