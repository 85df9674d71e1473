//! Published networks as graphs.
//!
//! | name | source | input | parameters (1000 classes) |
//! |---|---|---|---|
//! | `resnet18` | He et al. 2015, laid out as in torchvision | 224 | 11,689,512 |
//! | `resnet50` | the same | 224 | 25,557,032 |
//! | `se-resnet50` | Hu et al. 2018, laid out as timm's `seresnet50` | 224 | 28,088,024 |
//! | `xception` | Chollet 2017, laid out as timm's `legacy_xception` | 299 | 22,855,952 |
//! | `efficientnet-b0` to `-b7` | Tan and Le 2019, laid out as in torchvision | 224 to 600 | 5,288,548 to 66,347,960 |
//! | `efficientnet-lite0`, `-lite1`, `-lite2` | the Lite form of TensorFlow's TPU models | 224, 240, 260 | 4,652,008, 5,416,680, 6,092,072 |
//! | `mobilenet-v2` | Sandler et al. 2018, laid out as in torchvision | 224 | 3,504,872 |
//! | `mobilenet-v2-0.35`, `-0.5`, `-0.75`, `-1.4` | the same with a width multiplier | 224 | |
//! | `mobilenet-v3-small`, `-large` | Howard et al. 2019, laid out as in torchvision | 224 | 2,542,856, 5,483,032 |
//!
//! `se-resnet50` has squeeze-and-excitation in every block, and so has `se-xception`. In
//! `se-resnet50-head` and `se-xception-head` it stands once, between backbone and pooling: the form of
//! the garbage classification contest, whose weights are those of the plain backbone.
//!
//! Node names are stable, so that weights can be found by them. A convolution `P.conv` is followed by
//! its norm `P.bn` and mostly by `P.act`. Every network begins with `stem` (`stem.1`, `stem.2` in
//! Xception; `stem.pool` in ResNet), goes on with `blocks.N` and ends with `pool`, `dropout`,
//! `classifier`. In a block:
//!
//! - MobileNet, EfficientNet: `expand`, `depthwise`, `se`, `project`, `drop`, `add`, as far as it has
//!   them; then the network has `head` and MobileNetV3 also `hidden.dense`, `hidden.act`;
//! - ResNet: `1`, `2`, `3`, `se`, `shortcut`, `add`, `act`;
//! - Xception: `1`, `2`, `3`, each `act`, `depthwise`, `pointwise`, `bn`, then `pool`, `se`, `shortcut`,
//!   `add`; the network ends with `head.1` and `head.2`.
//!
//! `se` is `pool`, `reduce`, `act`, `expand`, `gate`, `scale`.

mod builder;
mod efficientnet;
mod mobilenet_v2;
mod mobilenet_v3;
mod resnet;
mod xception;

use thiserror::Error;

use builder::SqueezePlaces;

use crate::graph::Graph;
use crate::preprocess::{Filter, PreprocessSpec};

/// Smallest and largest side of the input, in pixels.
pub const INPUT_SIZES: std::ops::RangeInclusive<u32> = 32..=1024;
/// Most classes of a classifier.
pub const MAX_CLASSES: usize = 100_000;

/// Why a network cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ZooError {
    /// No network of this name.
    #[error("no network is called {name:?}; there is: {}", names().join(", "))]
    UnknownNetwork {
        /// The name asked for.
        name: String,
    },
    /// An input size outside [`INPUT_SIZES`].
    #[error("the input size {0} is not in {min}..={max} pixels", min = INPUT_SIZES.start(), max = INPUT_SIZES.end())]
    InputSize(u32),
    /// No class, or more than [`MAX_CLASSES`].
    #[error("{0} classes: a classifier has 1 to {MAX_CLASSES}")]
    Classes(usize),
}

#[derive(Clone, Copy)]
enum Family {
    ResNet {
        block: resnet::Block,
        blocks: [usize; 4],
        squeeze: SqueezePlaces,
    },
    Xception(SqueezePlaces),
    EfficientNet(efficientnet::Scale),
    EfficientNetLite(efficientnet::Scale),
    MobileNetV2 {
        width: f64,
    },
    MobileNetV3(mobilenet_v3::Size),
}

struct Entry {
    name: &'static str,
    input_size: u32,
    family: Family,
}

const ENTRIES: &[Entry] = &[
    resnet18("resnet18"),
    resnet50("resnet50", SqueezePlaces::Nowhere),
    resnet50("se-resnet50", SqueezePlaces::Blocks),
    resnet50("se-resnet50-head", SqueezePlaces::Head),
    xception("xception", SqueezePlaces::Nowhere),
    xception("se-xception", SqueezePlaces::Blocks),
    xception("se-xception-head", SqueezePlaces::Head),
    efficientnet("efficientnet-b0", 0),
    efficientnet("efficientnet-b1", 1),
    efficientnet("efficientnet-b2", 2),
    efficientnet("efficientnet-b3", 3),
    efficientnet("efficientnet-b4", 4),
    efficientnet("efficientnet-b5", 5),
    efficientnet("efficientnet-b6", 6),
    efficientnet("efficientnet-b7", 7),
    efficientnet_lite("efficientnet-lite0", 0),
    efficientnet_lite("efficientnet-lite1", 1),
    efficientnet_lite("efficientnet-lite2", 2),
    mobilenet_v2("mobilenet-v2", 1.0),
    mobilenet_v2("mobilenet-v2-0.35", 0.35),
    mobilenet_v2("mobilenet-v2-0.5", 0.5),
    mobilenet_v2("mobilenet-v2-0.75", 0.75),
    mobilenet_v2("mobilenet-v2-1.4", 1.4),
    entry(
        "mobilenet-v3-small",
        224,
        Family::MobileNetV3(mobilenet_v3::Size::Small),
    ),
    entry(
        "mobilenet-v3-large",
        224,
        Family::MobileNetV3(mobilenet_v3::Size::Large),
    ),
];

