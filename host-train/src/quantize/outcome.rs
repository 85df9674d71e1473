//! What quantizing came to, as figures and as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use models::LabelSet;
use models::quantize::Scheme;
use serde::Serialize;

use super::Scores;
use super::bench::{Bench, Way, likeness};
use super::search::{Found, Tried};
use crate::squares::Squares;
use crate::step::highest;

/// Layers that the text names.
const NAMED: usize = 8;

/// The figures.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) network: String,
    pub(super) calibration_photos: usize,
    pub(super) tried: Vec<Tried>,
    pub(super) kept: Tried,
    /// Names of the layers that stay f32.
    pub(super) float_layers: Vec<String>,
    /// Epochs of fine-tuning with rounding; 0: none.
    pub(super) finetuned_epochs: u32,
    /// Signal-to-noise ratio of the logits on the photos that were measured.
    pub(super) logits_db: f64,
    /// How many photos were measured.
    pub(super) photos: usize,
    pub(super) f32: Measured,
    pub(super) int8: Measured,
    /// Photos with the same best item in both.
    pub(super) same_item: usize,
    pub(super) limits: Limits,
    /// Whether no more is lost than may be; no bundle is written otherwise.
    pub(super) holds: bool,
    pub(super) classes: Vec<Class>,
    pub(super) layers: Vec<Layer>,
}

/// Points of accuracy that may be lost.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Limits {
    pub(super) items: f64,
    pub(super) categories: f64,
}

impl Limits {
    /// Whether no more is lost.
    pub(super) fn hold(self, [items, categories]: [f64; 2]) -> bool {
        // A photo in so many is that part of a point: what is equal must not fail for rounding.
        items <= self.items + 1e-9 && categories <= self.categories + 1e-9
    }
}

/// One form of the network.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    /// Of the ONNX file.
    pub(super) bytes: usize,
    pub(super) right_items: usize,
    pub(super) right_categories: usize,
}

/// One item.
#[derive(Debug, Serialize)]
pub(super) struct Class {
    pub(super) item: String,
    pub(super) photos: usize,
    pub(super) right_f32: usize,
    pub(super) right_int8: usize,
}

/// One tensor that may be an 8-bit one, and the layer that makes it, if one does.
#[derive(Debug, Serialize)]
pub(super) struct Layer {
    pub(super) name: String,
    /// Whose range it is; nothing where it is not rounded.
    pub(super) observer: Option<String>,
    pub(super) range: Option<[f32; 2]>,
    /// Signal-to-noise ratio against f32, with all that comes before in 8 bits; nothing for the logits.
    pub(super) tensor_db: Option<f64>,
    /// What the logits gain when this layer alone stays f32.
    pub(super) gain_db: Option<f64>,
    pub(super) float: bool,
}

/// Points of item and category accuracy that are lost from the first scores to the second.
pub(super) fn lost(photos: &Squares, labels: &LabelSet, scores: [&[Vec<f32>]; 2]) -> [f64; 2] {
    let [before, after] = scores.map(|scores| photos.right(scores, labels));
    let points = |n: usize| (before[n] as f64 - after[n] as f64) * 100.0 / photos.len() as f64;
    [points(0), points(1)]
}

impl Outcome {
    pub(super) fn new(
        bench: &Bench<'_>,
        found: &Found,
        (way, scheme): (&Way, &Scheme),
        (gains, noise): (&BTreeMap<usize, f64>, &BTreeMap<usize, f64>),
        (photos, [expected, scores]): (&Squares, [&Scores; 2]),
        bytes: [usize; 2],
        limits: Limits,
    ) -> Outcome {
        let labels = &bench.trained.labels;
        let measured = |bytes: usize, scores: &Scores| {
            let [right_items, right_categories] = photos.right(&scores.shipped, labels);
            Measured {
                bytes,
                right_items,
                right_categories,
            }
        };
        let best =
            |scores: &Scores| -> Vec<usize> { scores.raw.iter().map(|row| highest(row)).collect() };
        let (exact, rounded) = (best(expected), best(scores));
        let class = |item: usize| {
            let own = || (0..photos.len()).filter(|&photo| photos.items[photo] == item);
            Class {
                item: labels.path(item),
                photos: own().count(),
                right_f32: own().filter(|&photo| exact[photo] == item).count(),
                right_int8: own().filter(|&photo| rounded[photo] == item).count(),
            }
        };
        let layer = |index: usize| {
            let name = &bench.graph.nodes[index].name;
            Layer {
                observer: found
                    .observers
                    .get(&index)
                    .filter(|_| scheme.tensors[index].is_some())
                    .map(|observer| observer.name().to_owned()),
                range: scheme.tensors[index].map(|affine| affine.range()),
                tensor_db: noise.get(&index).copied(),
                gain_db: gains.get(&index).copied(),
                float: way.float.contains(name),
                name: name.clone(),
            }
        };
        Outcome {
            network: bench.graph.name.clone(),
            calibration_photos: bench.calibration.len(),
            tried: found.tried.clone(),
            kept: found.kept.clone(),
            float_layers: way.float.iter().cloned().collect(),
            finetuned_epochs: way.finetuned_epochs,
            logits_db: likeness(&expected.raw, &scores.raw),
            photos: photos.len(),
            f32: measured(bytes[0], expected),
            int8: measured(bytes[1], scores),
            same_item: exact.iter().zip(&rounded).filter(|(a, b)| a == b).count(),
            limits,
            holds: limits.hold(lost(photos, labels, [&expected.shipped, &scores.shipped])),
            classes: (0..labels.len()).map(class).collect(),
            layers: (0..bench.graph.nodes.len())
                .filter(|index| noise.contains_key(index) || gains.contains_key(index))
                .map(layer)
                .collect(),
        }
    }

