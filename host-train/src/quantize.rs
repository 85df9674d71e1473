//! `host-train quantize`: from a run to an 8-bit bundle that is as good as f32, or to none.
//!
//! [`photos`] looks at the calibration photos, [`observe`] watches them flow through the f32 network
//! ([`probe`]), [`search`] tries ways to quantize on a [`bench`], and what is kept is proved on the
//! validation photos: where it loses too much, the layers that hurt most stay f32, and where that does
//! not help, the network is trained on with rounding ([`finetune`]). [`outcome`] and [`page`] tell what
//! came out.

mod bench;
mod finetune;
mod observe;
mod outcome;
mod page;
mod photos;
mod probe;
mod search;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use models::quantize::Scheme;
use models::{Precision, Weights, passes};

use crate::calibrate;
use crate::checkpoint::{ensure_writable, write_atomically};
use crate::export::{Destination, RunPhotos, Source, Trained};
use crate::progress::Progress;
use crate::squares::Squares;
use bench::{Bench, Way};
use finetune::Finetuning;
use outcome::{Limits, Outcome};
use search::Found;

/// Photos on which ways to quantize are compared.
const JUDGES: usize = 32;
/// Photos on which layers are compared.
const COMPARED: usize = 16;
/// Layers with a larger part of all weights stay no f32: the file would be hardly smaller.
const LARGE: f64 = 0.05;

/// Writes a trained network as a bundle in 8 bits that loses next to nothing, or says what would be lost.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  host-train quantize --run runs/first --calibrate photos --out waste.sortline
  host-train quantize --run runs/first --calibrate photos --out waste.sortline --report waste.html

The calibration photos set the ranges of the 8-bit tensors; their labels only serve to notice photos of
something else. Where the folder has a split called train, those are taken.")]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Photos like those that will be sorted, to set the ranges with.
    #[arg(long, value_name = "DIR")]
    calibrate: PathBuf,
    /// How many of them are used.
    #[arg(long, default_value_t = 128, value_name = "N")]
    calibration_photos: usize,
    #[command(flatten)]
    destination: Destination,
    /// Points of category accuracy on the validation photos that may be lost.
    #[arg(long, default_value_t = 0.5, value_name = "POINTS")]
    max_drop: f64,
    /// Points of item accuracy that may be lost.
    #[arg(long, default_value_t = 1.0, value_name = "POINTS")]
    max_item_drop: f64,
    /// Layers that may stay f32 where the limits cannot be met without; only such with at most a twentieth
    /// of all weights.
    #[arg(long, default_value_t = 8, value_name = "N")]
    max_float_layers: usize,
    /// Passes over the photos of the run in which the network learns to live with 8 bits, where more is
    /// lost than may be even with layers in f32; 0: none.
    #[arg(long, default_value_t = 2, value_name = "N")]
    finetune_epochs: u32,
    /// Highest learning rate of these.
    #[arg(long, default_value_t = 1e-5, value_name = "LR")]
    finetune_lr: f64,
    /// Also write what was tried and measured, as a page.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Also write it for machines.
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
}

