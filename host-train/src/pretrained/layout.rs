//! What other frameworks call the layers of a network.
//!
//! Blocks are numbered through here and by stage elsewhere, so the file's own names say which blocks
//! there are.

use std::collections::BTreeSet;

/// The names of one framework for one make of network.
pub(super) struct Layout {
    pub(super) name: &'static str,
    /// Our nodes outside of blocks that have other names there, and for each those it may have.
    outside: &'static [(&'static str, &'static [&'static str])],
    /// What the names of a block begin with; `#` is a number.
    blocks: &'static str,
    /// How a block's name goes on for a part of it.
    inside: fn(block: Block, part: &str) -> Option<String>,
    /// What the framework's norms add to the variance, where it is not what ours add.
    pub(super) eps: fn(network: &str) -> Option<f64>,
}

/// What names inside a block depend on.
#[derive(Clone, Copy)]
struct Block {
    index: usize,
    /// Whether it has `expand`.
    expands: bool,
    /// Whether it has `se`.
    squeezes: bool,
}

/// The modules that a file has: what stands before the last dot of its tensors' names.
pub(super) struct Modules<'a>(BTreeSet<&'a str>);

impl<'a> Modules<'a> {
    pub(super) fn new(tensors: impl Iterator<Item = &'a String>) -> Modules<'a> {
        let module = |name: &'a String| name.rsplit_once('.').map(|(module, _)| module);
        Modules(tensors.filter_map(module).collect())
    }

    /// What the names of blocks begin with, in the order of their numbers.
    fn blocks(&self, pattern: &str) -> Vec<String> {
        let found: BTreeSet<Vec<usize>> = self
            .0
            .iter()
            .filter_map(|module| numbers(module, pattern))
            .collect();
        let fill = |numbers: &Vec<usize>| {
            let mut numbers = numbers.iter();
            let part = |c: char| match c {
                '#' => numbers.next().map_or_else(String::new, usize::to_string),
                c => c.to_string(),
            };
            pattern.chars().map(part).collect()
        };
        found.iter().map(fill).collect()
    }
}

/// The numbers where `pattern` has `#`, if `module` begins with it and goes on with a dot.
fn numbers(module: &str, pattern: &str) -> Option<Vec<usize>> {
    let mut rest = module;
    let mut numbers = Vec::new();
    for c in pattern.chars() {
        if c == '#' {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            numbers.push(rest[..end].parse().ok()?);
            rest = &rest[end..];
        } else {
            rest = rest.strip_prefix(c)?;
        }
    }
    rest.starts_with('.').then_some(numbers)
}

impl Layout {
    /// Our nodes and the file's modules for them, as far as it has them.
    pub(super) fn modules<'n>(
        &self,
        nodes: &BTreeSet<&'n str>,
        file: &Modules,
    ) -> Vec<(&'n str, String)> {
        let blocks = file.blocks(self.blocks);
        let find = |&node: &&'n str| {
            let outside = self.outside.iter().find(|(ours, _)| *ours == node);
            let names = match (outside, self.inside_block(node, nodes, &blocks)) {
                (Some((_, names)), _) => names.iter().map(|&name| name.to_owned()).collect(),
                (None, Some(name)) => vec![name],
                (None, None) => vec![node.to_owned()],
            };
            let module = names.into_iter().find(|name| file.0.contains(&**name))?;
            Some((node, module))
        };
        nodes.iter().filter_map(find).collect()
    }

    fn inside_block(
        &self,
        node: &str,
        nodes: &BTreeSet<&str>,
        blocks: &[String],
    ) -> Option<String> {
        let (index, part) = node.strip_prefix("blocks.")?.split_once('.')?;
        let has = |part: &str| nodes.contains(format!("blocks.{index}.{part}").as_str());
        let block = Block {
            index: index.parse().ok()?,
            expands: has("expand.conv"),
            squeezes: has("se.reduce"),
        };
        let part = (self.inside)(block, part)?;
        Some(format!("{}.{part}", blocks.get(block.index)?))
    }
}

