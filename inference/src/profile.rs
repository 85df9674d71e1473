//! Where the time of a frame goes.

use std::time::{Duration, Instant};

use tract_core::plan;
use tract_onnx::prelude::*;

use crate::depthwise::Planes;
use crate::quantized;

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
        let steps = state.and_then(|state| quantized::times(node.op.as_ref(), state));
        let inside: Duration = steps.iter().flatten().map(|step| step.time).sum();
        let planes = node.op_as::<Planes>();
        let (kind, engine) = match (&steps, planes) {
            (Some(_), _) => ("back to f32".to_owned(), Engine::Int8),
            (None, Some(_)) => ("depthwise".to_owned(), Engine::F32),
            (None, None) => (node.op.name().into_owned(), Engine::Tract),
        };
        let node = LayerTime {
            name: node.name.clone(),
            kind,
            engine,
            products: planes.map_or(0, |planes| planes.layer.products() as u64),
            time: time.saturating_sub(inside),
        };
        layers.extend(steps.into_iter().flatten());
        layers.push(node);
        outputs
    })?;
    Ok(layers)
}
