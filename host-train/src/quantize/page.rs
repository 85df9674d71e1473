//! The outcome as a page.

use super::outcome::{Class, Layer, Outcome, megabytes};
use crate::chart::{Line, Series, bars, svg};
use crate::report::page::Page;

/// Layers whose loss is drawn.
const DRAWN: usize = 16;

/// A page that needs no other file.
pub(super) fn page(outcome: &Outcome) -> String {
    let mut page = Page::new(&format!("{} in 8 bits", outcome.network));
    summary(&mut page, outcome);
    classes(&mut page, outcome);
    losses(&mut page, outcome);
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
    layers(&mut page, outcome);
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
    let limits = outcome.limits;
    page.paragraph(&format!(
        "{}: at most {} points of items and {} of categories may be lost.",
        match outcome.holds {
            true => "A bundle is written",
            false => "No bundle is written",
        },
        limits.items,
        limits.categories
    ));
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
    if outcome.finetuned_epochs > 0 {
        page.paragraph(&format!(
            "The weights are those after epoch {} of fine-tuning with rounding. They learned on, so that 8 bits \
             are compared with f32 as it was before; what was tried and what lost most is from before as well.",
            outcome.finetuned_epochs
        ));
    }
}

fn losses(page: &mut Page, outcome: &Outcome) {
    page.heading("What lost most");
    page.paragraph("By how much the logits become better when one layer alone stays f32.");
    let worst: Vec<&Layer> = outcome.worst().into_iter().take(DRAWN).collect();
    let names: Vec<String> = worst.iter().map(|layer| layer.name.clone()).collect();
    let gain = Series {
        name: "gain in dB",
        values: worst.iter().map(|layer| layer.gain_db).collect(),
    };
    page.raw(&bars(&names, "", &[gain]));
    page.paragraph(
        "Signal-to-noise ratio of each tensor against f32, in the order of the network, with all that comes \
         before in 8 bits.",
    );
    let points = outcome.layers.iter().enumerate();
    let noise = Line {
        name: "signal to noise".to_owned(),
        points: points
            .filter_map(|(n, layer)| Some([n as f64, layer.tensor_db?]))
            .collect(),
    };
    page.raw(&svg("tensor", "dB", &[noise]));
}

fn layers(page: &mut Page, outcome: &Outcome) {
    page.heading("All tensors and layers");
    page.paragraph(
        "Tensors without a range are not rounded by themselves: the ReLU that follows limits them first.",
    );
    let decibels = |value: Option<f64>| value.map_or_else(String::new, |db| format!("{db:.1}"));
    let rows = outcome.layers.iter().enumerate().map(|(n, layer)| {
        let range = layer
            .range
            .map_or_else(String::new, |[low, high]| format!("{low:.3} to {high:.3}"));
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
    let share =
        |right: usize, photos: usize| (photos > 0).then(|| 100.0 * right as f64 / photos as f64);
    let names: Vec<String> = outcome
        .classes
        .iter()
        .map(|class| class.item.clone())
        .collect();
    let series = |name: &'static str, right: &dyn Fn(&Class) -> usize| {
        let values = outcome.classes.iter();
        Series {
            name,
            values: values
                .map(|class| share(right(class), class.photos))
                .collect(),
        }
    };
    let f32 = series("f32", &|class| class.right_f32);
    let int8 = series("int8", &|class| class.right_int8);
    page.raw(&bars(&names, "%", &[f32, int8]));
    let rows = outcome.classes.iter().map(|class| {
        let part = |right: usize| match share(right, class.photos) {
            None => "–".to_owned(),
            Some(share) => format!("{share:.1}% ({right})"),
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
