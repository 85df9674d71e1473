//! Channels of one tensor brought to similar ranges.

use crate::graph::{Activation, Graph, GraphError, Op, Shape};
use crate::quantize::consumers;
use crate::weights::{Tensor, Weights};

/// A channel is not made to reach further than to this part of the tensor's range: photos that were not
/// measured may have larger values.
const REACH: f32 = 0.8;
/// The smallest factor of a channel.
const LEAST: f32 = 1.0 / 256.0;

/// Divides channels between two layers by factors and multiplies the second layer's weights by them,
/// so that channels with small values use more of the 8-bit steps that they share with the others
/// (cross-layer equalization: Nagel et al., "Data-Free Quantization Through Weight Equalization and
/// Bias Correction", 2019; with measured ranges, as weights have a scale per output channel here).
///
/// `peaks` has, for every node, the largest absolute value of every channel of its output. Between the
/// layers there may be what does not mind a factor: ReLU, pooling. ReLU6 does not mind either as long as
/// nothing larger than the peaks comes: its limit moves to between the channel's peak and 6.
///
/// # Errors
/// The graph is not valid, or the weights are not its own.
pub fn equalize(
    graph: &Graph,
    weights: &Weights,
    peaks: &[Vec<f32>],
) -> Result<Weights, GraphError> {
    graph.check(weights)?;
    let mut weights = weights.clone();
    for (first, tensor, second) in pairs(graph, &graph.shapes()?) {
        let factors = factors(&peaks[tensor], &gains(graph, &weights, second));
        let [weight, bias] = ["weight", "bias"].map(|kind| name(graph, first, kind));
        for name in [weight, bias] {
            if let Some(tensor) = weights.get_mut(&name) {
                by_output(tensor, &factors, |value, factor| value / factor);
            }
        }
        if let Some(tensor) = weights.get_mut(&name(graph, second, "weight")) {
            by_input(tensor, &factors, |value, factor| value * factor);
        }
    }
    graph.check(&weights)?;
    Ok(weights)
}

fn name(graph: &Graph, index: usize, kind: &str) -> String {
    format!("{}.{kind}", graph.nodes[index].name)
}

/// Layers that follow each other with nothing in between that minds a factor, and the node whose output
/// is rounded in between.
fn pairs(graph: &Graph, shapes: &[Shape]) -> Vec<(usize, usize, usize)> {
    let consumers = consumers(graph);
    let follow = |first: usize| {
        let (mut index, mut tensor) = (first, first);
        loop {
            let [next] = consumers[index][..] else {
                return None;
            };
            match graph.nodes[next].op {
                Op::Activation(Activation::Relu | Activation::Relu6) if index == first => {
                    tensor = next;
                }
                Op::MaxPool { .. } | Op::GlobalAvgPool => {}
                Op::Conv { groups, out, .. } => {
                    // Each output from all inputs, or from one of its own.
                    let alone = groups == out && groups == shapes[index].channels();
                    return (groups == 1 || alone).then_some((first, tensor, next));
                }
                Op::Dense { .. } => return Some((first, tensor, next)),
                _ => return None,
            }
            index = next;
        }
    };
    let layers = (0..graph.nodes.len())
        .filter(|&index| matches!(graph.nodes[index].op, Op::Conv { .. } | Op::Dense { .. }));
    layers.filter_map(follow).collect()
}

/// How large the weights of each input channel are, compared with the largest of the same output channel:
/// 1 where each output has an input of its own.
fn gains(graph: &Graph, weights: &Weights, layer: usize) -> Vec<f32> {
    let Some(weight) = weights.get(&name(graph, layer, "weight")) else {
        return Vec::new();
    };
    let inputs = weight.shape[1];
    if inputs == 1 {
        return vec![1.0; weight.shape[0]];
    }
    let largest = |values: &[f32]| values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let mut gains = vec![0.0f32; inputs];
    let size = weight.data.len() / weight.shape[0];
    for output in weight.data.chunks_exact(size) {
        let all = largest(output).max(f32::MIN_POSITIVE);
        for (gain, taps) in gains.iter_mut().zip(output.chunks_exact(size / inputs)) {
            *gain = gain.max(largest(taps) / all);
        }
    }
    gains
}

/// Factors in `LEAST..=1`. Where each output has its own input, small channels become as large as the
/// largest; else halfway (in the logarithm), as a small factor takes precision from the weights.
fn factors(peaks: &[f32], gains: &[f32]) -> Vec<f32> {
    let top = peaks.iter().copied().fold(0.0f32, f32::max);
    let alone = gains.iter().all(|gain| *gain == 1.0);
    let wishes: Vec<f32> = peaks
        .iter()
        .zip(gains)
        .map(|(peak, gain)| match alone {
            true => peak / top,
            false => (peak / top / gain.max(LEAST)).sqrt(),
        })
        .collect();
    let highest = wishes.iter().copied().fold(0.0f32, f32::max);
    let factor = |(wish, peak): (&f32, &f32)| {
        let least = (peak / top / REACH).max(LEAST);
        // A channel that was never seen alive stays as it is, and so do all where none was.
        match *peak > 0.0 && highest.is_normal() {
            true => (wish / highest).max(least).min(1.0),
            false => 1.0,
        }
    };
    wishes.iter().zip(peaks).map(factor).collect()
}

fn by_output(tensor: &mut Tensor, factors: &[f32], change: impl Fn(f32, f32) -> f32) {
    let size = tensor.data.len() / factors.len();
    for (values, &factor) in tensor.data.chunks_exact_mut(size).zip(factors) {
        values
            .iter_mut()
            .for_each(|value| *value = change(*value, factor));
    }
}

/// A depthwise convolution has its inputs along its outputs.
fn by_input(tensor: &mut Tensor, factors: &[f32], change: impl Fn(f32, f32) -> f32) {
    if tensor.shape[1] != factors.len() {
        return by_output(tensor, factors, change);
    }
    let size = tensor.data.len() / tensor.shape[0];
    let taps = size / factors.len();
    for output in tensor.data.chunks_exact_mut(size) {
        for (values, &factor) in output.chunks_exact_mut(taps).zip(factors) {
            values
                .iter_mut()
                .for_each(|value| *value = change(*value, factor));
        }
    }
}
