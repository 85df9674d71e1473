//! ONNX Runtime on the same inputs.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{root, succeed};

/// How the predictions of `host-train evaluate` and of ONNX Runtime compare.
#[derive(Debug)]
pub struct Comparison {
    /// How many photos there are.
    pub photos: usize,
    /// How many have the same best item in both.
    pub same: usize,
    /// How many ONNX Runtime recognises.
    pub right: usize,
}

/// Runs `network.onnx` on the inputs that `evaluate` left in `folder`: `inputs.npy`,
/// `predictions.csv` and, read already, `evaluation.json`.
///
/// # Panics
/// A file is missing or does not fit the others.
#[track_caller]
pub fn compare(
    python: &mut Command,
    network: &str,
    folder: &Path,
    evaluation: &Value,
) -> Comparison {
    let at = |name: &str| folder.join(name);
    succeed(
        python
            .arg(root().join("tests/reference/onnx_logits.py"))
            .args([at(network), at("inputs.npy"), at("logits.csv")]),
    );
    let classes = evaluation["classes"].as_array().expect("classes");
    let logits = fs::read_to_string(at("logits.csv")).expect("logits");
    let best: Vec<String> = logits
        .lines()
        .map(|line| path_of(classes, best(line)))
        .collect();
    let predictions = predictions(&at("predictions.csv"));
    assert_eq!(predictions.len(), best.len(), "one row a photo");
    let count = |column: usize| {
        let pairs = predictions.iter().zip(&best);
        pairs.filter(|(row, best)| row[column] == **best).count()
    };
    Comparison {
        photos: best.len(),
        same: count(1),
        right: count(0),
    }
}

/// The class of the largest logit.
fn best(line: &str) -> usize {
    let logits = line
        .split(',')
        .map(|value| value.parse::<f64>().expect("a number"));
    let best = logits.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    best.expect("logits").0
}

/// Per photo the true and the predicted label, `category/item`.
fn predictions(file: &Path) -> Vec<[String; 2]> {
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

/// `category/item` of a class, as the predictions name it.
fn path_of(classes: &[Value], index: usize) -> String {
    let of_index = |class: &&Value| class["id"] == index as u64;
    let class = classes
        .iter()
        .find(of_index)
        .expect("every class has an entry with its id");
    let name = |field: &str| class[field].as_str().expect("a name").to_owned();
    name("category") + "/" + &name("item")
}
