//! All settings of a training run, with their defaults.
//!
//! A run keeps them as `config.toml` in its folder. Every setting that changes the result is here;
//! what only changes the speed (threads, workers) or the place of the data may differ on resuming.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainConfig {
    /// A name that `host-train networks` lists.
    pub(crate) network: String,
    /// Side of the input in pixels.
    pub(crate) input_size: u32,
    /// Folder of the photos.
    pub(crate) data: PathBuf,
    /// A label file or the name of a built-in set; without, labels come from the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<String>,
    /// Splits to train on, separated by commas; without, all photos that are not validated on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) split: Option<String>,
    /// Split to validate on; without, a part of the photos is put aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) val_split: Option<String>,
    /// The part that is put aside where there is no split to validate on.
    pub(crate) val_fraction: f64,
    /// Weights to start from: `.pth`, wheel or safetensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pretrained: Option<PathBuf>,
    /// Every random number follows from it.
    pub(crate) seed: u64,
    /// What computes.
    pub(crate) backend: Backend,
    /// Checkpoints of the latest epochs that are kept besides the best.
    pub(crate) keep_checkpoints: usize,
    /// Photos kept decoded in memory, in MiB.
    pub(crate) photo_memory_mib: u64,
    /// Threads that decode and augment.
    pub(crate) workers: usize,
    /// Threads that compute.
    pub(crate) threads: usize,
    /// First stage, if the backbone is frozen: the classifier alone, on stored features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) head: Option<HeadConfig>,
    /// Last stage: the whole network.
    pub(crate) full: FullConfig,
    /// Random changes to the photos while the whole network trains.
    pub(crate) augment: AugmentConfig,
}

/// What one stage of training is like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageConfig {
    /// Passes over the photos; 0 leaves the stage out.
    pub(crate) epochs: u32,
    /// Photos per step.
    pub(crate) batch: usize,
    /// Highest learning rate; it rises linearly, then falls as a cosine to nothing.
    pub(crate) lr: f64,
    /// Part of the steps in which it rises.
    pub(crate) warmup: f64,
    /// Decoupled weight decay of the weights of convolutions and dense layers.
    pub(crate) weight_decay: f64,
    /// Part of the target that is spread over all items.
    pub(crate) label_smoothing: f64,
    /// The rule that turns gradients into steps.
    pub(crate) optimizer: Optimizer,
}

/// Training of the classifier on stored features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
pub(crate) struct FullConfig {
    /// Every batch is split into so many parts that are computed side by side; each has its own
    /// batch statistics. Part of the result, so it does not follow the number of threads.
    pub(crate) shards: usize,
    /// Normalise by the running statistics and leave them as they are: for fine-tuning.
    pub(crate) freeze_norms: bool,
    /// How far running statistics move per step.
    pub(crate) norm_momentum: f32,
    /// Everything else.
    #[serde(flatten)]
    pub(crate) stage: StageConfig,
}

/// Random changes to a photo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AugmentConfig {
    /// Mirror left and right, every second time.
    pub(crate) horizontal_flip: bool,
    /// Mirror top and bottom, every second time.
    pub(crate) vertical_flip: bool,
    /// Turn by a multiple of 90 degrees.
    pub(crate) quarter_turns: bool,
    /// Crops keep at least this part of the area; 1 leaves cropping out.
    pub(crate) min_area: f32,
    /// Crops are stretched by at most this factor.
    pub(crate) max_stretch: f32,
    /// Brightness changes by up to this part.
    pub(crate) brightness: f32,
    /// Contrast changes by up to this part.
    pub(crate) contrast: f32,
    /// Saturation changes by up to this part.
    pub(crate) saturation: f32,
}

/// The burn back end that computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    /// burn-flex: the default, many times faster.
    Flex,
    /// burn-ndarray: for comparison.
    Ndarray,
}

/// The rule that turns gradients into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Optimizer {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    Adamw,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

