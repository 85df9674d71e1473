//! The whole road: drawn items are trained on, exported, measured, classified and sorted.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::{program, python, reference, root, succeed};

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).expect("JSON")
}

fn demo_bundle() -> PathBuf {
    root().join("models/bundles/drawn-10.sortline")
}

/// Draws items, photographs them on the belt and trains a small network on the views for 2 epochs.
fn train_on_drawn_items(folder: &Path) -> (PathBuf, PathBuf) {
    let (views, run) = (folder.join("views"), folder.join("run"));
    succeed(
        program("edge-runtime")
            .args([
                "simulate",
                "--items",
                "synthetic",
                "--rate",
                "120",
                "--count",
                "60",
            ])
            .args(["--seed", "11", "--save-crops"])
            .arg(&views),
    );
    succeed(
        program("host-train")
            .args([
                "train",
                "--network",
                "mobilenet-v2-0.35",
                "--input-size",
                "48",
            ])
            .args(["--epochs", "2", "--batch", "16", "--seed", "3", "--data"])
            .arg(&views)
            .arg("--out")
            .arg(&run),
    );
    (views, run)
}

#[test]
fn photos_go_in_and_sorted_items_come_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let (views, run) = train_on_drawn_items(folder.path());
    let bundle = at("small.sortline");
    let export = succeed(
        program("host-train")
            .args(["export", "--run"])
            .arg(&run)
            .arg("--out")
            .arg(&bundle)
            .arg("--onnx")
            .arg(at("small.onnx")),
    );
    assert!(
        export.stdout.contains("difference"),
        "parity is not shown: {}",
        export.stdout
    );

    succeed(
        program("host-train")
            .args(["evaluate", "--bundle"])
            .arg(&bundle)
            .arg("--data")
            .arg(&views)
            .arg("--json")
            .arg(at("evaluation.json"))
            .arg("--predictions")
            .arg(at("predictions.csv"))
            .arg("--tensors")
            .arg(at("inputs.npy")),
    );
    let evaluation = json(&at("evaluation.json"));
    let rows = fs::read_to_string(at("predictions.csv")).expect("predictions");
    assert_eq!(
        evaluation["items"],
        rows.lines().count() as u64 - 1,
        "one row a photo"
    );
    if let Some(mut python) = python() {
        let found = reference::compare(&mut python, "small.onnx", folder.path(), &evaluation);
        assert!(
            found.photos > 0 && found.same * 1000 >= found.photos * 995,
            "{found:?}"
        );
    }
    sorts_with(&bundle, &views, folder.path());
}

fn sorts_with(bundle: &Path, views: &Path, folder: &Path) {
    let photo = fs::read_dir(views)
        .expect("views")
        .next()
        .expect("a category")
        .expect("a folder");
    let photo = fs::read_dir(photo.path())
        .expect("items")
        .next()
        .expect("an item")
        .expect("one");
    let photo = fs::read_dir(photo.path())
        .expect("photos")
        .next()
        .expect("a photo")
        .expect("one");
    let classify = program("edge-runtime")
        .args(["classify", "--bundle"])
        .arg(bundle)
        .arg(photo.path())
        .output()
        .expect("classify runs");
    let line = String::from_utf8(classify.stdout).expect("UTF-8");
    assert!(
        line.starts_with("{\"result\":\""),
        "the contest's field comes first: {line}"
    );

    let simulate = |name: &str| {
        let report = folder.join(name);
        succeed(
            program("edge-runtime")
                .args([
                    "simulate",
                    "--items",
                    "synthetic",
                    "--count",
                    "12",
                    "--seed",
                    "7",
                ])
                .arg("--bundle")
                .arg(bundle)
                .arg("--json")
                .arg(&report),
        );
        let mut report = json(&report);
        report
            .as_object_mut()
            .expect("an object")
            .remove("compute_ms");
        report
    };
    let report = simulate("first.json");
    assert_eq!(
        report,
        simulate("second.json"),
        "the same seed, the same result"
    );
    assert_adds_up(&report, 12);
}

#[track_caller]
fn assert_adds_up(report: &Value, items: u64) {
    let count = |name: &str| {
        report[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name}: {report}"))
    };
    assert_eq!(count("items"), items);
    let ends = ["correct", "wrong", "rejected", "missed"].map(count);
    assert_eq!(ends.iter().sum::<u64>(), items, "{report}");
    for name in ["latency_ms", "timing_error_ms"] {
        for quantile in ["p50", "p95", "p99", "max"] {
            assert!(
                report[name][quantile].is_number(),
                "{name} {quantile}: {report}"
            );
        }
    }
    assert!(
        report["throughput_per_min"].is_number() && report["late"].is_u64(),
        "{report}"
    );
    for chute in report["chutes"].as_array().expect("chutes") {
        assert!(chute["category"].is_string(), "{chute}");
    }
}

