//! `host-train export`: from a run to a bundle, with the proof that both compute the same.

mod measure;
mod parity;
mod purity;

use std::iter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use dataset::Dataset;
use models::quantize::Scheme;
use models::{
    Bundle, Graph, LabelSet, Manifest, Precision, PreprocessSpec, Provenance, Weights, passes, zoo,
};

use crate::checkpoint::{self, Checkpoint, ensure_writable, write_atomically};
use crate::config::TrainConfig;
use crate::data;
use crate::onnx::encode;
use crate::run;
use purity::Purity;

/// Writes a trained network as a bundle, after proving that it computes the same.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  host-train export --run runs/first --out waste.sortline
  host-train export --run runs/first --out waste.sortline --onnx waste.onnx
  host-train export --run runs/first --out waste.sortline --purity 0.99,hazardous=0.999

Where there are validation photos, the logits are divided by the temperature that makes the scores fit
how often they are right on them. For 8 bits: host-train quantize.")]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    destination: Destination,
}

/// What is to become a bundle.
#[derive(clap::Args)]
pub(crate) struct Source {
    /// Folder of the run.
    #[arg(long, value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Which state: best (on validation) or last.
    #[arg(long, default_value = "best")]
    pub(crate) checkpoint: String,
    /// The photos, if they are no longer where they were.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Where a bundle goes, and what it says about itself.
#[derive(clap::Args)]
pub(crate) struct Destination {
    /// The bundle to write.
    #[arg(long, value_name = "FILE.sortline")]
    pub(crate) out: PathBuf,
    /// Also write the network as ONNX.
    #[arg(long, value_name = "FILE.onnx")]
    pub(crate) onnx: Option<PathBuf>,
    /// The model's name [default: that of the run's folder].
    #[arg(long)]
    name: Option<String>,
    /// The model's version, to be raised with every model of this name.
    #[arg(long, default_value_t = 1, value_name = "N")]
    bundle_version: u32,
    /// Reject an item whose category scores lower.
    #[arg(long, default_value_t = 0.5, value_name = "SCORE")]
    pub(crate) reject_below: f32,
    /// Reject what scores lower than it must for so pure a category on the validation photos; categories
    /// may differ.
    #[arg(long, value_name = "PART,NAME=PART,...")]
    pub(crate) purity: Option<Purity>,
    /// Leave the scores as they were trained.
    #[arg(long)]
    pub(crate) no_calibration: bool,
}

impl Destination {
    /// Whether these settings make sense, given whether there are validation photos, and the files can be
    /// written.
    pub(crate) fn check(&self, labels: &LabelSet, unseen: bool) -> Result<()> {
        self.wanted_purity(labels)?;
        ensure!(
            self.purity.is_none() || (unseen && !self.no_calibration),
            "--purity needs validation photos, and calibration"
        );
        let mut files = iter::once(&self.out).chain(&self.onnx);
        files.try_for_each(|path| ensure_writable(path))
    }

    /// The wanted purity of each category, where one is wanted.
    fn wanted_purity(&self, labels: &LabelSet) -> Result<Option<Vec<f64>>> {
        let of = |purity: &Purity| purity.of_categories(labels);
        self.purity.as_ref().map(of).transpose()
    }

