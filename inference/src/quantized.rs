//! Quantized networks: what runs in 8 bits instead of in tract's f32.
//!
//! An exporter writes a quantized network as QDQ: around every f32 operator stand a
//! `DequantizeLinear` per input and a `QuantizeLinear` after it. [`recognise`] finds the operators
//! whose surroundings are whole, and [`assemble`] takes them out of the ONNX graph, together, as
//! [`Region`]s; [`plan`] packs a region into the layers of `kernels` once its shapes are known; [`op`] puts it
//! into tract's graph in their place. What is not recognised stays as it was.
//!
//! ```text
//! f32 ─ Q ─ DQ ─ Conv ─ Relu ─ Q ─ DQ ─ Add ─ Q ─ DQ ─ f32    becomes    f32 ─ region ─ f32
//! ```

mod assemble;
mod constants;
mod memory;
mod op;
mod operators;
mod plan;
mod recognise;
mod region;
#[cfg(test)]
mod tests;

use kernels::KernelError;
use thiserror::Error;
use tract_onnx::pb;
use tract_onnx::tract_hir::infer::InferenceModel;

pub(crate) use op::times;
use region::Region;

/// Why a region cannot run in 8 bits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PlanError {
    #[error("{step}: {source}")]
    Kernel { step: String, source: KernelError },
    #[error("{step}: its input has another shape than it takes")]
    Shape { step: String },
}

/// Takes the quantized regions out of a model: each becomes one node, named as its region.
pub(crate) fn extract(model: &mut pb::ModelProto) -> Vec<Region> {
    match &mut model.graph {
        Some(graph) => assemble::extract(graph),
        None => Vec::new(),
    }
}

/// Gives the nodes that [`extract`] left for regions their operators, to run on `threads`.
pub(crate) fn attach(model: &mut InferenceModel, regions: Vec<Region>, threads: usize) {
    for region in regions {
        for id in 0..model.nodes().len() {
            if model.node(id).name == region.name {
                model.node_mut(id).op = op::operator(region, threads);
                break;
            }
        }
    }
}
