//! ResNet (He et al., "Deep Residual Learning for Image Recognition", 2015) with the stride on the 3x3
//! convolution of a bottleneck, as in torchvision and timm, and SE-ResNet (Hu et al.,
//! "Squeeze-and-Excitation Networks", 2018).

use super::builder::{Builder, SqueezeExcite, SqueezePlaces, Style};
use crate::graph::{Activation, Graph, Op, Padding};

/// What the network is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1 to four times the channels.
    Bottleneck,
}

const STYLE: Style = Style {
    eps: 1e-5,
    activation: Activation::Relu,
    padding: |kernel| Padding::all(kernel / 2),
};

/// Channels of a stage (of its 3x3 convolutions) and stride of its first block.
const STAGES: [(usize, usize); 4] = [(64, 1), (128, 2), (256, 2), (512, 2)];

pub(super) fn build(
    name: &str,
    kind: Block,
    blocks: [usize; 4],
    squeeze: SqueezePlaces,
    classes: usize,
    input: [usize; 3],
) -> Graph {
    let mut builder = Builder::new(name, input, STYLE);
    builder.conv_bn_act("stem", 64, 7, 2, 1);
    let pool = Op::MaxPool {
        kernel: [3; 2],
        stride: 2,
        padding: Padding::all(1),
    };
    builder.then("stem.pool", pool);
    let mut channels = 64;
    let mut index = 0;
    for ((width, first_stride), blocks) in STAGES.into_iter().zip(blocks) {
        for block in 0..blocks {
            let stride = if block == 0 { first_stride } else { 1 };
            let squeeze = squeeze == SqueezePlaces::Blocks;
            let prefix = format!("blocks.{index}");
            channels = residual(
                &mut builder,
                &prefix,
                kind,
                [channels, width, stride],
                squeeze,
            );
            index += 1;
        }
    }
    if squeeze == SqueezePlaces::Head {
        builder.squeeze_excite("se", SqueezeExcite::sixteenth(channels));
    }
    builder.classify(0.0, classes)
}

/// One block; gives its output channels.
fn residual(
    builder: &mut Builder,
    prefix: &str,
    kind: Block,
    [channels, width, stride]: [usize; 3],
    squeeze: bool,
) -> usize {
    let input = builder.last();
    let name = |part: &str| format!("{prefix}.{part}");
    let out = match kind {
        Block::Basic => {
            builder.conv_bn_act(&name("1"), width, 3, stride, 1);
            builder.conv_bn(&name("2"), width, 3, 1, 1);
            width
        }
        Block::Bottleneck => {
            builder.conv_bn_act(&name("1"), width, 1, 1, 1);
            builder.conv_bn_act(&name("2"), width, 3, stride, 1);
            builder.conv_bn(&name("3"), 4 * width, 1, 1, 1);
            4 * width
        }
    };
    if squeeze {
        builder.squeeze_excite(&name("se"), SqueezeExcite::sixteenth(out));
    }
    let output = builder.last();
    let around = match stride == 1 && channels == out {
        true => input,
        false => builder.shortcut(prefix, input, out, stride),
    };
    builder.push(name("add"), Op::Add, &[output, around]);
    builder.act(&name("act"));
    out
}
