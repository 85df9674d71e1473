//! A training run from its settings to its last checkpoint.

mod head;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use models::{Graph, LabelSet, PreprocessSpec, Weights, zoo};

use crate::balance::{self, item_weights};
use crate::checkpoint::{Checkpoint, Epoch};
use crate::config::{Backend, Balance, FullConfig, StageConfig, TrainConfig};
use crate::data::Data;
use crate::initialize::initialize;
use crate::loader::Photos;
use crate::material::{Images, Material};
use crate::network::Norm;
use crate::optimizer;
use crate::pretrained;
use crate::progress::{EpochLines, Progress};
use crate::random::{Purpose, generator, shuffle};
use crate::run::Run;
use crate::step::{Lesson, Target, learn, split};
use crate::student::{Stage, Student, gives_up};
use crate::thaw::Thaw;

/// Checkpoints are written at most this often: epochs on stored features take milliseconds.
const SAVE_INTERVAL: Duration = Duration::from_secs(2);

/// The run was asked to stop; what is saved is whole.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub(crate) struct Stopped;

/// What computes.
pub(crate) fn device(backend: Backend) -> Device {
    match backend {
        Backend::Flex => Device::flex(),
        #[allow(deprecated, reason = "kept for comparison until burn drops it")]
        Backend::Ndarray => Device::ndarray(),
    }
}

/// Trains from the latest checkpoint, or from the start, to the end. Returns the best state.
/// `first`: the state of a run without a checkpoint, if it is known.
pub(crate) fn train(
    config: &TrainConfig,
    data: &Data,
    run: &Run,
    first: Option<Checkpoint>,
    stop: Arc<AtomicBool>,
) -> Result<Checkpoint> {
    let labels = data.train.labels.clone();
    let graph = config.graph(labels.len())?;
    let state = match run.store.latest()? {
        Some(state) => {
            ensure!(
                state.data_hash == data.hash,
                "{}: the photos have changed since the run was begun; start another run",
                config.data.display()
            );
            graph.check(&state.weights)?;
            eprintln!("going on after epoch {}", state.epochs);
            state
        }
        None => first.map_or_else(|| first_state(config, data), Ok)?,
    };
    let photos = |data| Arc::new(Photos::new(data, config.photo_memory_mib << 20));
    let mut trainer = Trainer {
        spec: zoo::preprocess(&config.network, Some(config.input_size))?,
        device: device(config.backend),
        train: photos(&data.train),
        validation: photos(&data.validation),
        best: run.store.best()?,
        best_is_saved: true,
        saved: Instant::now(),
        lines: EpochLines::new(config.total_epochs()),
        config,
        labels,
        graph,
        run,
        stop,
        state,
    };
    run.write_metrics(&trainer.state.history)?;
    if let Some(head) = config.frozen_head() {
        trainer.train_head(head)?;
    }
    trainer.train_full(&config.full)?;
    if let Some(head) = config.refit_head() {
        trainer.train_head_again(head)?;
    }
    trainer
        .best
        .context("the run has no epochs: set --epochs above 0")
}

/// Random weights, and pretrained ones in their place where there are any.
pub(crate) fn first_state(config: &TrainConfig, data: &Data) -> Result<Checkpoint> {
    let graph = config.graph(data.train.labels.len())?;
    let mut weights = initialize(&graph, config.seed)?;
    if let Some(path) = &config.pretrained {
        let report = pretrained::load(path, &graph, &mut weights)?;
        graph
            .check(&weights)
            .with_context(|| path.display().to_string())?;
        eprint!("weights from {}:\n{report}", path.display());
    }
    Ok(Checkpoint {
        data_hash: data.hash.clone(),
        epochs: 0,
        steps: 0,
        weights,
        average: Weights::new(),
        scaler: None,
        discriminant: None,
        optimizer: Vec::new(),
        history: Vec::new(),
    })
}

struct Trainer<'a> {
    config: &'a TrainConfig,
    run: &'a Run,
    labels: LabelSet,
    graph: Graph,
    spec: PreprocessSpec,
    device: Device,
    train: Arc<Photos>,
    validation: Arc<Photos>,
    /// The best state so far, and whether the disk has it.
    best: Option<Checkpoint>,
    best_is_saved: bool,
    saved: Instant,
    lines: EpochLines,
    stop: Arc<AtomicBool>,
    state: Checkpoint,
}

/// Sums over the rows of an epoch.
#[derive(Default)]
struct Taught {
    rows: usize,
    correct: usize,
    loss: f64,
    /// Learning rate of the last step.
    lr: f64,
}