    /// Writes the bundle, and its network if that is wanted.
    pub(crate) fn write(&self, bundle: &Bundle) -> Result<()> {
        if let Some(path) = &self.onnx {
            write_atomically(path, &bundle.onnx.bytes()?)?;
            say!("{}: {} bytes", path.display(), bundle.onnx.len());
        }
        let out = || self.out.display().to_string();
        bundle.save(&self.out).with_context(out)?;
        let bytes = std::fs::metadata(&self.out).with_context(out)?.len();
        say!("{}: {bytes} bytes, BLAKE3 {}", out(), bundle.hash()?);
        Ok(())
    }
}

/// A run that has something to export.
pub(crate) struct Trained {
    pub(crate) config: TrainConfig,
    pub(crate) labels: LabelSet,
    pub(crate) state: Checkpoint,
    pub(crate) graph: Graph,
    pub(crate) weights: Weights,
    pub(crate) spec: PreprocessSpec,
}

/// Photos of a run.
pub(crate) struct RunPhotos {
    pub(crate) data: Dataset,
    /// Whether they were not trained on.
    pub(crate) unseen: bool,
}

/// Exports.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (source, destination) = (&args.source, &args.destination);
    let mut trained = Trained::open(&source.run, &source.checkpoint)?;
    let photos = trained.photos(source.data.as_deref());
    let unseen = photos.as_ref().filter(|photos| photos.unseen);
    destination.check(&trained.labels, unseen.is_some())?;
    let mut bundle = trained.bundle()?;
    bundle.manifest = trained.manifest(source, destination, Precision::F32)?;
    let squares = match unseen {
        Some(photos) => Some((photos, trained.squares(&photos.data)?)),
        None => None,
    };
    if let Some((_, squares)) = squares.as_ref().filter(|_| !destination.no_calibration) {
        let scores = trained.scores(&bundle, squares)?;
        let calibration = trained.calibration(destination, &scores, &squares.items)?;
        let mut weights = std::mem::take(&mut trained.weights);
        trained.cool(&mut weights, &calibration);
        trained.weights = weights;
        bundle.onnx = trained.bundle()?.onnx;
        calibration.apply(&mut bundle);
    }
    let data = photos.as_ref().map(|photos| &photos.data);
    trained.prove_parity(&bundle.onnx.bytes()?, data)?;
    match &squares {
        Some((photos, squares)) => {
            let scores = trained.scores(&bundle, squares)?;
            let accuracy = trained.accuracy(&photos.data, squares, &scores);
            say!(
                "accuracy on {} {} photos: {:.2}% of items, {:.2}% of categories",
                accuracy.items,
                accuracy.data,
                accuracy.item_accuracy * 100.0,
                accuracy.category_accuracy * 100.0
            );
            bundle.manifest.accuracy = Some(accuracy);
        }
        None => say!("accuracy: not measured, as there are no validation photos"),
    }
    destination.write(&bundle)
}

impl Trained {
    pub(crate) fn open(folder: &Path, which: &str) -> Result<Trained> {
        let config = run::begun(folder)?.with_context(|| {
            format!(
                "{}: no training run is there (no config.toml)",
                folder.display()
            )
        })?;
        let labels = run::labels(folder)?;
        let state = checkpoint::pick(folder, which)?;
        let graph = config.graph(labels.len())?;
        let spec = zoo::preprocess(&config.network, Some(config.input_size))?;
        let weights = state.network_weights(&graph);
        graph
            .check(&weights)
            .with_context(|| folder.display().to_string())?;
        Ok(Trained {
            config,
            labels,
            state,
            graph,
            weights,
            spec,
        })
    }

    /// The photos that were validated on, or those trained on if none were, if they are still there.
    pub(crate) fn photos(&self, folder: Option<&Path>) -> Option<RunPhotos> {
        let mut config = self.config.clone();
        config.data = folder.map_or(config.data, Path::to_owned);
        let read = || -> Result<RunPhotos> {
            let all = dataset::read(&config.data, Some(&self.labels))?;
            let (train, validation) = data::split(&config, &all)?;
            let unseen = !validation.samples.is_empty();
            Ok(RunPhotos {
                data: if unseen { validation } else { train },
                unseen,
            })
        };
        read()
            .map_err(|error| eprintln!("warning: the run's photos cannot be read: {error:#}"))
            .ok()
    }

    /// What a bundle of this run says about itself.
    pub(crate) fn manifest(
        &self,
        source: &Source,
        destination: &Destination,
        precision: Precision,
    ) -> Result<Manifest> {
        let folder = source.run.canonicalize()?;
        let folder_name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let plain = self.plain_manifest()?;
        let categories = self.labels.categories().len();
        let manifest = Manifest {
            name: destination
                .name
                .clone()
                .or(folder_name)
                .unwrap_or(plain.name),
            version: destination.bundle_version,
            precision,
            reject_thresholds: vec![destination.reject_below; categories],
            ..plain
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// The manifest of a first version that rejects nothing.
    fn plain_manifest(&self) -> Result<Manifest> {
        Ok(Manifest {
            name: self.graph.name.clone(),
            version: 1,
            network: self.config.network.clone(),
            labels: self.labels.clone(),
            preprocess: self.spec,
            parameters: self.graph.parameter_count()?,
            macs: self.graph.macs()?,
            precision: Precision::F32,
            reject_thresholds: vec![0.0; self.labels.categories().len()],
            accuracy: None,
            provenance: Provenance {
                data_hash: self.state.data_hash.clone(),
                config: self.config.without_folders().to_toml()?,
                seed: self.config.seed,
                tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            },
        })
    }

    /// What was trained as a bundle, to measure it with.
    pub(crate) fn bundle(&self) -> Result<Bundle> {
        let (graph, weights) = passes::fold_batch_norm(&self.graph, &self.weights)?;
        let onnx = encode(&graph, &weights, &Scheme::float(&graph))?;
        Ok(Bundle::new(self.plain_manifest()?, onnx))
    }
}
