//! Real photos of waste through train, export and evaluate, against ONNX Runtime on the same inputs.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::{photos, pretrained, program, python, root, run, succeed};

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

/// Measures a bundle on photos that were not trained on, and holds it against ONNX Runtime on the same inputs:
/// the same best item on 99.5 % of them. Gives the item and the category accuracy.
#[track_caller]
fn measure(data: &Path, folder: &Path, name: &str, mut python: Command) -> [f64; 2] {
    let at = |end: &str| folder.join(format!("{name}{end}"));
    succeed(
        program("host-train")
            .args(["evaluate", "--split", "val", "--bundle"])
            .arg(at(".sortline"))
            .arg("--data")
            .arg(data)
            .arg("--json")
            .arg(at(".json"))
            .arg("--predictions")
            .arg(at(".csv"))
            .arg("--tensors")
            .arg(at(".npy")),
    );
    let text = fs::read_to_string(at(".json")).expect("an evaluation");
    let evaluation: Value = serde_json::from_str(&text).expect("JSON");
    let accuracies = ["item_accuracy", "category_accuracy"]
        .map(|name| evaluation[name].as_f64().expect("an accuracy"));
    succeed(
        python
            .arg(root().join("tests/reference/onnx_logits.py"))
            .args([at(".onnx"), at(".npy"), at("-logits.csv")]),
    );
    let classes = evaluation["classes"].as_array().expect("classes");
    let name_of = |id: usize| {
        let class = classes.iter().find(|c| c["id"] == id as u64);
        let class = class.expect("every class has an entry with its id");
        let name = |field: &str| class[field].as_str().expect("a name").to_owned();
        name("category") + "/" + &name("item")
    };
    let predictions = read_predictions(&at(".csv"));
    let reference = read_logits(&at("-logits.csv"));
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
    let apart = (right as f64 / photos as f64 - accuracies[0]).abs();
    assert!(apart <= 0.005, "the item accuracies are {apart} apart");
    accuracies
}

#[test]
fn photos_of_waste_are_recognised_as_well_as_onnx_runtime_does_in_f32_and_in_8_bits() {
    let (Some(data), Some(weights), Some(first), Some(second)) =
        (photos("garbage26"), pretrained(), python(), python())
    else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    train_and_export(&data, &weights, folder.path());
    let float = measure(&data, folder.path(), "waste", first);
    assert!(float[0] >= 0.93 && float[1] >= 0.96, "{float:?}");

    let quantize = || {
        let mut command = program("host-train");
        command.arg("quantize").arg("--run").arg(at("run"));
        command
    };
    succeed(
        quantize()
            .arg("--calibrate")
            .arg(&data)
            .arg("--out")
            .arg(at("int8.sortline"))
            .arg("--onnx")
            .arg(at("int8.onnx")),
    );
    let int8 = measure(&data, folder.path(), "int8", second);
    assert!(float[0] - int8[0] <= 0.0101, "{float:?} {int8:?}");
    assert!(float[1] - int8[1] <= 0.0051, "{float:?} {int8:?}");
    let size = fs::metadata(at("int8.sortline")).expect("a bundle").len();
    assert!(size < 5_500_000, "{size} bytes");

    // Ranges from photos in the dark cut off what daylight brings.
    let dark = at("dark/可回收物/塑料瓶");
    fs::create_dir_all(&dark).expect("a folder");
    let noise = |x: u32, y: u32| image::Rgb([((x * 7 + y * 13) % 11) as u8; 3]);
    image::RgbImage::from_fn(64, 64, noise)
        .save(dark.join("dark.png"))
        .expect("a photo");
    let refused = run(quantize()
        .arg("--calibrate")
        .arg(at("dark"))
        .arg("--out")
        .arg(at("dark.sortline")));
    assert_eq!(refused.status, Some(1), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("No bundle is written") && refused.stderr.contains("warning: 1 "),
        "{}",
        refused.stderr
    );
    assert!(refused.stdout.contains("layer that lost most"));
    assert!(!at("dark.sortline").exists());
}
