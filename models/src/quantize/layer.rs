//! The weights of one layer in 8 bits.

use crate::weights::Tensor;

/// Largest code; -128 is not used, so that weights stay symmetric.
const LARGEST: f32 = 127.0;
/// Largest code of layers that sum over channels. On x86-64 without VNNI runtimes add two products of a
/// `u8` and an `i8` in 16 bits, saturated: 2 * 255 * 64 fits, 2 * 255 * 127 does not.
const LARGEST_IN_PAIRS: f32 = 64.0;
/// Largest bias, in units of input and weight scale; it leaves room for the products in 32 bits.
const LARGEST_BIAS: f64 = (1u64 << 29) as f64;

/// Weights as bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Codes {
    /// In the order of the weights, in `-127..=127`; in `-64..=64` where several channels are summed, so
    /// that every runtime computes the same.
    pub values: Vec<i8>,
    /// Per output channel, the first dimension: `weight = value * scale`.
    pub scales: Vec<f32>,
}

impl Codes {
    /// The weights that the codes stand for.
    pub fn dequantize(&self) -> Vec<f32> {
        let size = (self.values.len() / self.scales.len().max(1)).max(1);
        let channels = self.values.chunks_exact(size).zip(&self.scales);
        channels
            .flat_map(|(values, scale)| values.iter().map(move |&value| f32::from(value) * scale))
            .collect()
    }
}

/// The weights of a layer as codes, each rounded to one of its two neighbours: the nearest, but so that
/// the codes of a kernel (one input channel of one output channel) sum up to the rounded sum of its
/// weights. Neighbouring pixels are alike, and what they have in common is then kept. `bias` (one per output channel, or none) and the scale of the
/// layer's input are needed where weights are so small that the bias would not fit into 32 bits:
/// such a channel gets a larger scale.
pub fn quantize_weight(weight: &Tensor, bias: &[f32], input_scale: f32) -> Codes {
    let channels = weight.shape.first().copied().unwrap_or(1).max(1);
    let size = (weight.data.len() / channels).max(1);
    let taps = weight.shape.iter().skip(2).product::<usize>().max(1);
    let limit = match weight.shape.get(1) {
        Some(1) => LARGEST,
        _ => LARGEST_IN_PAIRS,
    };
    let mut codes = Codes {
        values: Vec::with_capacity(weight.data.len()),
        scales: Vec::with_capacity(channels),
    };
    for (channel, weights) in weight.data.chunks_exact(size).enumerate() {
        let largest = weights.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let bias = bias.get(channel).copied().unwrap_or(0.0).abs();
        let least = f64::from(bias) / (LARGEST_BIAS * f64::from(input_scale));
        let scale = (largest / limit).max(least as f32);
        let scale = if scale.is_normal() { scale } else { 1.0 };
        for kernel in weights.chunks_exact(taps) {
            codes.values.extend(round_together(kernel, scale, limit));
        }
        codes.scales.push(scale);
    }
    codes
}

/// Codes within `limit`, which sum up to the rounded sum of the weights as far as that is possible with
/// each code next to its weight.
fn round_together(kernel: &[f32], scale: f32, limit: f32) -> Vec<i8> {
    let exact: Vec<f32> = kernel.iter().map(|x| x / scale).collect();
    let mut codes: Vec<f32> = exact
        .iter()
        .map(|x| x.round_ties_even().clamp(-limit, limit))
        .collect();
    let sum = |values: &[f32]| values.iter().sum::<f32>();
    let missing = (sum(&exact) - sum(&codes)).round_ties_even();
    let step = missing.signum();
    // Those that lost most in this direction go first.
    let lost = |index: usize, codes: &[f32]| (exact[index] - codes[index]) * step;
    let mut order: Vec<usize> = (0..codes.len()).collect();
    order.sort_by(|&a, &b| lost(b, &codes).total_cmp(&lost(a, &codes)));
    for index in order.into_iter().take(missing.abs() as usize) {
        let other = codes[index] + step;
        if lost(index, &codes) > 0.0 && other.abs() <= limit {
            codes[index] = other;
        }
    }
    codes.into_iter().map(|code| code as i8).collect()
}

/// A bias in units of `input_scale` times the scale of its channel.
pub fn quantize_bias(bias: &[f32], scales: &[f32], input_scale: f32) -> Vec<i32> {
    let unit = |scale: f32| f64::from(input_scale * scale);
    let round = |(&bias, &scale): (&f32, &f32)| (f64::from(bias) / unit(scale)).round() as i32;
    bias.iter().zip(scales).map(round).collect()
}