    /// Points of item and category accuracy that are lost.
    pub(super) fn lost(&self) -> [f64; 2] {
        let points = |before: usize, after: usize| {
            (before as f64 - after as f64) * 100.0 / self.photos as f64
        };
        [
            points(self.f32.right_items, self.int8.right_items),
            points(self.f32.right_categories, self.int8.right_categories),
        ]
    }

    /// The layers without which most would be gained, the worst first.
    pub(super) fn worst(&self) -> Vec<&Layer> {
        let mut layers: Vec<&Layer> = self.layers.iter().filter(|l| l.gain_db.is_some()).collect();
        layers.sort_by(|a, b| {
            b.gain_db
                .unwrap_or(0.0)
                .total_cmp(&a.gain_db.unwrap_or(0.0))
        });
        layers
    }

    /// For a person.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\nlogits, signal to noise    ranges");
        for tried in &self.tried {
            let kept = if *tried == self.kept { "  kept" } else { "" };
            let line = format!("{:>18.1} dB      {}", tried.logits_db, tried.describe());
            let _ = writeln!(text, "{line}{kept}");
        }
        let _ = writeln!(text, "\ngain in f32  layer that lost most");
        for layer in self.worst().into_iter().take(NAMED) {
            let float = if layer.float { "  stays f32" } else { "" };
            let gain = layer.gain_db.unwrap_or(0.0);
            let _ = writeln!(text, "{gain:>8.2} dB  {}{float}", layer.name);
        }
        let _ = writeln!(
            text,
            "\n{} photos        f32    int8\nitems right   {:>6}  {:>6}\ncategories    {:>6}  {:>6}\n\
             ONNX          {:>6}  {:>6}\nthe same item on {} ({}), logits {:.1} dB, {} layers in f32",
            self.photos,
            self.percent(self.f32.right_items),
            self.percent(self.int8.right_items),
            self.percent(self.f32.right_categories),
            self.percent(self.int8.right_categories),
            megabytes(self.f32.bytes),
            megabytes(self.int8.bytes),
            self.same_item,
            self.percent(self.same_item),
            self.logits_db,
            self.float_layers.len()
        );
        if self.finetuned_epochs > 0 {
            let _ = writeln!(
                text,
                "fine-tuned with rounding, epoch {}",
                self.finetuned_epochs
            );
        }
        let lost = self.classes.iter().filter(|c| c.right_f32 != c.right_int8);
        for class in lost {
            let _ = writeln!(
                text,
                "{}: {} of {} right in f32, {} in int8",
                class.item, class.right_f32, class.photos, class.right_int8
            );
        }
        text
    }

    /// How it was quantized, as TOML, to go with the settings of the training.
    pub(super) fn settings(&self) -> String {
        format!(
            "\n[quantize]\ncalibration_photos = {}\nranges = {:?}\nequalized = {}\n\
             biases_corrected = {}\nfloat_layers = {:?}\nfinetuned_epochs = {}\n",
            self.calibration_photos,
            self.kept.ranges,
            self.kept.equalized,
            self.kept.biases_corrected,
            self.float_layers,
            self.finetuned_epochs
        )
    }

    /// A part of the photos.
    pub(super) fn percent(&self, photos: usize) -> String {
        format!("{:.2}%", 100.0 * photos as f64 / self.photos.max(1) as f64)
    }
}

impl Tried {
    /// For a person.
    pub(super) fn describe(&self) -> String {
        let equalized = if self.equalized {
            ", channels equalized"
        } else {
            ""
        };
        let corrected = match self.biases_corrected {
            true => ", biases corrected",
            false => "",
        };
        format!("{}{equalized}{corrected}", self.ranges)
    }
}

/// A size for a person.
pub(super) fn megabytes(bytes: usize) -> String {
    format!("{:.1}MB", bytes as f64 / 1e6)
}
