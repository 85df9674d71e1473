//! Biases that make up for what rounding shifts.

use std::collections::BTreeMap;

use crate::graph::{Graph, GraphError, Op, Shape};
use crate::weights::{Tensor, Weights};

/// The mean over many images of a node's output, and of the same output rounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeanMaps {
    /// Channels x height x width, or features.
    pub exact: Vec<f64>,
    /// The same after rounding.
    pub rounded: Vec<f64>,
}

/// Changes the biases of layers so that, over the images of the means, each output channel of a layer
/// with `rounded` weights and inputs has the mean that it has without (bias correction: Nagel et al.,
/// "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019; with measured means).
/// `means` has those of the nodes whose outputs the layers take; other layers stay, as do those without
/// a bias. A convolution is linear: the mean of its outputs is its output for the mean of its inputs.
///
/// # Errors
/// The graph is not valid, or either set of weights is not its own.
pub fn correct_bias(
    graph: &Graph,
    weights: &Weights,
    rounded: &Weights,
    means: &BTreeMap<usize, MeanMaps>,
) -> Result<Weights, GraphError> {
    graph.check(weights)?;
    graph.check(rounded)?;
    let shapes = graph.shapes()?;
    let mut corrected = weights.clone();
    for (index, node) in graph.nodes.iter().enumerate() {
        let [weight, bias] = ["weight", "bias"].map(|kind| format!("{}.{kind}", node.name));
        let layer = matches!(node.op, Op::Conv { .. } | Op::Dense { .. });
        let inputs = node.inputs.first().filter(|_| layer);
        let Some((input, means)) = inputs.and_then(|input| Some((input, means.get(input)?))) else {
            continue;
        };
        let Some(bias) = corrected.get_mut(&bias) else {
            continue;
        };
        let output = |map: &[f64], weight: &Tensor| {
            let seen = taps(node.op, shapes[*input], shapes[index], map);
            sums(&seen, weight, groups(node.op))
        };
        let exact = output(&means.exact, &weights[&weight]);
        let shifted = output(&means.rounded, &rounded[&weight]);
        for ((bias, exact), shifted) in bias.data.iter_mut().zip(exact).zip(shifted) {
            *bias = (f64::from(*bias) + exact - shifted) as f32;
        }
    }
    graph.check(&corrected)?;
    Ok(corrected)
}

fn groups(op: Op) -> usize {
    match op {
        Op::Conv { groups, .. } => groups,
        _ => 1,
    }
}

/// For every input channel and tap of the kernel the mean, over the output's places, of what the tap
/// sees; padding is 0.
fn taps(op: Op, from: Shape, to: Shape, map: &[f64]) -> Vec<f64> {
    let (
        Op::Conv {
            kernel,
            stride,
            padding,
            ..
        },
        Shape::Map { height, width, .. },
        Shape::Map {
            height: rows,
            width: columns,
            ..
        },
    ) = (op, from, to)
    else {
        return map.to_vec();
    };
    let pads = padding.resolve([height, width], kernel, stride);
    let mut means = Vec::new();
    for channel in map.chunks_exact(height * width) {
        for (ky, kx) in (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| (ky, kx))) {
            let place = |out: usize, tap: usize, before: usize, size: usize| {
                (out * stride + tap)
                    .checked_sub(before)
                    .filter(|place| *place < size)
            };
            let mut sum = 0.0;
            for row in (0..rows).filter_map(|row| place(row, ky, pads.top, height)) {
                let line = &channel[row * width..][..width];
                let seen = (0..columns).filter_map(|column| place(column, kx, pads.left, width));
                sum += seen.map(|column| line[column]).sum::<f64>();
            }
            means.push(sum / (rows * columns) as f64);
        }
    }
    means
}

/// Each output channel's weights times what they see.
fn sums(seen: &[f64], weight: &Tensor, groups: usize) -> Vec<f64> {
    let outputs = weight.shape[0];
    let size = weight.data.len() / outputs;
    let of_output = |(output, weights): (usize, &[f32])| {
        let group = output / (outputs / groups);
        let products = weights.iter().zip(&seen[group * size..]);
        products.map(|(w, x)| f64::from(*w) * x).sum()
    };
    weight
        .data
        .chunks_exact(size)
        .enumerate()
        .map(of_output)
        .collect()
}