impl Default for AugmentConfig {
    fn default() -> AugmentConfig {
        AugmentConfig {
            horizontal_flip: true,
            vertical_flip: false,
            quarter_turns: false,
            min_area: 0.6,
            max_stretch: 1.2,
            brightness: 0.15,
            contrast: 0.15,
            saturation: 0.2,
        }
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
                epochs: 60,
                batch: 64,
                lr: 3e-3,
                warmup: 0.0,
                weight_decay: 0.1,
                label_smoothing: 0.05,
                optimizer: Optimizer::Adamw,
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
            stage: StageConfig {
                epochs: 40,
                batch: 64,
                lr: 2e-3,
                warmup: 0.1,
                weight_decay: 0.02,
                label_smoothing: 0.1,
                optimizer: Optimizer::Adamw,
            },
        }
    }

    /// The default after a classifier was trained on a frozen backbone: left out, as it is slow.
    pub(crate) fn fine_tune() -> FullConfig {
        FullConfig {
            shards: 2,
            freeze_norms: true,
            norm_momentum: 0.1,
            stage: StageConfig {
                epochs: 0,
                batch: 32,
                lr: 3e-5,
                warmup: 0.1,
                weight_decay: 0.02,
                label_smoothing: 0.1,
                optimizer: Optimizer::Adamw,
            },
        }
    }
}

impl TrainConfig {
    /// Reads `config.toml`.
    pub(crate) fn read(path: &Path) -> anyhow::Result<TrainConfig> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        let config: TrainConfig =
            toml::from_str(&text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
        config.check().with_context(|| path.display().to_string())?;
        Ok(config)
    }

    /// The text of `config.toml`.
    pub(crate) fn to_toml(&self) -> anyhow::Result<String> {
        toml::to_string(self).context("the settings cannot be written as TOML")
    }

    /// The settings with file names in place of whole paths, to go into what is handed on.
    pub(crate) fn without_folders(&self) -> TrainConfig {
        let name = |path: &Path| path.file_name().map_or_else(PathBuf::new, PathBuf::from);
        let label_file = |labels: &String| name(Path::new(labels)).to_string_lossy().into_owned();
        TrainConfig {
            data: name(&self.data),
            pretrained: self.pretrained.as_deref().map(name),
            labels: self.labels.as_ref().map(label_file),
            ..self.clone()
        }
    }

    /// Says in one sentence which number makes no sense.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let head = self.head.iter().map(|head| ("head", &head.stage));
        for (name, stage) in head.chain([("full", &self.full.stage)]) {
            ensure!(stage.batch > 0, "{name}.batch must be at least 1");
            let positive = stage.lr.is_finite() && stage.lr > 0.0;
            ensure!(positive, "{name}.lr must be above 0");
            let parts = [
                ("warmup", stage.warmup, 1.0),
                ("label_smoothing", stage.label_smoothing, 0.99),
                ("weight_decay", stage.weight_decay, 10.0),
            ];
            for (what, value, most) in parts {
                ensure!(
                    (0.0..=most).contains(&value),
                    "{name}.{what} must be in 0..={most}"
                );
            }
        }
        if let Some(head) = &self.head {
            ensure!(
                (1..=64).contains(&head.views),
                "head.views must be in 1..=64"
            );
        }
        let momentum = self.full.norm_momentum;
        ensure!(
            (0.0..=1.0).contains(&momentum),
            "full.norm_momentum must be in 0..=1"
        );
        ensure!(
            (1..=64).contains(&self.full.shards),
            "full.shards must be in 1..=64"
        );
        ensure!(
            (1..=256).contains(&self.threads),
            "threads must be in 1..=256"
        );
        ensure!(
            (1..=256).contains(&self.workers),
            "workers must be in 1..=256"
        );
        ensure!(
            self.keep_checkpoints > 0,
            "keep_checkpoints must be at least 1"
        );
        let fraction = self.val_fraction;
        ensure!(
            (0.0..0.95).contains(&fraction),
            "val_fraction must be in 0..0.95"
        );
        self.augment.check()
    }

    /// Epochs of all stages.
    pub(crate) fn total_epochs(&self) -> u32 {
        self.head.as_ref().map_or(0, |head| head.stage.epochs) + self.full.stage.epochs
    }

    /// Whether a run under `self` may be resumed under `other`: only places and speed may differ.
    pub(crate) fn check_resumable(&self, other: &TrainConfig) -> anyhow::Result<()> {
        let result = |config: &TrainConfig| TrainConfig {
            data: PathBuf::new(),
            workers: 1,
            threads: 1,
            photo_memory_mib: 0,
            keep_checkpoints: 1,
            ..config.clone()
        };
        let (ours, theirs) = (result(self).to_toml()?, result(other).to_toml()?);
        let differing = ours.lines().zip(theirs.lines()).find(|(a, b)| a != b);
        match differing {
            Some((ours, theirs)) => bail!(
                "the run was begun with `{ours}`, not `{theirs}`: leave that option out to resume, \
                 or start another run"
            ),
            None if ours != theirs => bail!("the run was begun with other settings"),
            None => Ok(()),
        }
    }
}