/// Quantizes.
pub(crate) fn run(args: &Args) -> Result<()> {
    for drop in [args.max_drop, args.max_item_drop] {
        let good = (0.0..=100.0).contains(&drop);
        ensure!(good, "--max-drop and --max-item-drop must be in 0..=100");
    }
    let lr = args.finetune_lr;
    ensure!(
        lr > 0.0 && lr <= 1.0,
        "--finetune-lr must be above 0 and at most 1"
    );
    let trained = Trained::open(&args.source.run, &args.source.checkpoint)?;
    let proof = trained
        .photos(args.source.data.as_deref())
        .context("without the run's photos nothing can be proved: give them with --data")?;
    args.destination.check(&trained.labels, proof.unseen)?;
    let mut pages = args.report.iter().chain(&args.json);
    pages.try_for_each(|path| ensure_writable(path))?;
    if !proof.unseen {
        eprintln!(
            "warning: the run has no validation photos; what is lost is measured on photos that were \
             trained on"
        );
    }
    let calibration = photos::calibration(&trained, &args.calibrate, args.calibration_photos)?;
    let squares = trained.squares(&proof.data)?;
    let (graph, weights) = passes::fold_batch_norm(&trained.graph, &trained.weights)?;
    let float = trained.bundle()?;
    let shipped = args.shipped(&proof);
    let expected = shipped.scores(trained.scores(&float, &squares)?, &squares.items);
    let judges = calibration.some(JUDGES);
    let bench = Bench {
        wanted: judges.scores(&float, &Progress::silent())?,
        trained: &trained,
        graph,
        calibration,
        judges,
    };
    photos::look_at_labels(&bench, &float, &squares, &expected.raw)?;
    let found = search::search(&bench, &weights)?;
    let gains = search::sensitivity(&bench, &found.way)?;
    let proved = (&squares, &expected, shipped);
    let (mut way, mut scores) = args.prove(&bench, found.way.clone(), &gains, proved)?;
    let labels = &trained.labels;
    let lost = outcome::lost(&squares, labels, [&expected.shipped, &scores.shipped]);
    if !args.limits().hold(lost) && args.finetune_epochs > 0 {
        let judge = |way: &Way| {
            let scores = measure(&bench, way, &squares, shipped)?;
            Ok(squares.right(&scores.shipped, labels))
        };
        let tuned = finetune::finetune(&bench, &found.way, args.finetuning(), judge)?;
        (way, scores) = args.prove(&bench, tuned, &gains, proved)?;
    }
    let outcome = outcome(
        &bench,
        &found,
        &way,
        &gains,
        (&squares, [&expected, &scores]),
        args.limits(),
    )?;
    args.tell(&outcome)?;
    let lost = outcome.lost();
    if !outcome.holds {
        bail!(
            "8 bits lose {:.2} points of category accuracy and {:.2} of item accuracy on {} photos with \
             {} layers in f32; at most {} and {} may be lost (--max-drop, --max-item-drop, \
             --max-float-layers, --finetune-epochs). No bundle is written",
            lost[1],
            lost[0],
            squares.len(),
            way.float.len(),
            args.max_drop,
            args.max_item_drop
        );
    }
    args.write(&bench, way, &outcome, &proof, (&squares, &scores.raw))
}

/// What a bundle says about the photos it is proved on: as the network computes it, and as it is after
/// the calibration that the bundle will get.
struct Scores {
    raw: Vec<Vec<f32>>,
    shipped: Vec<Vec<f32>>,
}

/// What a way says about photos.
fn measure(bench: &Bench<'_>, way: &Way, photos: &Squares, shipped: Shipped) -> Result<Scores> {
    let bundle = bench.bundle(&way.weights, &bench.scheme(way))?;
    let scores = bench.trained.scores(&bundle, photos)?;
    Ok(shipped.scores(scores, &photos.items))
}

/// Whether bundles are calibrated on the photos.
#[derive(Clone, Copy)]
struct Shipped {
    calibrated: bool,
}

impl Shipped {
    fn scores(self, raw: Vec<Vec<f32>>, items: &[usize]) -> Scores {
        let temperature = match self.calibrated {
            true => calibrate::temperature(&raw, items),
            false => 1.0,
        };
        let shipped = raw.iter().map(|row| calibrate::rescaled(row, temperature));
        Scores {
            shipped: shipped.collect(),
            raw,
        }
    }
}

impl Args {
    fn shipped(&self, proof: &RunPhotos) -> Shipped {
        Shipped {
            calibrated: proof.unseen && !self.destination.no_calibration,
        }
    }

