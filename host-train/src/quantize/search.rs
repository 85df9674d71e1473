//! Which ways to quantize a network are tried, and which is kept.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use models::quantize::{Affine, Observer, avoid_ties};
use models::{Weights, passes};
use serde::Serialize;

use super::bench::{Bench, Way, rounded_weights};
use super::observe::{Seen, input_range, mean_inputs, observe};
use crate::progress::Progress;

/// One way that was tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Tried {
    pub(super) ranges: String,
    pub(super) equalized: bool,
    pub(super) biases_corrected: bool,
    /// Signal-to-noise ratio of the logits.
    pub(super) logits_db: f64,
}

/// The way that was kept, and those that were tried, in their order.
pub(super) struct Found {
    pub(super) way: Way,
    pub(super) tried: Vec<Tried>,
    /// The last of `tried` that was kept.
    pub(super) kept: Tried,
    /// For every node with a range of its own where it comes from.
    pub(super) observers: BTreeMap<usize, Observer>,
}

/// A way with the observer of each range.
struct Ranged {
    way: Way,
    observers: BTreeMap<usize, Observer>,
    tried: Tried,
}

/// Tries ranges, equalized channels and corrected biases; each is kept if the logits become better by it.
pub(super) fn search(bench: &Bench<'_>, weights: &Weights) -> Result<Found> {
    let mut tried = Vec::new();
    let seen = observe(&bench.graph, weights, &bench.calibration)?;
    let mut best = best_ranges(bench, weights, &seen, false, &mut tried)?;
    let equal = passes::equalize(&bench.graph, weights, &seen.peaks)?;
    if equal != *weights {
        let seen = observe(&bench.graph, &equal, &bench.calibration)?;
        let other = best_ranges(bench, &equal, &seen, true, &mut tried)?;
        if other.tried.logits_db > best.tried.logits_db {
            best = other;
        }
    }
    let corrected = correct(bench, &best.way)?;
    let quality = Tried {
        biases_corrected: true,
        logits_db: bench.quality(&corrected)?,
        ..best.tried.clone()
    };
    tried.push(quality.clone());
    if quality.logits_db > best.tried.logits_db {
        best.way = corrected;
        best.tried = quality;
    }
    Ok(Found {
        way: best.way,
        tried,
        kept: best.tried,
        observers: best.observers,
    })
}

/// One observer for all tensors, or for each the one that errs least on photos that it has not seen.
fn best_ranges(
    bench: &Bench<'_>,
    weights: &Weights,
    seen: &Seen,
    equalized: bool,
    tried: &mut Vec<Tried>,
) -> Result<Ranged> {
    let all = |observer: Observer| seen.halves.keys().map(|&node| (node, observer)).collect();
    let mut contenders: Vec<(String, BTreeMap<usize, Observer>)> = Observer::ALL
        .into_iter()
        .map(|observer| (observer.name().to_owned(), all(observer)))
        .collect();
    let mixed = seen.halves.iter().map(|(&node, [known, unknown])| {
        let error = |observer: &Observer| {
            unknown.mean_square_error(Affine::covering(observer.range(known)))
        };
        let best = Observer::ALL
            .into_iter()
            .min_by(|a, b| error(a).total_cmp(&error(b)))
            .unwrap_or(Observer::MinMax);
        (node, best)
    });
    contenders.push(("best for each tensor".to_owned(), mixed.collect()));
    let progress = Progress::new("trying ranges", "ways", contenders.len() as u64);
    let mut best: Option<Ranged> = None;
    for (ranges, observers) in contenders {
        let way = Way {
            weights: weights.clone(),
            ranges: affines(bench, seen, &observers)?,
            float: BTreeSet::new(),
            finetuned_epochs: 0,
        };
        let quality = Tried {
            ranges,
            equalized,
            biases_corrected: false,
            logits_db: bench.quality(&way)?,
        };
        progress.advance(1);
        tried.push(quality.clone());
        let better = |best: &Ranged| quality.logits_db > best.tried.logits_db;
        if best.as_ref().is_none_or(better) {
            best = Some(Ranged {
                way,
                observers,
                tried: quality,
            });
        }
    }
    progress.finish();
    best.ok_or_else(|| anyhow::anyhow!("there is no observer"))
}

/// The rounding of every node; of those without a range of their own any.
fn affines(
    bench: &Bench<'_>,
    seen: &Seen,
    observers: &BTreeMap<usize, Observer>,
) -> Result<Vec<Affine>> {
    let mut ranges = vec![Affine::covering([0.0; 2]); bench.graph.nodes.len()];
    ranges[0] = input_range(&bench.trained.spec)?;
    for (node, [first, second]) in &seen.halves {
        let mut all = first.clone();
        all.merge(second);
        ranges[*node] = Affine::covering(observers[node].range(&all));
    }
    avoid_ties(&bench.graph, &mut ranges);
    Ok(ranges)
}

/// The same way with biases that make up for the mean error of each layer.
fn correct(bench: &Bench<'_>, way: &Way) -> Result<Way> {
    let means = mean_inputs(&bench.graph, &way.weights, &way.ranges, &bench.calibration)?;
    let rounded = rounded_weights(&bench.graph, &way.weights, &bench.scheme(way));
    Ok(Way {
        weights: passes::correct_bias(&bench.graph, &way.weights, &rounded, &means)?,
        ..way.clone()
    })
}

/// What the logits gain when one layer alone stays f32, for every layer, in decibels.
pub(super) fn sensitivity(bench: &Bench<'_>, way: &Way) -> Result<BTreeMap<usize, f64>> {
    let layers = bench.layers();
    let progress = Progress::new("judging layers", "layers", layers.len() as u64);
    let all = bench.quality(way)?;
    let gain = |layer: usize| {
        let mut other = way.clone();
        other.float.insert(bench.graph.nodes[layer].name.clone());
        let gain = bench.quality(&other)? - all;
        progress.advance(1);
        Ok((layer, gain))
    };
    let gains = layers.into_iter().map(gain).collect();
    progress.finish();
    gains
}
