//! The layers as ONNX defines them, value by value.

use kernels::{Image, PoolKind, Quantization, Range, Requantize, Window};

/// Rounding and saturation in plain words, in `f64` where that is exact.
pub(crate) fn round(range: Range, value: f32) -> u8 {
    let rounded = f64::from(value).round_ties_even() + f64::from(range.zero_point);
    rounded.max(range.min.into()).min(range.max.into()) as u8
}

/// The pixel of the image at row and column of the padded image, if it lies inside.
pub(crate) fn inside(image: Image, window: Window, at: [usize; 2]) -> Option<usize> {
    let y = at[0].checked_sub(window.pad_before[0])?;
    let x = at[1].checked_sub(window.pad_before[1])?;
    (y < image.height && x < image.width).then_some((y * image.width + x) * image.channels)
}

/// `weights` in the order output channel, row, column, input channel.
pub(crate) fn conv(
    input: &[u8],
    image: Image,
    window: Window,
    zero_point: u8,
    weights: &[i8],
    requantize: &Requantize,
) -> Vec<u8> {
    let channels = requantize.bias.len();
    let output = window.output(image, channels).unwrap();
    let mut bytes = Vec::new();
    for position in 0..output.pixels() {
        let (y, x) = (position / output.width, position % output.width);
        for channel in 0..channels {
            let mut sum = 0_i64;
            for row in 0..window.kernel[0] {
                for column in 0..window.kernel[1] {
                    let at = [y * window.stride[0] + row, x * window.stride[1] + column];
                    let Some(at) = inside(image, window, at) else {
                        continue;
                    };
                    let tap = (channel * window.kernel[0] + row) * window.kernel[1] + column;
                    for index in 0..image.channels {
                        let value = i64::from(input[at + index]) - i64::from(zero_point);
                        sum += value * i64::from(weights[tap * image.channels + index]);
                    }
                }
            }
            bytes.push(end(requantize, channel, sum));
        }
    }
    bytes
}

/// `weights` in the order channel, row, column.
pub(crate) fn depthwise(
    input: &[u8],
    image: Image,
    window: Window,
    zero_point: u8,
    weights: &[i8],
    requantize: &Requantize,
) -> Vec<u8> {
    let output = window.output(image, image.channels).unwrap();
    let mut bytes = Vec::new();
    for position in 0..output.pixels() {
        let (y, x) = (position / output.width, position % output.width);
        for channel in 0..image.channels {
            let mut sum = 0_i64;
            for row in 0..window.kernel[0] {
                for column in 0..window.kernel[1] {
                    let at = [y * window.stride[0] + row, x * window.stride[1] + column];
                    let Some(at) = inside(image, window, at) else {
                        continue;
                    };
                    let tap = (channel * window.kernel[0] + row) * window.kernel[1] + column;
                    let value = i64::from(input[at + channel]) - i64::from(zero_point);
                    sum += value * i64::from(weights[tap]);
                }
            }
            bytes.push(end(requantize, channel, sum));
        }
    }
    bytes
}

fn end(requantize: &Requantize, channel: usize, sum: i64) -> u8 {
    // Sums are defined modulo 2^32.
    let sum = (sum + i64::from(requantize.bias[channel])) as i32;
    round(requantize.range, sum as f32 * requantize.scale[channel])
}

pub(crate) fn pool(
    input: &[u8],
    image: Image,
    window: Window,
    kind: PoolKind,
    quantization: Quantization,
    output_scale: f32,
    range: Range,
) -> Vec<u8> {
    let output = window.output(image, image.channels).unwrap();
    let mut bytes = Vec::new();
    for position in 0..output.pixels() {
        let (y, x) = (position / output.width, position % output.width);
        for channel in 0..image.channels {
            let mut values = Vec::new();
            for row in 0..window.kernel[0] {
                for column in 0..window.kernel[1] {
                    let at = [y * window.stride[0] + row, x * window.stride[1] + column];
                    values.extend(inside(image, window, at).map(|at| input[at + channel]));
                }
            }
            let count = match kind {
                PoolKind::Max => {
                    bytes.push(values.into_iter().max().unwrap());
                    continue;
                }
                PoolKind::Average {
                    count_padding: true,
                } => window.kernel[0] * window.kernel[1],
                PoolKind::Average {
                    count_padding: false,
                } => values.len(),
            };
            let steps = |byte: u8| i32::from(byte) - i32::from(quantization.zero_point);
            let sum: i32 = values.into_iter().map(steps).sum();
            let ratio = quantization.scale / (output_scale * count as f32);
            bytes.push(round(range, sum as f32 * ratio));
        }
    }
    bytes
}
