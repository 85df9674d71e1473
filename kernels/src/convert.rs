//! From `f32` to bytes and back.
//!
//! Outside, tensors are channels, rows, columns; inside, rows, columns, channels.

use crate::arch;
use crate::float::planes_of;
use crate::{Isa, Quantization, Range, Workers};

/// Pixels that are quantized at a time.
const PART: usize = 64;

/// `round(value / scale) + zero_point`, saturated: ONNX's `QuantizeLinear`.
#[inline(always)]
pub fn quantize_one(value: f32, quantization: Quantization) -> u8 {
    Range::full(quantization.zero_point).round(value / quantization.scale)
}

/// `(byte - zero_point) * scale`: ONNX's `DequantizeLinear`.
#[inline(always)]
pub fn dequantize_one(byte: u8, quantization: Quantization) -> f32 {
    let steps = i32::from(byte) - i32::from(quantization.zero_point);
    steps as f32 * quantization.scale
}

/// Quantizes `channels` planes of values to bytes with the channels of a pixel side by side.
///
/// # Panics
/// The lengths differ, or are not a multiple of `channels`.
pub fn quantize_planes(
    isa: Isa,
    values: &[f32],
    channels: usize,
    quantization: Quantization,
    output: &mut [u8],
    workers: &mut Workers,
) {
    assert!(values.len() == output.len() && values.len().is_multiple_of(channels));
    let pixels = values.len() / channels;
    let part = pixels.div_ceil(workers.count()).next_multiple_of(PART);
    workers.for_each_chunk(output, part * channels, &|index, out, _| {
        arch::vectorized(isa, || {
            for (chunk, out) in out.chunks_mut(PART * channels).enumerate() {
                let first = index * part + chunk * PART;
                let values = |channel: usize| &values[channel * pixels + first..];
                if let (3, Ok(out)) = (channels, <&mut [u8; 3 * PART]>::try_from(&mut *out)) {
                    let planes = [0, 1, 2].map(|channel| quantized(values(channel), quantization));
                    arch::interleave(isa, &planes, out);
                    continue;
                }
                for channel in 0..channels {
                    let bytes = quantized(values(channel), quantization);
                    for (pixel, byte) in out.chunks_exact_mut(channels).zip(bytes) {
                        pixel[channel] = byte;
                    }
                }
            }
        });
    });
}

/// The first values as bytes.
#[inline(always)]
fn quantized(values: &[f32], quantization: Quantization) -> [u8; PART] {
    let mut bytes = [0; PART];
    for (byte, value) in bytes.iter_mut().zip(values) {
        *byte = quantize_one(*value, quantization);
    }
    bytes
}

/// The opposite of [`quantize_planes`].
///
/// # Panics
/// The lengths differ, or are not a multiple of `channels`.
pub fn dequantize(
    bytes: &[u8],
    channels: usize,
    quantization: Quantization,
    values: &mut [f32],
    workers: &mut Workers,
) {
    assert!(values.len() == bytes.len() && values.len().is_multiple_of(channels));
    planes_of(bytes, channels, values, workers, |byte| {
        dequantize_one(byte, quantization)
    });
}
