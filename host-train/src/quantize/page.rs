//! The outcome as a page.

use super::outcome::{Outcome, megabytes};
use crate::chart::{Line, svg};
use crate::report::page::Page;

/// A page that needs no other file.
pub(super) fn page(outcome: &Outcome) -> String {
    let mut page = Page::new(&format!("{} in 8 bits", outcome.network));
    summary(&mut page, outcome);
    layers(&mut page, outcome);
    classes(&mut page, outcome);
    page.heading("What was tried");
    page.paragraph(&format!(
        "Signal-to-noise ratio of the logits against f32, on some of the {} calibration photos.",
        outcome.calibration_photos
    ));
    let tried = outcome.tried.iter().map(|tried| {
        let kept = if *tried == outcome.kept { "kept" } else { "" };
        let quality = format!("{:.1} dB", tried.logits_db);
        vec![tried.describe(), quality, kept.to_owned()]
    });
    page.table(&["ranges", "logits", ""], tried.collect());
    page.finish()
}

fn summary(page: &mut Page, outcome: &Outcome) {
    page.heading("Measured");
    let row = |name: &str, f32: String, int8: String| vec![name.to_owned(), f32, int8];
    let (f32, int8) = (&outcome.f32, &outcome.int8);
    let percent = |photos: usize| outcome.percent(photos);
    page.table(
        &["", "f32", "int8"],
        vec![
            row(
                "items right",
                percent(f32.right_items),
                percent(int8.right_items),
            ),
            row(
                "categories right",
                percent(f32.right_categories),
                percent(int8.right_categories),
            ),
            row("ONNX file", megabytes(f32.bytes), megabytes(int8.bytes)),
        ],
    );
    let [items, categories] = outcome.lost();
    page.paragraph(&format!(
        "On {} photos, each as the sorting program sees it: the same item on {}, {items:.2} points of items \
         and {categories:.2} of categories lost, logits with {:.1} dB between signal and noise. Layers that \
         stay f32: {}.",
        outcome.photos,
        outcome.percent(outcome.same_item),
        outcome.logits_db,
        match outcome.float_layers.is_empty() {
            true => "none".to_owned(),
            false => outcome.float_layers.join(", "),
        }
    ));
}

fn layers(page: &mut Page, outcome: &Outcome) {
    page.heading("Layers");
    page.paragraph(
        "Signal-to-noise ratio of each tensor against f32, in the order of the network, with all that comes \
         before in 8 bits; and by how much the logits become better when one layer alone stays f32.",
    );
    let line = |name: &str, value: &dyn Fn(usize) -> Option<f64>| {
        let points = (0..outcome.layers.len()).filter_map(|n| Some([n as f64, value(n)?]));
        Line {
            name: name.to_owned(),
            points: points.collect(),
        }
    };
    let noise = line("tensors", &|n| outcome.layers[n].tensor_db);
    page.raw(&svg("tensor", "dB", &[noise]));
    let gain = line("layers", &|n| outcome.layers[n].gain_db);
    page.raw(&svg("layer", "gain in dB", &[gain]));
    let decibels = |value: Option<f64>| value.map_or_else(String::new, |db| format!("{db:.1}"));
    let rows = outcome.layers.iter().enumerate().map(|(n, layer)| {
        let range = layer.range.map_or_else(
            || "f32".to_owned(),
            |[low, high]| format!("{low:.3} to {high:.3}"),
        );
        vec![
            format!("{n} {}", layer.name),
            range,
            layer.observer.clone().unwrap_or_default(),
            decibels(layer.tensor_db),
            decibels(layer.gain_db),
            if layer.float { "f32" } else { "" }.to_owned(),
        ]
    });
    let head = ["", "range", "observer", "tensor, dB", "gain, dB", "stays"];
    page.table(&head, rows.collect());
}

fn classes(page: &mut Page, outcome: &Outcome) {
    page.heading("Items");
    let rows = outcome.classes.iter().map(|class| {
        let part = |right: usize| match class.photos {
            0 => "–".to_owned(),
            photos => format!("{:.1}%", 100.0 * right as f64 / photos as f64),
        };
        vec![
            class.item.clone(),
            class.photos.to_string(),
            part(class.right_f32),
            part(class.right_int8),
        ]
    });
    page.table(&["", "photos", "f32", "int8"], rows.collect());
}