impl Trainer<'_> {
    /// Trains the whole network.
    fn train_full(&mut self, full: &FullConfig) -> Result<()> {
        let end = self.config.epochs_until_refit();
        if self.state.epochs >= end {
            return Ok(());
        }
        let frozen = self.config.frozen_until(&self.graph)?;
        let material: Box<dyn Material> = match frozen {
            Some(node) => Box::new(self.maps(node, full.views)?),
            None => Box::new(self.images()),
        };
        let norm = if full.freeze_norms {
            Norm::Running
        } else {
            Norm::Batch
        };
        let stage = Stage {
            name: "full",
            config: &full.stage,
            first_epoch: end - full.stage.epochs,
            lesson: self.lesson(frozen.unwrap_or(0), full.shards, norm, &full.stage),
            norm_momentum: full.norm_momentum,
            thaw: Some(Thaw::new(&self.graph, full)?),
        };
        self.train_stage(&stage, &*material)
    }

    fn images(&self) -> Images {
        Images {
            train: self.train.clone(),
            validation: self.validation.clone(),
            spec: self.spec,
            augment: self.config.augment.clone(),
            labels: self.labels.clone(),
            device: self.device.clone(),
            seed: self.config.seed,
            workers: self.config.workers,
            threads: self.config.threads,
        }
    }

    fn lesson(&self, from: usize, shards: usize, norm: Norm, stage: &StageConfig) -> Lesson {
        Lesson {
            from,
            frozen: from,
            shards,
            threads: self.config.threads,
            norm,
            label_smoothing: stage.label_smoothing,
            seed: self.config.seed,
            step: 0,
        }
    }

    fn train_stage(&mut self, stage: &Stage, material: &dyn Material) -> Result<()> {
        let mut student = Student::new(stage.config, &self.graph, &self.state, &self.device)?;
        let last = stage.first_epoch + stage.config.epochs;
        let started = Instant::now();
        let first = self.state.epochs;
        while self.state.epochs < last {
            let begun = Instant::now();
            let taught = self.learn_epoch(&mut student, stage, material)?;
            let score = material.validate(student.best_known())?;
            self.state.epochs += 1;
            let rows = taught.rows.max(1) as f64;
            self.state.history.push(Epoch {
                epoch: self.state.epochs,
                stage: stage.name.to_owned(),
                lr: taught.lr,
                train_loss: taught.loss / rows,
                train_accuracy: taught.correct as f64 / rows,
                val_loss: score.map(|s| s.loss),
                val_item_accuracy: score.map(|s| s.item_accuracy),
                val_category_accuracy: score.map(|s| s.category_accuracy),
                seconds: begun.elapsed().as_secs_f64(),
            });
            let done = f64::from(self.state.epochs - first);
            let left = f64::from(last - self.state.epochs) * started.elapsed().as_secs_f64() / done;
            self.report(taught.rows, left);
            if gives_up(self.epochs_of(stage), stage.config.patience) {
                let epoch = self.state.epochs;
                eprintln!(
                    "no better for {} epochs: {} ends with epoch {epoch}",
                    stage.config.patience, stage.name
                );
                // The epochs that are left out count as done.
                self.state.epochs = last;
            }
            self.keep(&student, self.state.epochs == last)?;
        }
        Ok(())
    }

    /// The finished epochs of a stage.
    fn epochs_of(&self, stage: &Stage) -> impl Iterator<Item = &Epoch> {
        let (first, name) = (stage.first_epoch, stage.name);
        let epochs = self.state.history.iter();
        epochs.filter(move |epoch| epoch.epoch > first && epoch.stage == name)
    }

    /// Learns from every batch of one epoch.
    fn learn_epoch(
        &mut self,
        student: &mut Student,
        stage: &Stage,
        material: &dyn Material,
    ) -> Result<Taught> {
        let epoch = self.state.epochs;
        let order = self.order(stage, material);
        let parts = split(order.len(), order.len().div_ceil(stage.config.batch));
        let batches: Vec<&[usize]> = parts.into_iter().map(|part| &order[part]).collect();
        let weights = match stage.config.balance {
            Balance::Weights => item_weights(material.items(), self.labels.len()),
            _ => vec![1.0; self.labels.len()],
        };
        let losses: Vec<f64> = self
            .epochs_of(stage)
            .map(|epoch| epoch.val_loss.unwrap_or(epoch.train_loss))
            .collect();
        let steps = u64::from(stage.config.epochs) * batches.len() as u64;
        let progress = Progress::new("training", "images", order.len() as u64);
        let mut step = u64::from(epoch - stage.first_epoch) * batches.len() as u64;
        let mut taught = Taught::default();
        let thaw = stage.thaw.as_ref();
        let frozen = thaw.map_or(stage.lesson.from, |thaw| {
            let frozen = thaw.frozen(epoch - stage.first_epoch);
            frozen.max(stage.lesson.from)
        });
        material.each_batch(epoch, &batches, &mut |targets, rows| {
            if self.stop.load(Ordering::Relaxed) {
                bail!(Stopped);
            }
            taught.lr = stage.config.rate.learning_rate(step, steps, &losses);
            let lesson = Lesson {
                frozen,
                step: self.state.steps,
                ..stage.lesson
            };
            let weighted = |target: &Target| Target {
                weight: weights[target.item],
                ..*target
            };
            let targets: Vec<Target> = targets.iter().map(weighted).collect();
            let learned = learn(&student.network, &self.device, lesson, &targets, rows)?;
            ensure!(
                learned.loss.is_finite(),
                "the loss is no number any more in epoch {}: try a lower --lr",
                epoch + 1
            );
            taught.correct += learned.correct;
            taught.loss += learned.loss * targets.len() as f64;
            taught.rows += targets.len();
            student.step(stage, taught.lr, learned, step);
            self.state.steps += 1;
            step += 1;
            progress.advance(targets.len() as u64);
            progress.message(format!("loss {:.3}", taught.loss / taught.rows as f64));
            Ok(())
        })?;
        progress.finish();
        Ok(taught)
    }

    /// The photos of an epoch in the order in which they are learned from.
    fn order(&self, stage: &Stage, material: &dyn Material) -> Vec<usize> {
        let items = material.items();
        let position = [u64::from(self.state.epochs), 0, 0];
        let mut rng = generator(self.config.seed, Purpose::Order, position);
        match stage.config.balance {
            Balance::Sampling => balance::draw(items, self.labels.len(), &mut rng),
            _ => {
                let mut order: Vec<usize> = (0..items.len()).collect();
                shuffle(&mut rng, &mut order);
                order
            }
        }
    }

    /// One line about the epoch that ended.
    fn report(&mut self, images: usize, seconds_left: f64) {
        let total = self.config.total_epochs();
        let Some(epoch) = self.state.history.last() else {
            return;
        };
        let history = &self.state.history;
        self.lines.show(history, epoch.epoch == total, || {
            let validation = match (epoch.val_item_accuracy, epoch.val_category_accuracy) {
                (Some(items), Some(categories)) => format!(
                    "  validation {:.2}% items {:.2}% categories",
                    items * 100.0,
                    categories * 100.0
                ),
                _ => String::new(),
            };
            format!(
                "epoch {}/{total} {}  loss {:.4}  right {:.2}%{validation}  {:.0} images/s  \
                 {seconds_left:.0} s left",
                epoch.epoch,
                epoch.stage,
                epoch.train_loss,
                epoch.train_accuracy * 100.0,
                images as f64 / epoch.seconds.max(1e-9),
            )
        });
    }

    /// Takes the epoch's weights into the state and, from time to time, to the disk.
    fn keep(&mut self, student: &Student, must_save: bool) -> Result<()> {
        let due = must_save || self.saved.elapsed() >= SAVE_INTERVAL;
        let better = match &self.best {
            Some(best) => self.state.is_as_good_as(best),
            None => true,
        };
        if !due && !better {
            return Ok(());
        }
        self.state.weights = student.network.weights();
        if let Some(average) = &student.average {
            self.state.average = average.weights();
        }
        if better {
            // Nothing is resumed from the best, so its optimizer is left out.
            self.best = Some(Checkpoint {
                optimizer: Vec::new(),
                ..self.state.clone()
            });
            self.best_is_saved = false;
        }
        if due {
            self.state.optimizer = optimizer::save(&student.optimizer)?;
            if let (Some(best), false) = (&self.best, self.best_is_saved) {
                self.run.store.save_best(best)?;
                self.best_is_saved = true;
            }
            self.run.store.save(&self.state, self.config.keep_last)?;
            self.run.write_metrics(&self.state.history)?;
            self.saved = Instant::now();
        }
        Ok(())
    }
}

/// The name of the node that tells the items apart.
pub(crate) fn classifier(graph: &Graph) -> &str {
    graph.nodes.last().map_or("", |node| node.name.as_str())
}
