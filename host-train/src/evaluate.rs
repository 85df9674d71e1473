//! `evaluate`: how good a bundle is, measured through `inference`, which is what will run.

pub(crate) mod output;
mod table;
mod tally;
mod views;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dataset::{Dataset, DatasetError, Fault, FaultKind};
use inference::{Classifier, Decision};
use models::{Bundle, LabelSet, Preprocessor, RgbView};

use crate::data::label_set;
use crate::progress::Progress;
use crate::step::highest;
use output::TensorFile;
use tally::Report;
use views::{Tta, mirror, views};

/// Measures a bundle on labelled photos: items, categories, purity, recall.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle to measure
    #[arg(long, value_name = "FILE.sortline")]
    bundle: PathBuf,
    /// Labelled photos: a folder per class, the contest's form, or manifest.csv
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only the photos of this split of the manifest
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Label set in which to read the data, built in or a file [default: the bundle's own]
    #[arg(long, value_name = "NAME|FILE")]
    labels: Option<String>,
    /// Writes the figures
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
    /// Writes one row per photo
    #[arg(long, value_name = "FILE.csv")]
    predictions: Option<PathBuf>,
    /// Writes what the network was given, float32 [photos, 3, S, S] in the order of the predictions
    #[arg(long, value_name = "FILE.npy", conflicts_with = "tta")]
    tensors: Option<PathBuf>,
    /// Averages the scores of several views of each photo; the sorting program looks at one
    #[arg(long)]
    tta: Option<Tta>,
    /// Photos classified at the same time, each on one thread [default: one per processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

/// What the network said about one photo.
struct Prediction {
    /// The item with the largest score of all.
    item: usize,
    item_score: f32,
    /// The category with the largest sum of scores.
    category: usize,
    category_score: f32,
    /// Whether the sum reached the category's threshold.
    accepted: bool,
    /// Preprocessing and network.
    time: Duration,
}

/// Evaluates and prints the table.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bundle = Bundle::open(&args.bundle)
        .with_context(|| format!("{}: not a usable bundle", args.bundle.display()))?;
    // A bundle that cannot run is found out before the photos are read.
    Classifier::new(&bundle, 1).with_context(|| args.bundle.display().to_string())?;
    let data = read_data(args, &bundle.manifest.labels)?;
    let tensors = match &args.tensors {
        Some(path) => Some(TensorFile::create(
            path,
            data.samples.len(),
            bundle.manifest.preprocess.size,
        )?),
        None => None,
    };
    let create = |path: &PathBuf| Ok::<_, anyhow::Error>((path.clone(), output::create(path)?));
    let json = args.json.as_ref().map(create).transpose()?;
    let csv = args.predictions.as_ref().map(create).transpose()?;
    let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = args
        .threads
        .unwrap_or(processors)
        .get()
        .min(data.samples.len());
    let predictions = predict_all(&bundle, &data, args.tta, threads, tensors.as_ref())?;
    let report = Report::new(&bundle, args, &data, &predictions, threads)?;
    if let Some((path, file)) = json {
        output::write_json(&path, file, &report)?;
    }
    if let Some((path, file)) = csv {
        output::write_predictions(&path, file, &data, &predictions)?;
    }
    output::print(&table::render(&report))
}

/// The photos to evaluate, with items of the bundle's label set.
fn read_data(args: &Args, bundle: &LabelSet) -> Result<Dataset> {
    let given = args.labels.as_deref().map(label_set).transpose()?;
    let mut data = dataset::read(&args.data, Some(given.as_ref().unwrap_or(bundle)))?;
    data.warnings
        .iter()
        .for_each(|warning| eprintln!("warning: {warning}"));
    if let Some(split) = &args.split {
        data = data.subset(split)?;
    } else if !data.splits().is_empty() {
        let splits: Vec<String> = data
            .splits()
            .iter()
            .map(|(name, photos)| format!("{name} ({photos})"))
            .collect();
        eprintln!(
            "note: all photos are evaluated; --split chooses one of {}",
            splits.join(", ")
        );
    }
    relabel(data, bundle)
}

/// Renumbers the items from the data's label set to the bundle's, by category and name.
fn relabel(mut data: Dataset, bundle: &LabelSet) -> Result<Dataset> {
    let mut missing = Vec::new();
    let counts = data.counts();
    let to_bundle: Vec<usize> = (0..data.labels.len())
        .map(|item| {
            let path = data.labels.path(item);
            bundle.find(&path).unwrap_or_else(|| {
                if counts[item] > 0 {
                    missing.push(path);
                }
                usize::MAX
            })
        })
        .collect();
    if !missing.is_empty() {
        bail!(
            "{}: the bundle's label set {} does not have {}",
            data.root.display(),
            bundle.name(),
            missing.join(", ")
        );
    }
    for sample in &mut data.samples {
        sample.item = to_bundle[sample.item];
    }
    data.labels = bundle.clone();
    Ok(data)
}

