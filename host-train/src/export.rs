//! `host-train export`: from a run to a bundle, with the proof that both compute the same.

mod measure;

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use dataset::Dataset;
use models::{
    Bundle, Graph, LabelSet, Manifest, Precision, PreprocessSpec, Provenance, Weights, passes, zoo,
};
use tract_onnx::prelude::*;

use crate::augment::Augmentation;
use crate::checkpoint::{self, Checkpoint, write_atomically};
use crate::config::TrainConfig;
use crate::data;
use crate::loader::{Photos, in_order, normalize, square_len};
use crate::network::Network;
use crate::onnx::{Storage, encode};
use crate::random::{Purpose, generator};
use crate::run;
use crate::step::{highest, predict};
use crate::trainer::device;

/// Images that both sides compute.
const PARITY_IMAGES: usize = 64;
/// Images that go through burn together.
const BATCH: usize = 8;
/// Largest difference of two logits that rounding explains, relative to the largest logit (or 1).
const TOLERANCE: f32 = 1e-3;
/// With 8-bit weights outputs do differ; on so many images the best item must stay.
const INT8_AGREEMENT: f64 = 0.9;

/// Writes a trained network as a bundle, after proving that it computes the same.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  host-train export --run runs/first --out waste.sortline
  host-train export --run runs/first --out waste.sortline --onnx waste.onnx --weights int8
  host-train export --run runs/first --out waste.sortline --purity 0.995

