//! MobileNetV3 (Howard et al., "Searching for MobileNetV3", 2019), laid out as in torchvision and timm.

use super::builder::{Builder, InvertedResidual, SqueezeExcite, Style, scaled};
use crate::graph::{Activation, Graph, Op, Padding};

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
}

const STYLE: Style = Style {
    eps: 1e-5,
    activation: Activation::HardSwish,
    padding: |kernel| Padding::all(kernel / 2),
};

/// Kernel, hidden channels, output channels, squeeze-and-excitation, activation, stride.
type Row = (usize, usize, usize, bool, Activation, usize);

const RE: Activation = Activation::Relu;
const HS: Activation = Activation::HardSwish;

/// Table 1 of the paper.
const LARGE: [Row; 15] = [
    (3, 16, 16, false, RE, 1),
    (3, 64, 24, false, RE, 2),
    (3, 72, 24, false, RE, 1),
    (5, 72, 40, true, RE, 2),
    (5, 120, 40, true, RE, 1),
    (5, 120, 40, true, RE, 1),
    (3, 240, 80, false, HS, 2),
    (3, 200, 80, false, HS, 1),
    (3, 184, 80, false, HS, 1),
    (3, 184, 80, false, HS, 1),
    (3, 480, 112, true, HS, 1),
    (3, 672, 112, true, HS, 1),
    (5, 672, 160, true, HS, 2),
    (5, 960, 160, true, HS, 1),
    (5, 960, 160, true, HS, 1),
];

/// Table 2 of the paper.
const SMALL: [Row; 11] = [
    (3, 16, 16, true, RE, 2),
    (3, 72, 24, false, RE, 2),
    (3, 88, 24, false, RE, 1),
    (5, 96, 40, true, HS, 2),
    (5, 240, 40, true, HS, 1),
    (5, 240, 40, true, HS, 1),
    (5, 120, 48, true, HS, 1),
    (5, 144, 48, true, HS, 1),
    (5, 288, 96, true, HS, 2),
    (5, 576, 96, true, HS, 1),
    (5, 576, 96, true, HS, 1),
];

pub(super) fn build(name: &str, size: Size, classes: usize, input: [usize; 3]) -> Graph {
    let (rows, head, features): (&[Row], usize, usize) = match size {
        Size::Small => (&SMALL, 576, 1024),
        Size::Large => (&LARGE, 960, 1280),
    };
    let mut builder = Builder::new(name, input, STYLE);
    let mut channels = 16;
    builder.conv_bn_act("stem", channels, 3, 2, 1);
    for (index, &(kernel, hidden, out, squeeze, activation, stride)) in rows.iter().enumerate() {
        builder.set_activation(activation);
        let form = SqueezeExcite {
            channels: hidden,
            squeezed: scaled(hidden, 0.25),
            activation: Activation::Relu,
            gate: Activation::HardSigmoid,
        };
        let block = InvertedResidual {
            channels,
            hidden,
            kernel,
            stride,
            out,
            squeeze: squeeze.then_some(form),
            drop: 0.0,
        };
        builder.inverted_residual(&format!("blocks.{index}"), block);
        channels = out;
    }
    builder.conv_bn_act("head", head, 1, 1, 1);
    builder.then("pool", Op::GlobalAvgPool);
    builder.then("hidden.dense", Op::Dense { out: features });
    builder.act("hidden.act");
    builder.classify_features(0.2, classes)
}
