//! Real photos of waste through train, export and evaluate, against ONNX Runtime on the same inputs.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::{photos, pretrained, program, python, reference, run, succeed};

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

/// Measures a bundle on photos that were not trained on, and holds it against ONNX Runtime on the same inputs:
/// the same best item on 99.5 % of them. Gives the item and the category accuracy.
#[track_caller]
fn measure(data: &Path, folder: &Path, name: &str, mut python: Command) -> [f64; 2] {
    let measured = folder.join(name);
    fs::create_dir(&measured).expect("a folder");
    succeed(
        program("host-train")
            .args(["evaluate", "--split", "val", "--bundle"])
            .arg(folder.join(format!("{name}.sortline")))
            .arg("--data")
            .arg(data)
            .arg("--json")
            .arg(measured.join("evaluation.json"))
            .arg("--predictions")
            .arg(measured.join("predictions.csv"))
            .arg("--tensors")
            .arg(measured.join("inputs.npy")),
    );
    let text = fs::read_to_string(measured.join("evaluation.json")).expect("an evaluation");
    let evaluation: Value = serde_json::from_str(&text).expect("JSON");
    let accuracies = ["item_accuracy", "category_accuracy"]
        .map(|name| evaluation[name].as_f64().expect("an accuracy"));
    let network = format!("../{name}.onnx");
    let found = reference::compare(&mut python, &network, &measured, &evaluation);
    let reference::Comparison {
        photos,
        same,
        right,
    } = found;
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
        .args(["--finetune-epochs", "0"])
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