    fn finetuning(&self) -> Finetuning<'_> {
        Finetuning {
            epochs: self.finetune_epochs,
            lr: self.finetune_lr,
            data: self.source.data.as_deref(),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            items: self.max_item_drop,
            categories: self.max_drop,
        }
    }

    /// Lets the layers that hurt most stay f32, until no more is lost than may be. Gives what came out
    /// last, and its scores of the photos.
    fn prove(
        &self,
        bench: &Bench<'_>,
        mut way: Way,
        gains: &BTreeMap<usize, f64>,
        (photos, expected, shipped): (&Squares, &Scores, Shipped),
    ) -> Result<(Way, Scores)> {
        let mut worst: Vec<(usize, f64)> = gains
            .iter()
            .map(|(&layer, &gain)| (layer, gain))
            .filter(|&(layer, _)| bench.share_of_weights(layer) <= LARGE)
            .collect();
        worst.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut worst = worst.into_iter().take(self.max_float_layers);
        loop {
            let scores = measure(bench, &way, photos, shipped)?;
            let labels = &bench.trained.labels;
            let lost = outcome::lost(photos, labels, [&expected.shipped, &scores.shipped]);
            if self.limits().hold(lost) {
                return Ok((way, scores));
            }
            let Some((layer, gain)) = worst.next() else {
                return Ok((way, scores));
            };
            let name = &bench.graph.nodes[layer].name;
            say!(
                "{:.2} points of items and {:.2} of categories are lost: {name} stays f32, which improves the \
                 logits by {gain:.1} dB",
                lost[0],
                lost[1]
            );
            way.float.insert(name.clone());
        }
    }

    /// Prints the tables and writes the files.
    fn tell(&self, outcome: &Outcome) -> Result<()> {
        say!("{}", outcome.text().trim_end());
        if let Some(path) = &self.report {
            write_atomically(path, page::page(outcome).as_bytes())?;
            say!("{}", path.display());
        }
        if let Some(path) = &self.json {
            write_atomically(path, &serde_json::to_vec_pretty(outcome)?)?;
            say!("{}", path.display());
        }
        Ok(())
    }

    /// Writes the bundle, with scores that mean what they say.
    fn write(
        &self,
        bench: &Bench<'_>,
        mut way: Way,
        outcome: &Outcome,
        proof: &RunPhotos,
        (photos, scores): (&Squares, &[Vec<f32>]),
    ) -> Result<()> {
        let trained = bench.trained;
        let scheme = bench.scheme(&way);
        let mut bundle = bench.bundle(&way.weights, &scheme)?;
        bundle.manifest = trained.manifest(&self.source, &self.destination, Precision::Int8)?;
        bundle
            .manifest
            .provenance
            .config
            .push_str(&outcome.settings());
        if proof.unseen {
            if self.shipped(proof).calibrated {
                let calibration = trained.calibration(&self.destination, scores, &photos.items)?;
                // All weights and biases of a channel get one factor, so that only scales change.
                trained.cool(&mut way.weights, &calibration);
                bundle.onnx = bench.bundle(&way.weights, &scheme)?.onnx;
                calibration.apply(&mut bundle);
            }
            let scores = trained.scores(&bundle, photos)?;
            bundle.manifest.accuracy = Some(trained.accuracy(&proof.data, photos, &scores));
        }
        self.destination.write(&bundle)
    }
}

/// All that was measured.
fn outcome(
    bench: &Bench<'_>,
    found: &Found,
    way: &Way,
    gains: &BTreeMap<usize, f64>,
    (photos, scores): (&Squares, [&Scores; 2]),
    limits: Limits,
) -> Result<Outcome> {
    let scheme = bench.scheme(way);
    let compared = bench.judges.some(COMPARED);
    let float = Scheme::float(&bench.graph);
    let noise = observe::tensor_noise(&bench.graph, &way.weights, [&float, &scheme], &compared)?;
    let size = |weights: &Weights, scheme: &Scheme| -> Result<usize> {
        Ok(bench.bundle(weights, scheme)?.onnx.len())
    };
    Ok(Outcome::new(
        bench,
        found,
        (way, &scheme),
        (gains, &noise),
        (photos, scores),
        [size(&way.weights, &float)?, size(&way.weights, &scheme)?],
        limits,
    ))
}
