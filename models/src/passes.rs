//! Rewrites of a network: graph and weights in, graph and weights out.

mod correct;
mod equalize;
mod fold;
mod group_norm;

pub use correct::{MeanMaps, correct_bias};
pub use equalize::equalize;
pub use fold::fold_batch_norm;
pub use group_norm::with_group_norms;
