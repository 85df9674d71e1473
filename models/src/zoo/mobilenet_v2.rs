//! MobileNetV2 (Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018),
//! with torchvision's padding and rounding of channels.

use super::builder::{Builder, InvertedResidual, Style, scaled};
use crate::graph::{Activation, Graph, Padding};

const STYLE: Style = Style {
    eps: 1e-5,
    activation: Activation::Relu6,
    padding: |kernel| Padding::all(kernel / 2),
};

/// Expansion, output channels, blocks, stride of the first block: table 2 of the paper.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

pub(super) fn build(name: &str, width: f64, classes: usize, input: [usize; 3]) -> Graph {
    let mut builder = Builder::new(name, input, STYLE);
    let mut channels = scaled(32, width);
    builder.conv_bn_act("stem", channels, 3, 2, 1);
    let mut index = 0;
    for (expansion, out, blocks, first_stride) in STAGES {
        let out = scaled(out, width);
        for block in 0..blocks {
            let stride = if block == 0 { first_stride } else { 1 };
            let block = InvertedResidual {
                channels,
                hidden: channels * expansion,
                kernel: 3,
                stride,
                out,
                squeeze: None,
                drop: 0.0,
            };
            builder.inverted_residual(&format!("blocks.{index}"), block);
            channels = out;
            index += 1;
        }
    }
    // A narrow network keeps the full head.
    builder.conv_bn_act("head", scaled(1280, width.max(1.0)), 1, 1, 1);
    builder.classify(0.2, classes)
}
