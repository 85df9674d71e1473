//! EfficientNet-Lite0: EfficientNet-B0 (Tan and Le, "EfficientNet: Rethinking Model Scaling for
//! Convolutional Neural Networks", 2019) without squeeze-and-excitation and with ReLU6, as
//! published with TensorFlow's TPU models in 2020.

use super::builder::{Builder, InvertedResidual, Style};
use crate::graph::{Activation, Graph, Padding};

const STYLE: Style = Style {
    eps: 1e-3,
    activation: Activation::Relu6,
    padding: |_| Padding::Same,
};

/// Expansion, kernel, output channels, blocks, stride of the first block: table 1 of the paper.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
];

pub(super) fn build(name: &str, classes: usize, input: [usize; 3]) -> Graph {
    let mut builder = Builder::new(name, input, STYLE);
    let mut channels = 32;
    builder.conv_bn_act("stem", channels, 3, 2, 1);
    let mut index = 0;
    for (expansion, kernel, out, blocks, first_stride) in STAGES {
        for block in 0..blocks {
            let stride = if block == 0 { first_stride } else { 1 };
            let block = InvertedResidual {
                channels,
                expansion,
                kernel,
                stride,
                out,
            };
            builder.inverted_residual(&format!("blocks.{index}"), block);
            channels = out;
            index += 1;
        }
    }
    builder.conv_bn_act("head", 1280, 1, 1, 1);
    builder.classify(0.2, classes)
}