impl AugmentConfig {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (0.05..=1.0).contains(&self.min_area),
            "augment.min_area must be in 0.05..=1"
        );
        ensure!(
            (1.0..=4.0).contains(&self.max_stretch),
            "augment.max_stretch must be in 1..=4"
        );
        let jitter = [self.brightness, self.contrast, self.saturation];
        let fits = jitter.iter().all(|part| (0.0..1.0).contains(part));
        ensure!(
            fits,
            "augment.brightness, contrast and saturation must be in 0..1"
        );
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn config(head: Option<HeadConfig>) -> TrainConfig {
        TrainConfig {
            network: "mobilenet-v2".into(),
            input_size: 224,
            data: "photos/mine".into(),
            labels: None,
            split: None,
            val_split: None,
            val_fraction: 0.2,
            pretrained: Some("weights/net.pth".into()),
            seed: 1,
            backend: Backend::Flex,
            keep_checkpoints: 2,
            photo_memory_mib: 64,
            workers: 2,
            threads: 2,
            head,
            full: FullConfig::from_scratch(),
            augment: AugmentConfig::default(),
        }
    }

    #[test]
    fn defaults_are_valid_and_survive_toml() {
        for head in [None, Some(HeadConfig::frozen())] {
            for full in [FullConfig::from_scratch(), FullConfig::fine_tune()] {
                let config = TrainConfig {
                    full,
                    ..config(head.clone())
                };
                config.check().unwrap();
                let text = config.to_toml().unwrap();
                assert_eq!(toml::from_str::<TrainConfig>(&text).unwrap(), config);
            }
        }
    }

    #[test]
    fn unknown_keys_are_errors() {
        let text = config(None).to_toml().unwrap();
        assert!(toml::from_str::<TrainConfig>(&format!("wieght_decay = 1\n{text}")).is_err());
    }

    #[track_caller]
    fn check_fault(change: impl FnOnce(&mut TrainConfig), expect: &str) {
        let mut config = config(Some(HeadConfig::frozen()));
        change(&mut config);
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn numbers_without_sense_are_named() {
        check_fault(|c| c.full.stage.batch = 0, "full.batch");
        check_fault(|c| c.full.stage.lr = f64::NAN, "full.lr");
        check_fault(|c| c.full.stage.label_smoothing = 1.0, "label_smoothing");
        check_fault(|c| c.full.shards = 0, "shards");
        check_fault(|c| c.val_fraction = 1.0, "val_fraction");
        check_fault(|c| c.augment.min_area = 0.0, "min_area");
        check_fault(|c| c.threads = 0, "threads");
    }

    #[test]
    fn a_run_is_resumed_with_other_threads_but_not_with_another_seed() {
        let begun = config(None);
        let faster = TrainConfig {
            threads: 8,
            data: "elsewhere".into(),
            ..config(None)
        };
        begun.check_resumable(&faster).unwrap();
        let other = TrainConfig {
            seed: 2,
            ..config(None)
        };
        let error = begun.check_resumable(&other).unwrap_err().to_string();
        assert!(
            error.contains("seed = 1") && error.contains("seed = 2"),
            "{error}"
        );
    }

    #[test]
    fn what_is_handed_on_names_no_folders() {
        let text = config(None).without_folders().to_toml().unwrap();
        assert!(
            text.contains("\"mine\"") && text.contains("\"net.pth\""),
            "{text}"
        );
        assert!(
            !text.contains("photos/") && !text.contains("weights/"),
            "{text}"
        );
    }
}