Where there are validation photos, the logits are divided by the temperature that makes the scores fit
how often they are right on them.")]
pub(crate) struct Args {
    /// Folder of the run.
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    /// The bundle to write.
    #[arg(long, value_name = "FILE.sortline")]
    out: PathBuf,
    /// Also write the network as ONNX.
    #[arg(long, value_name = "FILE.onnx")]
    onnx: Option<PathBuf>,
    /// Which state: best (on validation) or last.
    #[arg(long, default_value = "best")]
    checkpoint: String,
    /// How weights are stored; int8 makes the bundle four times smaller.
    #[arg(long, default_value = "f32")]
    weights: Storage,
    /// The model's name [default: that of the run's folder].
    #[arg(long)]
    name: Option<String>,
    /// The model's version, to be raised with every model of this name.
    #[arg(long, default_value_t = 1, value_name = "N")]
    bundle_version: u32,
    /// Reject an item whose category scores lower.
    #[arg(long, default_value_t = 0.5, value_name = "SCORE")]
    reject_below: f32,
    /// Reject what scores lower than it must for so pure a category on the validation photos.
    #[arg(long, value_name = "PART")]
    purity: Option<f64>,
    /// Leave the scores as they were trained.
    #[arg(long)]
    no_calibration: bool,
    /// The photos, if they are no longer where they were.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// A run that has something to export.
pub(crate) struct Trained {
    pub(crate) config: TrainConfig,
    pub(crate) labels: LabelSet,
    pub(crate) state: Checkpoint,
    pub(crate) graph: Graph,
    weights: Weights,
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
    let wanted = args.purity.unwrap_or(0.0);
    ensure!((0.0..=1.0).contains(&wanted), "--purity must be in 0..=1");
    let mut trained = Trained::open(&args.run, &args.checkpoint)?;
    let photos = trained.photos(args.data.as_deref());
    let unseen = photos.as_ref().filter(|photos| photos.unseen);
    let (graph, weights) = passes::fold_batch_norm(&trained.graph, &trained.weights)?;
    let onnx = encode(&graph, &weights, args.weights)?;
    let mut bundle = Bundle::new(trained.manifest(args)?, onnx);
    match unseen {
        Some(photos) if !args.no_calibration => {
            trained.calibrate(args, &mut bundle, &photos.data)?;
        }
        _ => ensure!(
            args.purity.is_none(),
            "--purity needs validation photos, and calibration"
        ),
    }
    let data = photos.as_ref().map(|photos| &photos.data);
    trained.prove_parity(&bundle.onnx, args.weights, data)?;
    match unseen {
        Some(photos) => {
            let accuracy = trained.measure(&bundle, &photos.data)?;
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
    if let Some(path) = &args.onnx {
        write_atomically(path, &bundle.onnx)?;
        say!("{}: {} bytes", path.display(), bundle.onnx.len());
    }
    bundle
        .save(&args.out)
        .with_context(|| args.out.display().to_string())?;
    let bytes = std::fs::metadata(&args.out)?.len();
    say!(
        "{}: {bytes} bytes, BLAKE3 {}",
        args.out.display(),
        bundle.hash()?
    );
    Ok(())
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

    /// Compares burn's outputs with those of the exported network in tract.
    fn prove_parity(&self, onnx: &[u8], storage: Storage, photos: Option<&Dataset>) -> Result<()> {
        let pixels = match photos {
            Some(data) => self.spread(data)?,
            None => self.noise(),
        };
        let numbers = normalize(&self.spec, &pixels)?;
        let count = numbers.len() / square_len(&self.spec);
        let ours = self.burn_outputs(&numbers, count)?;
        let theirs = self.tract_outputs(onnx, &numbers)?;
        let distance = |(a, b): (&f32, &f32)| (a - b).abs();
        let largest = ours.iter().zip(&theirs).map(distance).fold(0.0, f32::max);
        let scale = ours.iter().fold(1.0f32, |most, x| most.max(x.abs()));
        let rows = |outputs: &[f32]| -> Vec<usize> {
            outputs
                .chunks_exact(self.labels.len())
                .map(highest)
                .collect()
        };
        let same = rows(&ours)
            .iter()
            .zip(rows(&theirs))
            .filter(|(a, b)| **a == *b)
            .count();
        say!(
            "parity of burn and the exported network in tract on {count} {}: largest difference of \
             two logits {largest:.2e} (largest logit {scale:.1}), same item on {same} of {count}",
            if photos.is_some() {
                "photos"
            } else {
                "random images (the photos are gone)"
            }
        );
        let holds = match storage {
            Storage::F32 => largest <= TOLERANCE * scale,
            Storage::Int8 => same as f64 >= INT8_AGREEMENT * count as f64,
        };
        ensure!(
            holds,
            "the exported network does not compute what was trained; no bundle is written"
        );
        Ok(())
    }

    /// Some photos from all over the data, preprocessed.
    fn spread(&self, data: &Dataset) -> Result<Vec<u8>> {
        let photos = Photos::new(data, 0);
        let count = photos.len().min(PARITY_IMAGES);
        let indices: Vec<usize> = (0..count).map(|n| n * photos.len() / count).collect();
        Ok(photos
            .batch(&indices, &self.spec, |_, _, _| Augmentation::NONE)?
            .pixels)
    }

    fn noise(&self) -> Vec<u8> {
        let mut pixels = vec![0; PARITY_IMAGES * square_len(&self.spec)];
        for (index, square) in pixels.chunks_exact_mut(square_len(&self.spec)).enumerate() {
            let position = [index as u64, 0, 0];
            let mut rng = generator(self.config.seed, Purpose::Parity, position);
            rand::Rng::fill_bytes(&mut rng, square);
        }
        pixels
    }

    fn burn_outputs(&self, numbers: &[f32], count: usize) -> Result<Vec<f32>> {
        let device = device(self.config.backend);
        let network = Network::new(self.graph.clone(), &self.weights, &device)?;
        let size = square_len(&self.spec);
        let rows = |range: Range<usize>| Ok(numbers[range.start * size..range.end * size].to_vec());
        let ends = [0, self.graph.nodes.len() - 1];
        predict(
            &network,
            &device,
            ends,
            self.config.threads,
            count,
            BATCH,
            rows,
        )
    }

    fn tract_outputs(&self, onnx: &[u8], numbers: &[f32]) -> Result<Vec<f32>> {
        let side = self.spec.size as usize;
        let mut bytes = onnx;
        let model = tract_onnx::onnx()
            .model_for_read(&mut bytes)?
            .with_input_fact(0, f32::fact([1, 3, side, side]).into())?
            .into_optimized()?
            .into_runnable()?;
        let images: Vec<&[f32]> = numbers.chunks_exact(square_len(&self.spec)).collect();
        let mut outputs = Vec::new();
        let compute = |index: usize| {
            let input = Tensor::from_shape(&[1, 3, side, side], images[index])?;
            let output = model.run(tvec!(input.into_tvalue()))?;
            let view = output[0].to_plain_array_view::<f32>()?;
            Ok(view.iter().copied().collect::<Vec<f32>>())
        };
        in_order(self.config.threads, images.len(), compute, |_, row| {
            outputs.extend(row);
            Ok(())
        })?;
        Ok(outputs)
    }

    fn manifest(&self, args: &Args) -> Result<Manifest> {
        let folder = args.run.canonicalize()?;
        let folder_name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let plain = self.plain_manifest()?;
        let manifest = Manifest {
            name: args.name.clone().or(folder_name).unwrap_or(plain.name),
            version: args.bundle_version,
            precision: match args.weights {
                Storage::F32 => Precision::F32,
                Storage::Int8 => Precision::Int8Weights,
            },
            reject_thresholds: vec![args.reject_below; self.labels.categories().len()],
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
        let onnx = encode(&graph, &weights, Storage::F32)?;
        Ok(Bundle::new(self.plain_manifest()?, onnx))
    }
}
