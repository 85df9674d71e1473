//! Settings of a stage of training.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::schedule::ScheduleConfig;

/// What one stage of training is like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StageConfig {
    /// Passes over the photos; 0 leaves the stage out.
    pub(crate) epochs: u32,
    /// Epochs without a better validation accuracy after which the stage ends; 0: never before its
    /// last one.
    pub(crate) patience: u32,
    /// Photos per step.
    pub(crate) batch: usize,
    /// The learning rate.
    #[serde(flatten)]
    pub(crate) rate: ScheduleConfig,
    /// The rule that turns gradients into steps.
    pub(crate) optimizer: Optimizer,
    /// Decay of the weights of convolutions and dense layers.
    pub(crate) weight_decay: f64,
    /// Gradients longer than this, all parameters taken together, are shortened to it; 0: never.
    pub(crate) clip_norm: f64,
    /// Decay per step of the moving average of the weights that is validated and kept; 0: none.
    pub(crate) ema: f64,
    /// Part of the target that is spread over all items.
    pub(crate) label_smoothing: f64,
    /// What is done about items with few photos.
    pub(crate) balance: Balance,
}

/// Training of the classifier on stored features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeadConfig {
    /// Views of every photo: 1 as it is, 2 with its mirror image, more with augmented ones.
    pub(crate) views: usize,
    /// Scale every feature to mean 0 and deviation 1; folded into the classifier afterwards.
    pub(crate) standardize: bool,
    /// How much of a linear discriminant is added to the classifier; 0 leaves it out.
    pub(crate) discriminant: f32,
    /// Everything else.
    #[serde(flatten)]
    pub(crate) stage: StageConfig,
}

/// Training of the whole network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FullConfig {
    /// Every batch is split into so many parts, whose gradients are added up; as many as there are
    /// threads are computed side by side, so more parts need no more memory. Each has its own batch
    /// statistics. Part of the result, so it does not follow the number of threads.
    pub(crate) shards: usize,
    /// Normalise by the running statistics and leave them as they are: for fine-tuning.
    pub(crate) freeze_norms: bool,
    /// How far running statistics move per step.
    pub(crate) norm_momentum: f32,
    /// Where the network stays frozen up to some node: views of every photo that are stored there.
    pub(crate) views: usize,
    /// Epochs after which one more stage of the network learns, beginning with the classifier alone; 0:
    /// all of it learns from the first epoch.
    pub(crate) thaw_epochs: u32,
    /// The learning rate of a stage of the network as a part of that of the stage after it.
    pub(crate) stage_decay: f64,
    /// After a frozen backbone: train the classifier once more at the end, as at the beginning, on
    /// features of the network that has learned.
    pub(crate) refit: bool,
    /// Everything else.
    #[serde(flatten)]
    pub(crate) stage: StageConfig,
}

/// The rule that turns gradients into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Optimizer {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    Adamw,
    /// Adam with Nesterov momentum (Dozat 2016) and decoupled weight decay.
    Nadam,
    /// Stochastic gradient descent with momentum 0.9; its weight decay is part of the gradient.
    Sgd,
}

/// What is done about items with few photos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Balance {
    /// Nothing.
    None,
    /// A photo counts in the loss as its item is rare.
    Weights,
    /// A photo is drawn as often as its item is rare; an epoch has as many photos as ever.
    Sampling,
}

impl StageConfig {
    fn new(epochs: u32, batch: usize, rate: ScheduleConfig) -> StageConfig {
        StageConfig {
            epochs,
            patience: 0,
            batch,
            rate,
            optimizer: Optimizer::Adamw,
            weight_decay: 0.02,
            clip_norm: 0.0,
            ema: 0.0,
            label_smoothing: 0.1,
            balance: Balance::None,
        }
    }

    /// Says in one sentence which number of the stage `name` makes no sense.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        ensure!(self.batch > 0, "{name}.batch must be at least 1");
        let lr = self.rate.lr;
        ensure!(lr.is_finite() && lr > 0.0, "{name}.lr must be above 0");
        ensure!(
            (1..=1000).contains(&self.rate.cycles),
            "{name}.cycles must be in 1..=1000"
        );
        let parts = [
            ("warmup", self.rate.warmup, 1.0),
            ("hold", self.rate.hold, 1.0),
            ("lr_floor", self.rate.lr_floor, 1.0),
            ("plateau_factor", self.rate.plateau_factor, 1.0),
            ("label_smoothing", self.label_smoothing, 0.99),
            ("weight_decay", self.weight_decay, 10.0),
            ("clip_norm", self.clip_norm, 1e6),
            ("ema", self.ema, 0.999_999),
        ];
        for (what, value, most) in parts {
            ensure!(
                (0.0..=most).contains(&value),
                "{name}.{what} must be in 0..={most}"
            );
        }
        Ok(())
    }
}

impl HeadConfig {
    /// The default for a frozen, pretrained backbone.
    pub(crate) fn frozen() -> HeadConfig {
        HeadConfig {
            views: 4,
            standardize: false,
            discriminant: 0.05,
            stage: StageConfig {
                weight_decay: 0.1,
                label_smoothing: 0.05,
                ..StageConfig::new(60, 64, ScheduleConfig::cosine(3e-3, 0.0))
            },
        }
    }
}

impl FullConfig {
    /// The default where the network learns from the start.
    pub(crate) fn from_scratch() -> FullConfig {
        FullConfig {
            shards: 2,
            freeze_norms: false,
            norm_momentum: 0.1,
            views: 2,
            thaw_epochs: 0,
            stage_decay: 1.0,
            refit: false,
            stage: StageConfig::new(40, 64, ScheduleConfig::cosine(2e-3, 0.1)),
        }
    }

    /// The default after a classifier was trained on a frozen backbone: left out, as it is slow.
    pub(crate) fn fine_tune() -> FullConfig {
        FullConfig {
            freeze_norms: true,
            refit: true,
            stage: StageConfig::new(0, 32, ScheduleConfig::cosine(3e-5, 0.1)),
            ..FullConfig::from_scratch()
        }
    }
}
