//! What a byte stands for.

/// Steps between the smallest and the largest byte.
const STEPS: f64 = 255.0;

/// `value = (byte - zero_point) * scale`, as in ONNX's `DequantizeLinear`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// The distance of two neighbouring values; positive.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero_point: u8,
}

impl Affine {
    /// The finest bytes that reach from `low` to `high`, and to 0, which stands for itself. What is
    /// padded is 0. The zero point is rounded, so that either end may be half a step short.
    pub fn covering([low, high]: [f32; 2]) -> Affine {
        let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
        let scale = ((high - low) / STEPS) as f32;
        if !scale.is_normal() {
            return Affine {
                scale: 1.0,
                zero_point: 0,
            };
        }
        let zero_point = (-low / f64::from(scale)).round().clamp(0.0, STEPS) as u8;
        Affine { scale, zero_point }
    }

    /// The nearest byte, halves to the even one: ONNX's `QuantizeLinear`.
    pub fn quantize(&self, value: f32) -> u8 {
        let steps = (value / self.scale).round_ties_even();
        (steps + f32::from(self.zero_point)).clamp(0.0, STEPS as f32) as u8
    }

    /// What a byte stands for.
    pub fn dequantize(&self, byte: u8) -> f32 {
        (f32::from(byte) - f32::from(self.zero_point)) * self.scale
    }

    /// What becomes of a value that goes through a byte.
    pub fn round(&self, value: f32) -> f32 {
        self.dequantize(self.quantize(value))
    }

    /// The smallest and the largest value.
    pub fn range(&self) -> [f32; 2] {
        [u8::MIN, u8::MAX].map(|byte| self.dequantize(byte))
    }
}
