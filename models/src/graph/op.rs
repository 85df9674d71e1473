//! The operations that networks are made of.

/// What a node computes. "Map" is channels x height x width, "features" a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// The network's input, a map of shape [`Graph::input`].
    Input,
    /// Two-dimensional convolution (cross-correlation, as everywhere in this field): map to map.
    /// Parameters: `weight` `[out, in / groups, height, width]` and, if `bias`, `bias` `[out]`.
    Conv {
        /// Output channels.
        out: usize,
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Step of the kernel, the same in both directions.
        stride: usize,
        /// Zeros put around the input.
        padding: Padding,
        /// Channels are split into so many independent convolutions.
        groups: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Batch normalisation (Ioffe and Szegedy 2015), map to map:
    /// `(x - mean) / sqrt(var + eps) * weight + bias`, each parameter `[channels]`.
    BatchNorm {
        /// Added to the variance.
        eps: f64,
    },
    /// Group normalisation (Wu and He 2018), map to map: as a batch norm, but with the mean and the
    /// variance of the sample itself, over each group of channels; `weight` and `bias` `[channels]`.
    GroupNorm {
        /// Neighbouring channels are split into so many groups, all of one size.
        groups: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// An element-wise function, any shape.
    Activation(Activation),
    /// The largest value under a sliding window, map to map. What is padded counts as smaller than
    /// any value; on each side there must be less of it than the kernel is long.
    MaxPool {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Step of the window, the same in both directions.
        stride: usize,
        /// What is put around the input.
        padding: Padding,
    },
    /// The mean of every channel: map to features.
    GlobalAvgPool,
    /// A fully connected layer, features to features: `weight` `[out, in]`, `bias` `[out]`.
    Dense {
        /// Output features.
        out: usize,
    },
    /// The sum of two inputs of one shape.
    Add,
    /// A map and features, as many as it has channels: every channel times its feature.
    Mul,
    /// Sets inputs to zero with probability `p` while training and scales the others by
    /// `1 / (1 - p)`; does nothing in inference. Any shape.
    Dropout {
        /// In `0.0..1.0`.
        p: f64,
    },
    /// Stochastic depth (Huang et al. 2016): a [`Op::Dropout`] that keeps or drops a sample's whole
    /// input. Any shape.
    StochasticDepth {
        /// In `0.0..1.0`.
        p: f64,
    },
}

/// An element-wise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x * sigmoid(x)`, also called swish
    Silu,
    /// `relu6(x + 3) / 6`
    HardSigmoid,
    /// `x * hard_sigmoid(x)` (Howard et al. 2019)
    HardSwish,
}

/// How many zeros are put around a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// TensorFlow's rule: so many that the output has `ceil(input / stride)` rows and columns;
    /// where the number is odd, the bottom and the right get the extra one.
    Same,
    /// These.
    Explicit {
        /// Rows above.
        top: usize,
        /// Columns to the left.
        left: usize,
        /// Rows below.
        bottom: usize,
        /// Columns to the right.
        right: usize,
    },
}

/// Padding in numbers, see [`Padding::resolve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pads {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same number of zeros on all four sides.
    pub const fn all(n: usize) -> Padding {
        Padding::Explicit {
            top: n,
            left: n,
            bottom: n,
            right: n,
        }
    }

    /// The padding in numbers for an input of `input` = height, width. `stride` must not be 0.
    pub fn resolve(self, input: [usize; 2], kernel: [usize; 2], stride: usize) -> Pads {
        match self {
            Padding::Explicit {
                top,
                left,
                bottom,
                right,
            } => Pads {
                top,
                left,
                bottom,
                right,
            },
            Padding::Same => {
                let total = |input: usize, kernel: usize| {
                    let covered = (input.div_ceil(stride).saturating_sub(1))
                        .saturating_mul(stride)
                        .saturating_add(kernel);
                    covered.saturating_sub(input)
                };
                let (rows, columns) = (total(input[0], kernel[0]), total(input[1], kernel[1]));
                let (top, left) = (rows / 2, columns / 2);
                Pads {
                    top,
                    left,
                    bottom: rows - top,
                    right: columns - left,
                }
            }
        }
    }
}