/// All layouts, our own first.
pub(super) const LAYOUTS: [Layout; 9] = [
    Layout {
        name: "sortline",
        outside: &[],
        blocks: "blocks.#",
        inside: |_, part| Some(part.to_owned()),
        eps: |_| None,
    },
    Layout {
        name: "efficientnet-pytorch",
        outside: &[
            ("stem.conv", &["_conv_stem"]),
            ("stem.bn", &["_bn0"]),
            ("head.conv", &["_conv_head"]),
            ("head.bn", &["_bn1"]),
            ("classifier", &["_fc"]),
        ],
        blocks: "_blocks.#",
        inside: efficientnet_pytorch,
        eps: |_| Some(1e-3),
    },
    Layout {
        name: "torchvision or timm, ResNet",
        outside: &[
            ("stem.conv", &["conv1"]),
            ("stem.bn", &["bn1"]),
            ("classifier", &["fc"]),
        ],
        blocks: "layer#.#",
        inside: resnet,
        eps: |_| None,
    },
    Layout {
        name: "timm, legacy_xception",
        outside: &[
            ("stem.1.conv", &["conv1"]),
            ("stem.1.bn", &["bn1"]),
            ("stem.2.conv", &["conv2"]),
            ("stem.2.bn", &["bn2"]),
            ("head.1.depthwise", &["conv3.conv1"]),
            ("head.1.pointwise", &["conv3.pointwise"]),
            ("head.1.bn", &["bn3"]),
            ("head.2.depthwise", &["conv4.conv1"]),
            ("head.2.pointwise", &["conv4.pointwise"]),
            ("head.2.bn", &["bn4"]),
            ("classifier", &["fc", "last_linear"]),
        ],
        blocks: "block#",
        inside: xception,
        eps: |_| None,
    },
    Layout {
        name: "torchvision, MobileNetV2",
        outside: &[
            ("stem.conv", &["features.0.0"]),
            ("stem.bn", &["features.0.1"]),
            ("head.conv", &["features.18.0"]),
            ("head.bn", &["features.18.1"]),
            ("classifier", &["classifier.1"]),
        ],
        blocks: "features.#.conv",
        inside: torchvision_mobilenet_v2,
        eps: |_| None,
    },
    Layout {
        name: "torchvision, MobileNetV3",
        outside: &[
            ("stem.conv", &["features.0.0"]),
            ("stem.bn", &["features.0.1"]),
            ("head.conv", &["features.16.0", "features.12.0"]),
            ("head.bn", &["features.16.1", "features.12.1"]),
            ("hidden.dense", &["classifier.0"]),
            ("classifier", &["classifier.3"]),
        ],
        blocks: "features.#.block",
        inside: torchvision_sequence,
        eps: |_| Some(1e-3),
    },
    Layout {
        name: "torchvision, EfficientNet",
        outside: &[
            ("stem.conv", &["features.0.0"]),
            ("stem.bn", &["features.0.1"]),
            ("head.conv", &["features.8.0"]),
            ("head.bn", &["features.8.1"]),
            ("classifier", &["classifier.1"]),
        ],
        blocks: "features.#.#.block",
        inside: torchvision_sequence,
        eps: |network| {
            let large = ["efficientnet-b5", "efficientnet-b6", "efficientnet-b7"];
            large.contains(&network).then_some(1e-3)
        },
    },
    Layout {
        name: "timm, EfficientNet or MobileNetV2",
        outside: &[
            ("stem.conv", &["conv_stem"]),
            ("stem.bn", &["bn1"]),
            ("head.conv", &["conv_head"]),
            ("head.bn", &["bn2"]),
            ("classifier", &["classifier"]),
        ],
        blocks: "blocks.#.#",
        inside: timm,
        eps: |_| None,
    },
    Layout {
        name: "timm, MobileNetV3",
        outside: &[
            ("stem.conv", &["conv_stem"]),
            ("stem.bn", &["bn1"]),
            ("head.conv", &["blocks.6.0.conv", "blocks.5.0.conv"]),
            ("head.bn", &["blocks.6.0.bn1", "blocks.5.0.bn1"]),
            ("hidden.dense", &["conv_head"]),
            ("classifier", &["classifier"]),
        ],
        blocks: "blocks.#.#",
        inside: timm,
        eps: |_| None,
    },
];