const fn entry(name: &'static str, input_size: u32, family: Family) -> Entry {
    Entry {
        name,
        input_size,
        family,
    }
}

const fn resnet18(name: &'static str) -> Entry {
    let family = Family::ResNet {
        block: resnet::Block::Basic,
        blocks: [2, 2, 2, 2],
        squeeze: SqueezePlaces::Nowhere,
    };
    entry(name, 224, family)
}

const fn resnet50(name: &'static str, squeeze: SqueezePlaces) -> Entry {
    let family = Family::ResNet {
        block: resnet::Block::Bottleneck,
        blocks: [3, 4, 6, 3],
        squeeze,
    };
    entry(name, 224, family)
}

const fn xception(name: &'static str, squeeze: SqueezePlaces) -> Entry {
    entry(name, 299, Family::Xception(squeeze))
}

const fn efficientnet(name: &'static str, version: usize) -> Entry {
    let scale = efficientnet::SCALES[version];
    entry(name, scale.resolution, Family::EfficientNet(scale))
}

const fn efficientnet_lite(name: &'static str, version: usize) -> Entry {
    let scale = efficientnet::LITE_SCALES[version];
    entry(name, scale.resolution, Family::EfficientNetLite(scale))
}

const fn mobilenet_v2(name: &'static str, width: f64) -> Entry {
    entry(name, 224, Family::MobileNetV2 { width })
}

/// The names that [`build`] knows.
pub fn names() -> Vec<&'static str> {
    ENTRIES.iter().map(|entry| entry.name).collect()
}

/// The graph of a network with `classes` outputs, for a square input of `input_size` pixels (the
/// network's own size if `None`).
pub fn build(name: &str, classes: usize, input_size: Option<u32>) -> Result<Graph, ZooError> {
    let entry = find(name)?;
    let size = checked_size(entry, input_size)?;
    if !(1..=MAX_CLASSES).contains(&classes) {
        return Err(ZooError::Classes(classes));
    }
    let input = [3, size as usize, size as usize];
    Ok(match entry.family {
        Family::MobileNetV2 { width } => mobilenet_v2::build(name, width, classes, input),
        Family::MobileNetV3(size) => mobilenet_v3::build(name, size, classes, input),
        Family::EfficientNet(scale) => efficientnet::build(name, scale, classes, input),
        Family::EfficientNetLite(scale) => efficientnet::build_lite(name, scale, classes, input),
        Family::Xception(squeeze) => xception::build(name, squeeze, classes, input),
        Family::ResNet {
            block,
            blocks,
            squeeze,
        } => resnet::build(name, block, blocks, squeeze, classes, input),
    })
}

/// The side of the input, in pixels, for which a network was published.
pub fn default_input_size(name: &str) -> Result<u32, ZooError> {
    find(name).map(|entry| entry.input_size)
}

/// The preprocessing with which a network's published weights were trained, for an input of
/// `input_size` pixels (the network's own size if `None`). The fill is white.
pub fn preprocess(name: &str, input_size: Option<u32>) -> Result<PreprocessSpec, ZooError> {
    let entry = find(name)?;
    let size = checked_size(entry, input_size)?;
    let imagenet = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let (filter, (mean, std)) = match entry.family {
        Family::ResNet { .. } | Family::MobileNetV2 { .. } | Family::MobileNetV3(_) => {
            (Filter::Triangle, imagenet)
        }
        Family::EfficientNet(_) => (Filter::CatmullRom, imagenet),
        Family::EfficientNetLite(_) => {
            (Filter::CatmullRom, ([127.0 / 255.0; 3], [128.0 / 255.0; 3]))
        }
        Family::Xception(_) => (Filter::CatmullRom, ([0.5; 3], [0.5; 3])),
    };
    Ok(PreprocessSpec {
        size,
        fill: [255; 3],
        filter,
        mean,
        std,
    })
}

fn find(name: &str) -> Result<&'static Entry, ZooError> {
    ENTRIES
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| ZooError::UnknownNetwork {
            name: name.to_owned(),
        })
}

fn checked_size(entry: &Entry, input_size: Option<u32>) -> Result<u32, ZooError> {
    let size = input_size.unwrap_or(entry.input_size);
    if INPUT_SIZES.contains(&size) {
        Ok(size)
    } else {
        Err(ZooError::InputSize(size))
    }
}
