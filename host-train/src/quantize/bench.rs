//! A network on the way to 8 bits, and how far it is from f32.

use std::collections::BTreeSet;

use anyhow::Result;
use models::quantize::{Affine, Scheme, quantize_weight};
use models::{Bundle, Graph, Op, Weights};

use super::observe::{decibels, powers};
use crate::export::Trained;
use crate::onnx::encode;
use crate::progress::Progress;
use crate::squares::Squares;

/// Scores below are not told apart: e^-80.
const LEAST: f32 = 1.8e-35;

/// What does not change while ways to quantize a network are compared.
pub(super) struct Bench<'a> {
    pub(super) trained: &'a Trained,
    /// Folded.
    pub(super) graph: Graph,
    /// The photos that ranges and biases follow from.
    pub(super) calibration: Squares,
    /// Those of them on which ways are compared.
    pub(super) judges: Squares,
    /// What f32 says about the judges.
    pub(super) wanted: Vec<Vec<f32>>,
}

/// A way to quantize it.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) weights: Weights,
    /// One for every node.
    pub(super) ranges: Vec<Affine>,
    /// The layers that stay f32.
    pub(super) float: BTreeSet<String>,
    /// Epochs of fine-tuning with rounding that made the weights.
    pub(super) finetuned_epochs: u32,
}

impl Bench<'_> {
    /// A bundle to measure.
    pub(super) fn bundle(&self, weights: &Weights, scheme: &Scheme) -> Result<Bundle> {
        let mut bundle = self.trained.bundle()?;
        bundle.onnx = encode(&self.graph, weights, scheme)?.into();
        Ok(bundle)
    }

    /// The scheme of a way.
    pub(super) fn scheme(&self, way: &Way) -> Scheme {
        Scheme::new(&self.graph, &way.ranges, &way.float)
    }

    /// The signal-to-noise ratio of the logits against f32, over the judges, as the bundle runs.
    pub(super) fn quality(&self, way: &Way) -> Result<f64> {
        let bundle = self.bundle(&way.weights, &self.scheme(way))?;
        let scores = self.judges.scores(&bundle, &Progress::silent())?;
        Ok(likeness(&self.wanted, &scores))
    }

    /// The part of all weights and biases that a layer's kernel is.
    pub(super) fn share_of_weights(&self, layer: usize) -> f64 {
        let weights = &self.trained.weights;
        let all: usize = weights.values().map(|tensor| tensor.data.len()).sum();
        let name = format!("{}.weight", self.graph.nodes[layer].name);
        let own = weights.get(&name).map_or(0, |tensor| tensor.data.len());
        own as f64 / all.max(1) as f64
    }

    /// The layers with weights.
    pub(super) fn layers(&self) -> Vec<usize> {
        let nodes = self.graph.nodes.iter().enumerate();
        nodes
            .filter(|(_, node)| matches!(node.op, Op::Conv { .. } | Op::Dense { .. }))
            .map(|(index, _)| index)
            .collect()
    }
}

/// The weights that the codes of 8-bit layers stand for, and the others as they are.
pub(super) fn rounded_weights(graph: &Graph, weights: &Weights, scheme: &Scheme) -> Weights {
    let mut rounded = weights.clone();
    let nodes = graph.nodes.iter().zip(&scheme.weights);
    for (node, _) in nodes.filter(|(_, in_bytes)| **in_bytes) {
        let (Some(input), [weight, bias]) = (
            scheme.tensors[node.inputs[0]],
            ["weight", "bias"].map(|kind| format!("{}.{kind}", node.name)),
        ) else {
            continue;
        };
        let bias = weights.get(&bias).map_or(&[][..], |bias| &bias.data);
        if let Some(weight) = rounded.get_mut(&weight) {
            weight.data = quantize_weight(weight, bias, input.scale).dequantize();
        }
    }
    rounded
}

/// The signal-to-noise ratio of logits in decibels, from the scores that they give: what all logits of a
/// photo have in common decides nothing and is left out.
pub(super) fn likeness(wanted: &[Vec<f32>], found: &[Vec<f32>]) -> f64 {
    let centred = |scores: &[f32]| -> Vec<f32> {
        let logits: Vec<f32> = scores.iter().map(|score| score.max(LEAST).ln()).collect();
        let mean = logits.iter().sum::<f32>() / logits.len().max(1) as f32;
        logits.iter().map(|logit| logit - mean).collect()
    };
    let pairs = wanted.iter().zip(found);
    let sums = pairs.fold([0.0; 2], |sums: [f64; 2], (wanted, found)| {
        let [signal, noise] = powers(&centred(wanted), &centred(found));
        [sums[0] + signal, sums[1] + noise]
    });
    decibels(sums[0], sums[1])
}