fn efficientnet_pytorch(_: Block, part: &str) -> Option<String> {
    let module = match part {
        "expand.conv" => "_expand_conv",
        "expand.bn" => "_bn0",
        "depthwise.conv" => "_depthwise_conv",
        "depthwise.bn" => "_bn1",
        "se.reduce" => "_se_reduce",
        "se.expand" => "_se_expand",
        "project.conv" => "_project_conv",
        "project.bn" => "_bn2",
        _ => return None,
    };
    Some(module.to_owned())
}

fn resnet(_: Block, part: &str) -> Option<String> {
    Some(match part {
        "shortcut.conv" => "downsample.0".to_owned(),
        "shortcut.bn" => "downsample.1".to_owned(),
        "se.reduce" => "se.fc1".to_owned(),
        "se.expand" => "se.fc2".to_owned(),
        _ => {
            let (number, kind) = part.split_once('.')?;
            format!("{kind}{number}")
        }
    })
}

/// A sequence `rep` of activation, separable convolution and norm, three times or twice; the first
/// block begins without activation.
fn xception(block: Block, part: &str) -> Option<String> {
    Some(match part {
        "shortcut.conv" => "skip".to_owned(),
        "shortcut.bn" => "skipbn".to_owned(),
        _ => {
            let (number, kind) = part.split_once('.')?;
            let number: usize = number.parse().ok()?;
            let convolution = 3 * number.checked_sub(1)? + usize::from(block.index > 0);
            match kind {
                "depthwise" => format!("rep.{convolution}.conv1"),
                "pointwise" => format!("rep.{convolution}.pointwise"),
                "bn" => format!("rep.{}", convolution + 1),
                _ => return None,
            }
        }
    })
}

/// A sequence of convolutions with their norms, in which the last is not grouped with its norm.
fn torchvision_mobilenet_v2(block: Block, part: &str) -> Option<String> {
    let depthwise = usize::from(block.expands);
    Some(match part {
        "expand.conv" => "0.0".to_owned(),
        "expand.bn" => "0.1".to_owned(),
        "depthwise.conv" => format!("{depthwise}.0"),
        "depthwise.bn" => format!("{depthwise}.1"),
        "project.conv" => (depthwise + 1).to_string(),
        "project.bn" => (depthwise + 2).to_string(),
        _ => return None,
    })
}

/// A sequence of convolutions with their norms and squeeze-and-excitation.
fn torchvision_sequence(block: Block, part: &str) -> Option<String> {
    let depthwise = usize::from(block.expands);
    let project = depthwise + 1 + usize::from(block.squeezes);
    Some(match part {
        "expand.conv" => "0.0".to_owned(),
        "expand.bn" => "0.1".to_owned(),
        "depthwise.conv" => format!("{depthwise}.0"),
        "depthwise.bn" => format!("{depthwise}.1"),
        "se.reduce" => format!("{}.fc1", depthwise + 1),
        "se.expand" => format!("{}.fc2", depthwise + 1),
        "project.conv" => format!("{project}.0"),
        "project.bn" => format!("{project}.1"),
        _ => return None,
    })
}

fn timm(block: Block, part: &str) -> Option<String> {
    let module = match (part, block.expands) {
        ("expand.conv", _) => "conv_pw",
        ("expand.bn", _) => "bn1",
        ("depthwise.conv", _) => "conv_dw",
        ("depthwise.bn", true) => "bn2",
        ("depthwise.bn", false) => "bn1",
        ("se.reduce", _) => "se.conv_reduce",
        ("se.expand", _) => "se.conv_expand",
        ("project.conv", true) => "conv_pwl",
        ("project.conv", false) => "conv_pw",
        ("project.bn", true) => "bn3",
        ("project.bn", false) => "bn2",
        _ => return None,
    };
    Some(module.to_owned())
}
