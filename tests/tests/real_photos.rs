//! Real photos of waste through train, export and evaluate, against ONNX Runtime on the same inputs.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::{photos, pretrained, program, python, root, succeed};

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

/// Per photo the true and the predicted label, `category/item`.
fn read_predictions(file: &Path) -> Vec<[String; 2]> {
    let text = fs::read_to_string(file).expect("predictions");
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let column = |name| header.iter().position(|&h| h == name).expect(name);
    let columns = ["item", "predicted"].map(column);
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        columns.map(|c| fields[c].to_owned())
    };
    lines.map(row).collect()
}

fn read_logits(file: &Path) -> Vec<usize> {
    let text = fs::read_to_string(file).expect("logits");
    let best = |line: &str| {
        let logits = line.split(',').map(|v| v.parse::<f64>().expect("a number"));
        let best = logits.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        best.expect("logits").0
    };
    text.lines().map(best).collect()
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

    succeed(
        python
            .arg(root().join("tests/reference/onnx_logits.py"))
            .args([at("waste.onnx"), at("inputs.npy"), at("logits.csv")]),
    );
    let classes = evaluation["classes"].as_array().expect("classes");
    let name_of = |id: usize| {
        let class = classes.iter().find(|c| c["id"] == id as u64);
        let class = class.expect("every class has an entry with its id");
        let name = |field: &str| class[field].as_str().expect("a name").to_owned();
        name("category") + "/" + &name("item")
    };
    let predictions = read_predictions(&at("predictions.csv"));
    let reference = read_logits(&at("logits.csv"));
    assert_eq!(predictions.len(), reference.len());
    let pairs = predictions.iter().zip(reference);
    let (mut same, mut right) = (0, 0);
    for ([actual, predicted], best) in pairs {
        let best = name_of(best);
        same += usize::from(best == *predicted);
        right += usize::from(best == *actual);
    }
    let photos = predictions.len();
    assert!(same * 1000 >= photos * 995, "{same} of {photos} agree");
    let apart = (right as f64 / photos as f64 - accuracy("item_accuracy")).abs();
    assert!(apart <= 0.005, "the item accuracies are {apart} apart");
}
