//! Fine-tuning with rounding in the loop: the network learns with the weights and tensors that its 8-bit
//! form has (Jacob et al. 2018).
//!
//! The gradient at the rounded weights moves the exact ones, from which the next rounded ones are made;
//! ranges stay what calibration made them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use models::quantize::Scheme;
use models::{Graph, Weights};

use super::bench::{Bench, Way, rounded_weights};
use crate::config::{FullConfig, StageConfig};
use crate::data;
use crate::export::Trained;
use crate::loader::Photos;
use crate::material::{Images, Material, Rows};
use crate::network::{Network, Norm};
use crate::optimizer::optimizer;
use crate::progress::Progress;
use crate::random::{Purpose, generator, shuffle};
use crate::schedule::ScheduleConfig;
use crate::step::{Learned, Lesson, Target, learn, split};
use crate::trainer::device;

/// How long and how fast it learns.
#[derive(Clone, Copy)]
pub(super) struct Finetuning<'a> {
    pub(super) epochs: u32,
    /// Highest learning rate; it falls as a half cosine.
    pub(super) lr: f64,
    /// The run's photos, if they are no longer where they were.
    pub(super) data: Option<&'a Path>,
}

/// The way after the best epoch, or as it was if none is better. `judge` counts the items and the
/// categories that a way gets right on photos it does not learn from.
pub(super) fn finetune(
    bench: &Bench<'_>,
    way: &Way,
    settings: Finetuning<'_>,
    judge: impl Fn(&Way) -> Result<[usize; 2]>,
) -> Result<Way> {
    let trained = bench.trained;
    let images = images(trained, settings.data)?;
    let plain = FullConfig::fine_tune();
    let stage = StageConfig {
        label_smoothing: trained.config.full.stage.label_smoothing,
        rate: ScheduleConfig::cosine(settings.lr, 0.1),
        ..plain.stage
    };
    let scheme = bench.scheme(way);
    let mut learner = Learner::new(&bench.graph, &way.weights, &scheme, &stage, &images.device)?;
    let mut best = (judge(way)?, way.clone());
    let count = images.items().len();
    let steps = u64::from(settings.epochs) * count.div_ceil(stage.batch) as u64;
    let mut step = 0;
    for epoch in 1..=settings.epochs {
        // The epochs of the run have had their own augmentation.
        let number = trained.config.total_epochs() + epoch;
        let mut order: Vec<usize> = (0..count).collect();
        let position = [u64::from(number), 0, 0];
        shuffle(
            &mut generator(trained.config.seed, Purpose::Order, position),
            &mut order,
        );
        let parts = split(count, count.div_ceil(stage.batch));
        let batches: Vec<&[usize]> = parts.into_iter().map(|part| &order[part]).collect();
        let progress = Progress::new("fine-tuning", "images", count as u64);
        let (mut loss, mut rows_seen) = (0.0, 0);
        images.each_batch(number, &batches, &mut |targets, rows| {
            let lesson = Lesson {
                from: 0,
                frozen: 0,
                shards: plain.shards,
                threads: trained.config.threads,
                norm: Norm::Running,
                label_smoothing: stage.label_smoothing,
                seed: trained.config.seed,
                step: trained.state.steps + step,
            };
            let lr = stage.rate.learning_rate(step, steps, &[]);
            let learned = learner.learn(lesson, lr, targets, rows)?;
            step += 1;
            loss += learned * targets.len() as f64;
            rows_seen += targets.len();
            progress.advance(targets.len() as u64);
            progress.message(format!("loss {:.3}", loss / rows_seen as f64));
            Ok(())
        })?;
        progress.finish();
        let now = Way {
            weights: learner.weights(),
            finetuned_epochs: epoch,
            ..way.clone()
        };
        let right = judge(&now)?;
        say!(
            "fine-tuning {epoch}/{}: loss {:.4}, {} items and {} categories right in 8 bits, {} and {} \
             before",
            settings.epochs,
            loss / rows_seen.max(1) as f64,
            right[0],
            right[1],
            best.0[0],
            best.0[1]
        );
        if right.iter().sum::<usize>() > best.0.iter().sum() {
            best = (right, now);
        }
    }
    Ok(best.1)
}

/// The photos that the run was trained on.
fn images(trained: &Trained, folder: Option<&Path>) -> Result<Images> {
    let mut config = trained.config.clone();
    config.data = folder.map_or(config.data, Path::to_owned);
    let all = dataset::read(&config.data, Some(&trained.labels))?;
    let (train, validation) = data::split(&config, &all)?;
    let photos = |data| Arc::new(Photos::new(data, config.photo_memory_mib << 20));
    Ok(Images {
        train: photos(&train),
        validation: photos(&validation),
        spec: trained.spec,
        augment: config.augment.clone(),
        labels: trained.labels.clone(),
        device: device(config.backend),
        seed: config.seed,
        workers: config.workers,
        threads: config.threads,
    })
}

/// A network that learns as `scheme` rounds it.
struct Learner<'a> {
    graph: &'a Graph,
    scheme: &'a Scheme,
    device: &'a Device,
    exact: Network,
    optimizer: ModuleOptimizer,
}

impl Learner<'_> {
    fn new<'a>(
        graph: &'a Graph,
        weights: &Weights,
        scheme: &'a Scheme,
        stage: &StageConfig,
        device: &'a Device,
    ) -> Result<Learner<'a>> {
        let exact = Network::new(graph.clone(), weights, device)?;
        Ok(Learner {
            graph,
            scheme,
            device,
            optimizer: optimizer(stage, &exact),
            exact,
        })
    }

    /// The network as it computes in 8 bits.
    fn rounded(&self) -> Result<Network> {
        let weights = rounded_weights(self.graph, &self.weights(), self.scheme);
        let tensors = self.scheme.tensors.clone();
        Ok(Network::with_rounding(
            self.graph.clone(),
            &weights,
            tensors,
            self.device,
        )?)
    }

    /// Takes a step; returns the loss before it.
    fn learn(&mut self, lesson: Lesson, lr: f64, targets: &[Target], rows: &Rows) -> Result<f64> {
        let rounded = self.rounded()?;
        let Learned {
            gradients, loss, ..
        } = learn(&rounded, self.device, lesson, targets, rows)?;
        ensure!(
            loss.is_finite(),
            "the loss is no number any more: try a lower --finetune-lr"
        );
        // A parameter's id is its place, so that the gradients fit the exact network too.
        let exact = self.exact.clone().train();
        self.exact = self.optimizer.step(lr, exact, gradients).valid();
        Ok(loss)
    }

    fn weights(&self) -> Weights {
        self.exact.weights()
    }
}

#[cfg(test)]
#[path = "finetune_tests.rs"]
mod tests;
