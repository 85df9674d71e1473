//! Rewrites of a network: graph and weights in, graph and weights out.

mod fold;
mod group_norm;

pub use fold::fold_batch_norm;
pub use group_norm::with_group_norms;
