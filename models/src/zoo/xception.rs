//! Xception (Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2017), padded as
//! in timm's `legacy_xception`, and the same with squeeze-and-excitation (Hu et al. 2018).

use super::builder::{Builder, SqueezeExcite, SqueezePlaces, Style};
use crate::graph::{Activation, Graph, Op, Padding};

const STYLE: Style = Style {
    eps: 1e-5,
    activation: Activation::Relu,
    padding: |kernel| Padding::all(kernel / 2),
};

/// Output channels of a block's separable convolutions and its stride: figure 5 of the paper.
const BLOCKS: [(&[usize], usize); 12] = [
    (&[128, 128], 2),
    (&[256, 256], 2),
    (&[728, 728], 2),
    MIDDLE,
    MIDDLE,
    MIDDLE,
    MIDDLE,
    MIDDLE,
    MIDDLE,
    MIDDLE,
    MIDDLE,
    (&[728, 1024], 2),
];

const MIDDLE: (&[usize], usize) = (&[728, 728, 728], 1);

pub(super) fn build(
    name: &str,
    squeeze: SqueezePlaces,
    classes: usize,
    input: [usize; 3],
) -> Graph {
    let mut builder = Builder::new(name, input, STYLE);
    let mut channels = 64;
    for (prefix, out, stride) in [("stem.1", 32, 2), ("stem.2", channels, 1)] {
        let op = Op::Conv {
            out,
            kernel: [3; 2],
            stride,
            padding: Padding::all(0),
            groups: 1,
            bias: false,
        };
        builder.then(format!("{prefix}.conv"), op);
        builder.norm(&format!("{prefix}.bn"));
        builder.act(&format!("{prefix}.act"));
    }
    for (index, (widths, stride)) in BLOCKS.into_iter().enumerate() {
        let prefix = format!("blocks.{index}");
        let input = builder.last();
        let from = channels;
        for (position, &out) in widths.iter().enumerate() {
            let part = format!("{prefix}.{}", position + 1);
            // What comes out of the stem has been through an activation.
            if index > 0 || position > 0 {
                builder.act(&format!("{part}.act"));
            }
            separable(&mut builder, &part, channels, out);
            channels = out;
        }
        if stride > 1 {
            let pool = Op::MaxPool {
                kernel: [3; 2],
                stride,
                padding: Padding::all(1),
            };
            builder.then(format!("{prefix}.pool"), pool);
        }
        if squeeze == SqueezePlaces::Blocks {
            let form = SqueezeExcite::sixteenth(channels);
            builder.squeeze_excite(&format!("{prefix}.se"), form);
        }
        let output = builder.last();
        let around = match stride == 1 && from == channels {
            true => input,
            false => builder.shortcut(&prefix, input, channels, stride),
        };
        builder.push(format!("{prefix}.add"), Op::Add, &[output, around]);
    }
    for (prefix, out) in [("head.1", 1536), ("head.2", 2048)] {
        separable(&mut builder, prefix, channels, out);
        builder.act(&format!("{prefix}.act"));
        channels = out;
    }
    if squeeze == SqueezePlaces::Head {
        builder.squeeze_excite("se", SqueezeExcite::sixteenth(channels));
    }
    builder.classify(0.5, classes)
}

/// A depthwise and a pointwise convolution and their norm: `prefix.depthwise`, `pointwise`, `bn`.
fn separable(builder: &mut Builder, prefix: &str, channels: usize, out: usize) {
    let input = builder.last();
    let name = |part: &str| format!("{prefix}.{part}");
    let depthwise = builder.conv(&name("depthwise"), input, [channels, 3, 1, channels]);
    builder.conv(&name("pointwise"), depthwise, [out, 1, 1, 1]);
    builder.norm(&name("bn"));
}
