//! The detector on frames of a real belt, against the annotated items.

use std::fs;

use serde_json::Value;
use tests::{photos, program, succeed};

/// The options of README's example.
const OPTIONS: [&str; 12] = [
    "--mm-per-px",
    "0.45",
    "--belt-runs",
    "vertical",
    "--belt-area",
    "190,0,1560,1080",
    "--min-area-mm2",
    "4000",
    "--shadow-share",
    "0.8",
    "--neck-share",
    "0.9",
];

#[test]
fn nearly_every_item_on_a_dirty_belt_is_found() {
    let Some(belt) = photos("belt") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let json = folder.path().join("seen.json");
    succeed(
        program("edge-runtime")
            .args(["detect", "--frames"])
            .arg(&belt)
            .arg("--truth")
            .arg(belt.join("via_region_data.json"))
            .args(OPTIONS)
            .arg("--json")
            .arg(&json),
    );
    let text = fs::read_to_string(json).expect("the report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    for kind in ["masks", "boxes"] {
        let counts = &report["total"][kind];
        let count = |name: &str| counts[name].as_f64().expect("a count");
        let found = count("found");
        let (recall, precision) = (
            found / (found + count("missed")),
            found / (found + count("false")),
        );
        assert!(recall >= 0.95 && precision >= 0.9, "{kind}: {counts}");
    }
}
