//! Where the time of a frame goes.

use std::time::{Duration, Instant};

use tract_core::plan;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::{Op, OpState};

use crate::float::F32;
use crate::quantized::Int8;
use crate::region::{Arithmetic, times};

/// What computed a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// This project's int8 kernels.
    Int8,
    /// This project's f32 kernels.
    F32,
    /// tract.
    Tract,
}

/// One layer, with what was fused into it, in one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerTime {
    /// That of the network's node; of the last one where several became one.
    pub name: String,
    /// What it computes.
    pub kind: String,
    /// What computed it.
    pub engine: Engine,
    /// Products that it sums; 0 where that is not known.
    pub products: u64,
    /// How long it took.
    pub time: Duration,
}

/// Runs one frame and writes down what each layer took, in the order in which they ran.
pub(crate) fn run(state: &mut TypedSimpleState, input: TValue) -> TractResult<Vec<LayerTime>> {
    let mut layers = Vec::new();
    state.run_plan_with_eval(tvec!(input), |context, mut state, node, inputs| {
        let start = Instant::now();
        let outputs = plan::eval(context, state.as_deref_mut(), node, inputs);
        let time = start.elapsed();
        let steps = state.and_then(|state| {
            let op = node.op.as_ref();
            let int8 = || inside::<Int8>(op, state);
            int8().or_else(|| inside::<F32>(op, state))
        });
        let (kind, engine, steps) = steps.unwrap_or_else(|| {
            let name = node.op.name().into_owned();
            (name, Engine::Tract, Vec::new())
        });
        let inside: Duration = steps.iter().map(|step| step.time).sum();
        let node = LayerTime {
            name: node.name.clone(),
            kind,
            engine,
            products: 0,
            time: time.saturating_sub(inside),
        };
        layers.extend(steps);
        layers.push(node);
        outputs
    })?;
    Ok(layers)
}

/// For a region of such an arithmetic: what is left beside its steps, what computed it, and the steps.
fn inside<A: Arithmetic>(
    op: &dyn Op,
    state: &dyn OpState,
) -> Option<(String, Engine, Vec<LayerTime>)> {
    Some((A::LEAVING.to_owned(), A::ENGINE, times::<A>(op, state)?))
}
