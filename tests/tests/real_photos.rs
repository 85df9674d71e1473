//! Real photos of waste through train, export and evaluate, against ONNX Runtime on the same inputs.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::{photos, pretrained, program, python, reference, succeed};

/// Trains the head of a pretrained EfficientNet-Lite0 on garbage26 and writes bundle and ONNX.
fn train_and_export(data: &Path, weights: &Path, folder: &Path) {
    let run = folder.join("run");
    succeed(
        program("host-train")
            .args(["train", "--network", "efficientnet-lite0", "--views", "1"])
            .args(["--seed", "1", "--data"])
            .arg(data)
            .arg("--pretrained")
            .arg(weights)
            .arg("--out")
            .arg(&run),
    );
    succeed(
        program("host-train")
            .args(["export", "--run"])
            .arg(&run)
            .arg("--out")
            .arg(folder.join("waste.sortline"))
            .arg("--onnx")
            .arg(folder.join("waste.onnx")),
    );
}

#[test]
fn photos_of_waste_are_recognised_as_well_as_onnx_runtime_does() {
    let (Some(data), Some(weights), Some(mut python)) =
        (photos("garbage26"), pretrained(), python())
    else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    train_and_export(&data, &weights, folder.path());
    succeed(
        program("host-train")
            .args(["evaluate", "--split", "val", "--bundle"])
            .arg(at("waste.sortline"))
            .arg("--data")
            .arg(&data)
            .arg("--json")
            .arg(at("evaluation.json"))
            .arg("--predictions")
            .arg(at("predictions.csv"))
            .arg("--tensors")
            .arg(at("inputs.npy")),
    );
    let text = fs::read_to_string(at("evaluation.json")).expect("an evaluation");
    let evaluation: Value = serde_json::from_str(&text).expect("JSON");
    let accuracy = |name: &str| evaluation[name].as_f64().expect("an accuracy");
    assert!(accuracy("item_accuracy") >= 0.93, "{text}");
    assert!(accuracy("category_accuracy") >= 0.96, "{text}");

    let found = reference::compare(&mut python, "waste.onnx", folder.path(), &evaluation);
    let reference::Comparison {
        photos,
        same,
        right,
    } = found;
    assert!(same * 1000 >= photos * 995, "{same} of {photos} agree");
    let apart = (right as f64 / photos as f64 - accuracy("item_accuracy")).abs();
    assert!(apart <= 0.005, "the item accuracies are {apart} apart");
}
