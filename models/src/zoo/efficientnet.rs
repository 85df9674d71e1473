//! EfficientNet-B0 to B7 (Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
//! Networks", 2019), padded as in torchvision and timm, and EfficientNet-Lite: without
//! squeeze-and-excitation and with ReLU6, as published with TensorFlow's TPU models in 2020.

use super::builder::{Builder, InvertedResidual, SqueezeExcite, Style, scaled};
use crate::graph::{Activation, Graph, Padding};

/// How one size of the network follows from the smallest.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// Factor of the channels.
    pub(super) width: f64,
    /// Factor of the blocks per stage.
    pub(super) depth: f64,
    /// Side of the input in pixels.
    pub(super) resolution: u32,
    pub(super) dropout: f64,
}

/// B0 to B7.
pub(super) const SCALES: [Scale; 8] = [
    scale(1.0, 1.0, 224, 0.2),
    scale(1.0, 1.1, 240, 0.2),
    scale(1.1, 1.2, 260, 0.3),
    scale(1.2, 1.4, 300, 0.3),
    scale(1.4, 1.8, 380, 0.4),
    scale(1.6, 2.2, 456, 0.4),
    scale(1.8, 2.6, 528, 0.5),
    scale(2.0, 3.1, 600, 0.5),
];

/// Lite0 to Lite2.
pub(super) const LITE_SCALES: [Scale; 3] = [
    scale(1.0, 1.0, 224, 0.2),
    scale(1.0, 1.1, 240, 0.2),
    scale(1.1, 1.2, 260, 0.3),
];

const STYLE: Style = Style {
    eps: 1e-5,
    activation: Activation::Silu,
    padding: |kernel| Padding::all(kernel / 2),
};

const LITE_STYLE: Style = Style {
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

/// Stochastic depth rises over the blocks of B0 to B7 from nothing to this.
const DROP: f64 = 0.2;

/// What tells the two forms apart.
struct Form {
    style: Style,
    scale: Scale,
    /// Lite scales neither the stem and the head nor the depth of the first and the last stage.
    lite: bool,
}

const fn scale(width: f64, depth: f64, resolution: u32, dropout: f64) -> Scale {
    Scale {
        width,
        depth,
        resolution,
        dropout,
    }
}

pub(super) fn build(name: &str, scale: Scale, classes: usize, input: [usize; 3]) -> Graph {
    let form = Form {
        style: STYLE,
        scale,
        lite: false,
    };
    form.build(name, classes, input)
}

pub(super) fn build_lite(name: &str, scale: Scale, classes: usize, input: [usize; 3]) -> Graph {
    let form = Form {
        style: LITE_STYLE,
        scale,
        lite: true,
    };
    form.build(name, classes, input)
}

impl Form {
    fn build(&self, name: &str, classes: usize, input: [usize; 3]) -> Graph {
        let mut builder = Builder::new(name, input, self.style);
        let outside = if self.lite { 1.0 } else { self.scale.width };
        let mut channels = scaled(32, outside);
        builder.conv_bn_act("stem", channels, 3, 2, 1);
        let total: usize = (0..STAGES.len()).map(|stage| self.blocks(stage)).sum();
        let mut index = 0;
        for (stage, (expansion, kernel, out, _, first_stride)) in STAGES.into_iter().enumerate() {
            let out = scaled(out, self.scale.width);
            for block in 0..self.blocks(stage) {
                let hidden = channels * expansion;
                let squeeze = SqueezeExcite {
                    channels: hidden,
                    squeezed: channels / 4,
                    activation: Activation::Silu,
                    gate: Activation::Sigmoid,
                };
                let block = InvertedResidual {
                    channels,
                    hidden,
                    kernel,
                    stride: if block == 0 { first_stride } else { 1 },
                    out,
                    squeeze: (!self.lite).then_some(squeeze),
                    drop: match self.lite {
                        true => 0.0,
                        false => DROP * index as f64 / total as f64,
                    },
                };
                builder.inverted_residual(&format!("blocks.{index}"), block);
                channels = out;
                index += 1;
            }
        }
        builder.conv_bn_act("head", scaled(1280, outside), 1, 1, 1);
        builder.classify(self.scale.dropout, classes)
    }

    /// Blocks of a stage.
    fn blocks(&self, stage: usize) -> usize {
        let (.., blocks, _) = STAGES[stage];
        if self.lite && (stage == 0 || stage == STAGES.len() - 1) {
            return blocks;
        }
        (blocks as f64 * self.scale.depth).ceil() as usize
    }
}
