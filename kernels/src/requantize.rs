//! What becomes of an integer sum: the one definition of rounding and saturation.

use crate::{KernelError, check_count};

/// `value = (q - zero_point) * scale`, as in ONNX's `DequantizeLinear`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// The distance of two neighbouring values.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero_point: u8,
}

impl Quantization {
    /// # Errors
    /// The scale is not a positive finite number.
    pub fn check(&self) -> Result<(), KernelError> {
        check_scale(self.scale)
    }
}

pub(crate) fn check_scale(scale: f32) -> Result<(), KernelError> {
    if scale.is_finite() && scale > 0.0 {
        Ok(())
    } else {
        Err(KernelError::Scale(scale.to_string()))
    }
}

/// The zero point of an output and the bytes it may have: a fused ReLU or clip narrows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The byte that stands for 0.
    pub zero_point: u8,
    /// The smallest byte.
    pub min: u8,
    /// The largest byte; not less than `min`.
    pub max: u8,
}

impl Range {
    /// All bytes.
    pub fn full(zero_point: u8) -> Range {
        let (min, max) = (u8::MIN, u8::MAX);
        Range {
            zero_point,
            min,
            max,
        }
    }

    /// `value` rounded half to even, plus the zero point, saturated.
    ///
    /// This is ONNX's `QuantizeLinear` after its division.
    #[inline(always)]
    #[allow(clippy::manual_clamp, reason = "what is not a number becomes one")]
    pub fn round(&self, value: f32) -> u8 {
        // Beyond the limits everything saturates. Within them the last bit of a number of this
        // size is 1, so the addition rounds half to even, and its bits count up from there.
        const LIMIT: f32 = 1024.0;
        const ONES: f32 = 12_582_912.0;
        let shifted = value.max(-LIMIT).min(LIMIT) + ONES;
        let bits = shifted.to_bits().cast_signed();
        let rounded = bits.wrapping_sub(ONES.to_bits().cast_signed());
        let byte = rounded.wrapping_add(self.zero_point.into());
        byte.max(self.min.into()).min(self.max.into()) as u8
    }
}

/// The end of a convolution: `round((sum + bias) as f32 * scale) + zero_point`, saturated.
///
/// With `scale = (input_scale * weight_scale) / output_scale` in `f32` this is what ONNX's
/// `DequantizeLinear`, `Conv`, `QuantizeLinear` compute, up to the rounding of `f32`. The product
/// with the scale is rounded to `f32`, then to an integer, half to even. A ReLU or clip between
/// convolution and quantization is a narrower [`Range`], because quantization is monotone.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantize {
    /// Per output channel, in units of `input_scale * weight_scale`.
    pub bias: Vec<i32>,
    /// Per output channel.
    pub scale: Vec<f32>,
    /// Zero point and limits of the output.
    pub range: Range,
}

impl Requantize {
    pub(crate) fn check(&self, channels: usize) -> Result<(), KernelError> {
        check_count("biases", channels, self.bias.len())?;
        check_count("scales", channels, self.scale.len())?;
        if self.range.min > self.range.max {
            return Err(KernelError::Shape("an output range without values"));
        }
        self.scale.iter().try_for_each(|scale| check_scale(*scale))
    }

    /// Whether sums times scales fit in 32 bits, as they do in networks.
    pub(crate) fn is_small(&self) -> bool {
        self.scale.iter().all(|scale| *scale <= 0.5)
    }

    /// With channels added up to `channels`, for vectors of full length.
    pub(crate) fn padded(&self, channels: usize) -> Requantize {
        let mut padded = self.clone();
        padded.bias.resize(channels, 0);
        padded.scale.resize(channels, 0.0);
        padded
    }

    /// What becomes of the sum of one output channel.
    #[inline]
    pub fn apply(&self, channel: usize, sum: i32) -> u8 {
        let sum = sum.wrapping_add(self.bias[channel]);
        self.range.round(sum as f32 * self.scale[channel])
    }
}
