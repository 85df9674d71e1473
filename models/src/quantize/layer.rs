//! The weights of one layer in 8 bits.

use crate::weights::Tensor;

/// Largest code; -128 is not used, so that weights stay symmetric.
const LARGEST: f32 = 127.0;
/// Largest bias, in units of input and weight scale; it leaves room for the products in 32 bits.
const LARGEST_BIAS: f64 = (1u64 << 29) as f64;

/// Weights as bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Codes {
    /// In the order of the weights, in `-127..=127`.
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

/// The weights of a layer as codes. `bias` (one per output channel, or none) and the scale of the
/// layer's input are needed where weights are so small that the bias would not fit into 32 bits:
/// such a channel gets a larger scale.
pub fn quantize_weight(weight: &Tensor, bias: &[f32], input_scale: f32) -> Codes {
    let channels = weight.shape.first().copied().unwrap_or(1).max(1);
    let size = (weight.data.len() / channels).max(1);
    let mut codes = Codes {
        values: Vec::with_capacity(weight.data.len()),
        scales: Vec::with_capacity(channels),
    };
    for (channel, weights) in weight.data.chunks_exact(size).enumerate() {
        let largest = weights.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let bias = bias.get(channel).copied().unwrap_or(0.0).abs();
        let least = f64::from(bias) / (LARGEST_BIAS * f64::from(input_scale));
        let scale = (largest / LARGEST).max(least as f32);
        let scale = if scale.is_normal() { scale } else { 1.0 };
        let code = |x: &f32| (x / scale).round_ties_even().clamp(-LARGEST, LARGEST) as i8;
        codes.values.extend(weights.iter().map(code));
        codes.scales.push(scale);
    }
    codes
}

/// A bias in units of `input_scale` times the scale of its channel.
pub fn quantize_bias(bias: &[f32], scales: &[f32], input_scale: f32) -> Vec<i32> {
    let unit = |scale: f32| f64::from(input_scale * scale);
    let round = |(&bias, &scale): (&f32, &f32)| (f64::from(bias) / unit(scale)).round() as i32;
    bias.iter().zip(scales).map(round).collect()
}
