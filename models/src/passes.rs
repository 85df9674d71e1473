//! Rewrites of a network: graph and weights in, graph and weights out.

mod fold;

pub use fold::fold_batch_norm;