#[test]
fn the_same_items_are_sorted_in_8_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let (views, run) = train_on_drawn_items(folder.path());
    // Two epochs teach little, so that next to nothing decides between items: accuracy is no measure here.
    let quantize = succeed(
        program("host-train")
            .args([
                "quantize",
                "--max-drop",
                "100",
                "--max-item-drop",
                "100",
                "--run",
            ])
            .arg(&run)
            .arg("--calibrate")
            .arg(&views)
            .arg("--out")
            .arg(at("int8.sortline"))
            .arg("--onnx")
            .arg(at("int8.onnx"))
            .arg("--report")
            .arg(at("int8.html"))
            .arg("--json")
            .arg(at("int8.json")),
    );
    assert!(quantize.stdout.contains("kept"), "{}", quantize.stdout);
    let outcome = json(&at("int8.json"));
    let quality = outcome["logits_db"].as_f64().expect("a ratio");
    assert!(
        quality > 12.0,
        "the logits have {quality} dB of signal to noise"
    );
    let bytes = |form: &str| outcome[form]["bytes"].as_f64().expect("a size");
    assert!(bytes("f32") > 2.5 * bytes("int8"), "{outcome}");
    assert_eq!(outcome["float_layers"].as_array().map(Vec::len), Some(0));
    let page = fs::read_to_string(at("int8.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("classifier"));
    sorts_with(&at("int8.sortline"), &views, folder.path());
    fs::create_dir(at("empty")).expect("a folder");
    let black = at("black").join(first_item(&views));
    fs::create_dir_all(&black).expect("a folder");
    let photo = image::RgbImage::new(40, 30);
    photo.save(black.join("lens-cap.png")).expect("a photo");
    for (photos, says) in [("empty", "holds no photos"), ("black", "of one colour")] {
        let refused = tests::run(
            program("host-train")
                .args(["quantize", "--run"])
                .arg(&run)
                .arg("--calibrate")
                .arg(at(photos))
                .arg("--out")
                .arg(at("never.sortline")),
        );
        assert_eq!(refused.status, Some(1), "{photos}");
        let named = refused.stderr.contains(photos) && refused.stderr.contains(says);
        assert!(named, "{}", refused.stderr);
        assert!(!at("never.sortline").exists());
    }
    let nowhere = at("nowhere").join("never.sortline");
    let refused = tests::run(
        program("host-train")
            .args(["quantize", "--run"])
            .arg(&run)
            .arg("--calibrate")
            .arg(&views)
            .arg("--out")
            .arg(&nowhere),
    );
    assert_eq!(refused.status, Some(1), "{}", refused.stdout);
    let named = refused.stderr.contains("never.sortline: cannot be written");
    assert!(named && refused.stdout.is_empty(), "{}", refused.stderr);
}

/// `category/item` of some views.
fn first_item(views: &Path) -> PathBuf {
    let first = |folder: &Path| {
        let entry = fs::read_dir(folder).expect("a folder").next();
        entry.expect("an entry").expect("one").path()
    };
    let item = first(&first(views));
    item.strip_prefix(views).expect("a view").to_owned()
}

#[test]
fn the_demo_sorts_drawn_items_rightly() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let report = folder.path().join("report.json");
    succeed(
        program("edge-runtime")
            .args(["simulate", "--count", "40", "--seed", "5", "--json"])
            .arg(&report),
    );
    let report = json(&report);
    assert_adds_up(&report, 40);
    assert!(report["correct"].as_u64() >= Some(34), "{report}");
    assert_eq!(report["misrouted_although_recognised"], 0, "{report}");
}

#[test]
fn the_demo_bundle_is_small_and_says_where_it_comes_from() {
    let size = fs::metadata(demo_bundle()).expect("the bundle").len();
    assert!(size < 5_000_000, "{size} bytes");
    let card = fs::read_to_string(root().join("models/bundles/drawn-10.md")).expect("a model card");
    for word in ["Data", "Licence", "Accuracy"] {
        assert!(
            card.contains(word),
            "the model card does not speak of {word}"
        );
    }
}

#[test]
fn a_profile_says_what_computed_each_layer() {
    let profile = |threads: &str| {
        let run = succeed(
            program("edge-runtime")
                .args(["profile", "--json", "--runs", "2", "--threads", threads])
                .arg("--bundle")
                .arg(demo_bundle()),
        );
        let layers: Value = serde_json::from_str(&run.stdout).expect("JSON");
        let kinds = layers.as_array().expect("layers").iter().map(|layer| {
            assert!(layer["ms"].as_f64() >= layer["min_ms"].as_f64(), "{layer}");
            let text = |name: &str| layer[name].as_str().expect("text").to_owned();
            (text("name"), text("kind"), text("engine"))
        });
        kinds.collect::<Vec<_>>()
    };
    let layers = profile("1");
    let ours = layers.iter().filter(|(_, _, engine)| engine != "tract");
    // EfficientNet-Lite0 has sixteen depthwise convolutions.
    assert!(ours.count() >= 16, "{layers:?}");
    assert_eq!(layers, profile("2"));
}
