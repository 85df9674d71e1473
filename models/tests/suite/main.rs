//! Tests of the crate's public behaviour.
#![allow(clippy::unwrap_used)]

mod bundle;
mod fold;
mod graph;
mod labels;
mod preprocess;
mod quantize;
mod reference;
mod zoo;