/// One prediction a photo, in the order of the samples; all unreadable photos at once.
fn predict_all(
    bundle: &Bundle,
    data: &Dataset,
    tta: Option<Tta>,
    threads: usize,
    tensors: Option<&TensorFile>,
) -> Result<Vec<Prediction>> {
    let progress = Progress::new("evaluating", "photos", data.samples.len() as u64);
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Result<Prediction, Fault>)>> {
        let mut worker = Worker::new(bundle, tta)?;
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(sample) = data.samples.get(index) else {
                return Ok(done);
            };
            let path = data.path(sample);
            let prediction = worker.predict(&path)?;
            if let (Ok(_), Some(file)) = (&prediction, tensors) {
                file.write(index, &worker.tensor)?;
            }
            done.push((
                index,
                prediction.map_err(|kind| Fault {
                    path,
                    line: None,
                    kind,
                }),
            ));
            progress.advance(1);
        }
    };
    let mut results = std::thread::scope(|scope| -> Result<Vec<_>> {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut results = Vec::with_capacity(data.samples.len());
        for worker in workers {
            match worker.join() {
                Ok(done) => results.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(results)
    })?;
    progress.finish();
    results.sort_by_key(|(index, _)| *index);
    let (mut predictions, mut faults) = (Vec::with_capacity(results.len()), Vec::new());
    for (_, result) in results {
        match result {
            Ok(prediction) => predictions.push(prediction),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(predictions)
    } else {
        Err(DatasetError::Faults {
            root: data.root.clone(),
            faults,
        }
        .into())
    }
}

/// One thread's classifier and buffers.
struct Worker {
    classifier: Classifier,
    preprocessor: Preprocessor,
    tensor: Vec<f32>,
    side: usize,
    thresholds: Vec<f32>,
    tta: Option<Tta>,
}

impl Worker {
    fn new(bundle: &Bundle, tta: Option<Tta>) -> Result<Worker> {
        let spec = bundle.manifest.preprocess;
        Ok(Worker {
            classifier: Classifier::new(bundle, 1)?,
            preprocessor: Preprocessor::new(spec)?,
            tensor: vec![0.0; spec.len()],
            side: spec.size as usize,
            thresholds: bundle.manifest.reject_thresholds.clone(),
            tta,
        })
    }

    /// The outer error stops everything; the inner one is about this photo.
    fn predict(&mut self, path: &Path) -> Result<Result<Prediction, FaultKind>> {
        let image = match dataset::decode(path) {
            Ok(image) => image,
            Err(error) => return Ok(Err(FaultKind::Image(error))),
        };
        let start = Instant::now();
        let name = || path.display().to_string();
        let view = RgbView::new(&image, image.width(), image.height()).with_context(name)?;
        let labels = self.classifier.labels();
        let mut items = vec![0.0; labels.len()];
        let mut categories = vec![0.0; labels.categories().len()];
        let mut decision = Decision::Reject;
        let looks = views(self.tta, image.width(), image.height());
        let share = 1.0 / looks.len() as f32;
        for look in &looks {
            self.preprocessor
                .tensor(view, look.region, &mut self.tensor)
                .with_context(name)?;
            if look.mirrored {
                mirror(&mut self.tensor, self.side);
            }
            let verdict = self
                .classifier
                .classify_tensor(&self.tensor)
                .with_context(name)?;
            let add = |(sum, score): (&mut f32, &f32)| *sum += score * share;
            items.iter_mut().zip(&verdict.item_scores).for_each(add);
            let scores = &verdict.category_scores;
            categories.iter_mut().zip(scores).for_each(add);
            decision = verdict.decision;
        }
        let (item, category) = (highest(&items), highest(&categories));
        let category_score = categories[category];
        Ok(Ok(Prediction {
            item,
            item_score: items[item],
            category,
            category_score,
            accepted: match self.tta {
                None => decision != Decision::Reject,
                Some(_) => category_score > 0.0 && category_score >= self.thresholds[category],
            },
            time: start.elapsed(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str, items: &[(&str, &str)]) -> LabelSet {
        let items = items
            .iter()
            .map(|(c, i)| ((*c).to_owned(), (*i).to_owned()))
            .collect();
        LabelSet::new(name, items).unwrap()
    }

    #[test]
    fn items_are_renumbered_by_category_and_name() {
        let of_data = labels("data", &[("a", "x"), ("b", "x"), ("c", "unused")]);
        let of_bundle = labels("bundle", &[("b", "x"), ("b", "y"), ("a", "x")]);
        let sample = |item| dataset::Sample {
            path: format!("{item}.jpg").into(),
            item,
            group: None,
            split: None,
        };
        let mut data = Dataset {
            root: "photos".into(),
            labels: of_data,
            samples: vec![sample(0), sample(1)],
            warnings: Vec::new(),
        };
        let same = relabel(data.clone(), &of_bundle).unwrap();
        assert_eq!(
            same.samples.iter().map(|s| s.item).collect::<Vec<_>>(),
            [2, 0]
        );
        assert_eq!(same.labels, of_bundle);
        data.samples.push(sample(2));
        let error = relabel(data, &of_bundle).unwrap_err().to_string();
        assert_eq!(
            error,
            "photos: the bundle's label set bundle does not have c/unused"
        );
    }
}
