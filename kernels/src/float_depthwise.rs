//! Convolution of each channel by itself, in `f32`, on planes: channels, rows, columns.
//!
//! A plane is copied into scratch memory with its padding, columns sorted by their remainder to the
//! stride, so that what neighbouring outputs need lies side by side whatever the stride.

use crate::arch::{self, FLOATS, FloatRow};
use crate::workers::Workers;
use crate::{Image, Isa, KernelError, Window};

/// A depthwise convolution of `f32`.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatDepthwise {
    isa: Isa,
    input: Image,
    output: Image,
    window: Window,
    /// Channel, row, column.
    weights: Vec<f32>,
    bias: Vec<f32>,
    /// Where in a padded plane the value under each weight lies, from that under the first one.
    offsets: Vec<usize>,
}

impl FloatDepthwise {
    /// `weights` are in the order channel, row, column.
    ///
    /// # Errors
    /// The window does not fit, or counts do not match the shape.
    pub fn new(
        isa: Isa,
        input: Image,
        window: Window,
        weights: Vec<f32>,
        bias: Vec<f32>,
    ) -> Result<FloatDepthwise, KernelError> {
        let output = window.output(input, input.channels)?;
        let taps = window.kernel[0] * window.kernel[1];
        for (what, expected, found) in [
            ("weights", taps * input.channels, weights.len()),
            ("biases", input.channels, bias.len()),
        ] {
            if expected != found {
                return Err(KernelError::Count {
                    what,
                    expected,
                    found,
                });
            }
        }
        let mut layer = FloatDepthwise {
            isa,
            input,
            output,
            window,
            weights,
            bias,
            offsets: Vec::new(),
        };
        let (stride, row) = (window.stride[1], layer.row());
        for ky in 0..window.kernel[0] {
            let columns = 0..window.kernel[1];
            let offsets = columns.map(|kx| (ky * stride + kx % stride) * row + kx / stride);
            layer.offsets.extend(offsets);
        }
        Ok(layer)
    }

    /// The size of the output.
    pub fn output(&self) -> Image {
        self.output
    }

    /// How many products one run sums.
    pub fn products(&self) -> usize {
        self.output.len() * self.window.kernel[0] * self.window.kernel[1]
    }

    /// Computes the planes of `output` from those of `input`.
    ///
    /// # Panics
    /// A length is not that of the image.
    pub fn run(&self, input: &[f32], output: &mut [f32], workers: &mut Workers) {
        assert_eq!(input.len(), self.input.len());
        assert_eq!(output.len(), self.output.len());
        let pixels = self.output.pixels();
        let planes = self.input.channels.div_ceil(4 * workers.count());
        workers.for_each_chunk(output, planes * pixels, &|part, out, scratch| {
            let padded = scratch.floats(self.padded_len());
            for (index, out) in out.chunks_exact_mut(pixels).enumerate() {
                let channel = part * planes + index;
                let plane = &input[channel * self.input.pixels()..][..self.input.pixels()];
                self.pad(plane, padded);
                self.plane(channel, padded, out);
            }
        });
    }

    /// Columns of one remainder in a padded row; whole lanes are read.
    fn row(&self) -> usize {
        let [_, stride] = self.window.stride;
        self.output.width.next_multiple_of(FLOATS) + self.window.kernel[1].div_ceil(stride)
    }

    fn padded_len(&self) -> usize {
        let rows = (self.output.height - 1) * self.window.stride[0] + self.window.kernel[0];
        rows * self.window.stride[1] * self.row()
    }

    fn pad(&self, plane: &[f32], padded: &mut [f32]) {
        let [top, left] = self.window.pad_before;
        let stride = self.window.stride[1];
        let row = self.row();
        let columns = self.input.width.min((row * stride).saturating_sub(left));
        padded.fill(0.0);
        let inside = padded.chunks_exact_mut(stride * row).skip(top);
        for (padded, values) in inside.zip(plane.chunks_exact(self.input.width)) {
            let values = &values[..columns];
            match stride {
                1 => padded[left..][..columns].copy_from_slice(values),
                2 => {
                    let (even, odd) = padded.split_at_mut(row);
                    let [first, second] = if left % 2 == 0 {
                        [even, odd]
                    } else {
                        [odd, even]
                    };
                    let [at, next] = [left / 2, left.div_ceil(2)];
                    for (to, two) in first[at..].iter_mut().zip(values.chunks(2)) {
                        *to = two[0];
                    }
                    for (to, two) in second[next..].iter_mut().zip(values.chunks_exact(2)) {
                        *to = two[1];
                    }
                }
                _ => {
                    for (column, value) in values.iter().enumerate() {
                        let at = left + column;
                        padded[at % stride * row + at / stride] = *value;
                    }
                }
            }
        }
    }

    fn plane(&self, channel: usize, padded: &[f32], out: &mut [f32]) {
        let [step, stride] = self.window.stride;
        let taps = self.offsets.len();
        let step = step * stride * self.row();
        for (y, out) in out.chunks_exact_mut(self.output.width).enumerate() {
            let row = FloatRow {
                values: &padded[y * step..],
                offsets: &self.offsets,
                weights: &self.weights[channel * taps..][..taps],
                bias: self.bias[channel],
            };
            arch::float_row(self.isa, &row, out);
        }
    }
}
