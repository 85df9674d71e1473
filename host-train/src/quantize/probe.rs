//! What flows through a network, seen from outside.

use std::sync::Arc;

use anyhow::Result;
use models::quantize::Scheme;
use models::{Graph, Weights};
use tract_onnx::prelude::*;

use crate::onnx::{encode, output_name, rounded_name};

/// A network in tract that gives the outputs of some of its nodes.
pub(super) struct Probe {
    model: Arc<TypedRunnableModel>,
    side: usize,
    /// Whether the input itself is wanted.
    with_input: bool,
}

impl Probe {
    /// `nodes` in rising order; what is rounded is given as it is after that.
    pub(super) fn new(
        graph: &Graph,
        weights: &Weights,
        scheme: &Scheme,
        nodes: &[usize],
    ) -> Result<Probe> {
        let onnx = encode(graph, weights, scheme)?;
        let side = graph.input[1];
        let name = |&node: &usize| match scheme.tensors[node] {
            Some(_) => rounded_name(&output_name(graph, node)),
            None => output_name(graph, node),
        };
        let inside = nodes.iter().filter(|node| **node > 0);
        let model = tract_onnx::onnx()
            .model_for_read(&mut &onnx[..])?
            .with_input_fact(0, f32::fact([1, 3, side, side]).into())?
            .with_outputs_by_name(inside.map(name))?
            .into_optimized()?
            .into_runnable()?;
        Ok(Probe {
            model,
            side,
            with_input: nodes.first() == Some(&0),
        })
    }

    /// Hands the outputs for an image to `see`, each with its place in the list of nodes.
    pub(super) fn run(&self, image: &[f32], mut see: impl FnMut(usize, &[f32])) -> Result<()> {
        let input = Tensor::from_shape(&[1, 3, self.side, self.side], image)?;
        if self.with_input {
            see(0, image);
        }
        let first = usize::from(self.with_input);
        for (place, output) in self
            .model
            .run(tvec!(input.into_tvalue()))?
            .iter()
            .enumerate()
        {
            let plain = output.try_as_plain_ram()?;
            see(first + place, plain.as_slice::<f32>()?);
        }
        Ok(())
    }
}
