//! Published networks as graphs.
//!
//! | name | source | input | parameters (1000 classes) |
//! |---|---|---|---|
//! | `mobilenet-v2` | Sandler et al. 2018, laid out as in torchvision | 224 | 3,504,872 |
//! | `mobilenet-v2-0.35`, `-0.5`, `-0.75`, `-1.4` | the same with a width multiplier | 224 | |
//! | `efficientnet-lite0` | Tan and Le 2019; the Lite form of TensorFlow's TPU models | 224 | 4,652,008 |
//!
//! Node names are stable, so that weights can be found by them: `stem.conv`, `stem.bn`,
//! `stem.act`, then for every block `blocks.N.expand.conv`, `blocks.N.depthwise.conv`,
//! `blocks.N.project.conv` (each with `bn`, the first two with `act`) and `blocks.N.add` where
//! there is a shortcut, at last `head.conv`, `head.bn`, `head.act`, `pool`, `dropout`,
//! `classifier`.

mod builder;
mod efficientnet_lite;
mod mobilenet_v2;

use thiserror::Error;

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

enum Family {
    MobileNetV2 { width: f64 },
    EfficientNetLite0,
}

struct Entry {
    name: &'static str,
    input_size: u32,
    family: Family,
}

const ENTRIES: &[Entry] = &[
    mobilenet_v2("mobilenet-v2", 1.0),
    mobilenet_v2("mobilenet-v2-0.35", 0.35),
    mobilenet_v2("mobilenet-v2-0.5", 0.5),
    mobilenet_v2("mobilenet-v2-0.75", 0.75),
    mobilenet_v2("mobilenet-v2-1.4", 1.4),
    Entry {
        name: "efficientnet-lite0",
        input_size: 224,
        family: Family::EfficientNetLite0,
    },
];

const fn mobilenet_v2(name: &'static str, width: f64) -> Entry {
    Entry {
        name,
        input_size: 224,
        family: Family::MobileNetV2 { width },
    }
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
        Family::EfficientNetLite0 => efficientnet_lite::build(name, classes, input),
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
    let (filter, mean, std) = match entry.family {
        Family::MobileNetV2 { .. } => (
            Filter::Triangle,
            [0.485, 0.456, 0.406],
            [0.229, 0.224, 0.225],
        ),
        Family::EfficientNetLite0 => (Filter::CatmullRom, [127.0 / 255.0; 3], [128.0 / 255.0; 3]),
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
