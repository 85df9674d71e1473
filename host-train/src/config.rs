//! All settings of a training run, with their defaults.
//!
//! A run keeps them as `config.toml` in its folder. Every setting that changes the result is here;
//! what only changes the speed (threads, workers) or the place of the data may differ on resuming.

mod augment;
mod freeze;
mod regularize;
mod settings;
mod squeeze;
mod stage;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use models::{Graph, passes};
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::thaw::Stages;
pub(crate) use augment::AugmentConfig;
pub(crate) use freeze::Freeze;
pub(crate) use settings::{Settings, insert, merge};
pub(crate) use squeeze::Squeeze;
pub(crate) use stage::{Balance, FullConfig, HeadConfig, Optimizer, StageConfig};

/// A classifier of so many items has the same nodes as any other.
const ANY_ITEMS: usize = 10;

/// Settings of a run. [`TrainConfig::with`] refuses keys that are not here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    pub(crate) keep_last: usize,
    /// Photos kept decoded in memory, in MiB.
    pub(crate) photo_memory_mib: u64,
    /// Threads that decode and augment.
    pub(crate) workers: usize,
    /// Threads that compute.
    pub(crate) threads: usize,
    /// What normalises between the layers.
    pub(crate) norm: Normalization,
    /// Probability of dropout before the classifier; without, that of the network as published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dropout: Option<f64>,
    /// Probability that training leaves out the branch of the last block, those of earlier blocks
    /// less; without, that of the network as published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stochastic_depth: Option<f64>,
    /// What keeps its weights.
    pub(crate) freeze: Freeze,
    /// First stage, if the backbone is frozen: the classifier alone, on stored features.
    pub(crate) head: HeadConfig,
    /// Last stage: the whole network.
    pub(crate) full: FullConfig,
    /// Random changes to the photos while the whole network trains.
    pub(crate) augment: AugmentConfig,
}

/// What normalises between the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Normalization {
    /// As the network was published: by the statistics of the batch.
    Batch,
    /// By the statistics of each photo, over groups of channels: does not depend on the batch.
    Group,
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

impl TrainConfig {
    /// What is not set otherwise.
    pub(crate) fn defaults(
        network: String,
        input_size: u32,
        data: PathBuf,
        freeze: Freeze,
    ) -> TrainConfig {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        TrainConfig {
            network,
            input_size,
            data,
            labels: None,
            split: None,
            val_split: None,
            val_fraction: 0.2,
            pretrained: None,
            seed: 1,
            backend: Backend::Flex,
            keep_last: 2,
            photo_memory_mib: 1024,
            workers: cores,
            threads: cores,
            norm: Normalization::Batch,
            dropout: None,
            stochastic_depth: None,
            head: HeadConfig::frozen(),
            full: match freeze {
                Freeze::None => FullConfig::from_scratch(),
                Freeze::Backbone | Freeze::Until(_) => FullConfig::fine_tune(),
            },
            freeze,
            augment: AugmentConfig::default(),
        }
    }

    /// Settings from those of a file and of options; what they do not say has its default.
    ///
    /// # Errors
    /// Network or data are missing, a key is unknown, a value makes no sense.
    pub(crate) fn from_table(table: Table) -> Result<TrainConfig> {
        let table = squeeze::resolve(table, None)?;
        let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
        let network = text("network").context("no network is named")?;
        let data = text("data").context("no folder of photos is named")?;
        let freeze = TrainConfig::freeze_of(&table)?;
        let size = models::zoo::default_input_size(network)?;
        let defaults = TrainConfig::defaults(network.to_owned(), size, data.into(), freeze);
        defaults.with(table)
    }

    /// What keeps its weights: with pretrained ones the backbone, if nothing else is said.
    pub(crate) fn freeze_of(table: &Table) -> Result<Freeze> {
        match table.get("freeze") {
            Some(freeze) => freeze.clone().try_into().map_err(|error| {
                let error: toml::de::Error = error;
                anyhow::anyhow!("freeze: {}", error.message())
            }),
            None if table.contains_key("pretrained") => Ok(Freeze::Backbone),
            None => Ok(Freeze::None),
        }
    }

    /// These settings after some changes.
    pub(crate) fn with(&self, changes: Table) -> Result<TrainConfig> {
        let changes = squeeze::resolve(changes, Some(&self.network))?;
        let cannot = "the settings cannot be written as TOML";
        let mut table = Table::try_from(self).context(cannot)?;
        merge(&mut table, changes.clone());
        let config: TrainConfig = match table.try_into() {
            Ok(config) => config,
            Err(error) => return Err(self.fault_of(&changes).unwrap_or(error.into())),
        };
        let known = Table::try_from(&config).context(cannot)?;
        if let Some(key) = settings::unknown(&changes, &known) {
            bail!("there is no setting {key:?}");
        }
        config.check()?;
        Ok(config)
    }

    /// The first of these changes that makes no setting, and why.
    fn fault_of(&self, changes: &Table) -> Option<anyhow::Error> {
        settings::leaves(changes)
            .into_iter()
            .find_map(|(key, value)| {
                let mut table = Table::try_from(self).ok()?;
                insert(&mut table, &key, value);
                let error = table.try_into::<TrainConfig>().err()?;
                let text = error.to_string();
                let reason = text.lines().next().unwrap_or_default();
                Some(anyhow::anyhow!("{key}: {}", in_words(reason)))
            })
    }

    /// Reads a config file as it is written.
    pub(crate) fn read_table(path: &Path) -> Result<Table> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        toml::from_str(&text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
    }

    /// Reads the `config.toml` of a run.
    pub(crate) fn read(path: &Path) -> Result<TrainConfig> {
        let mut table = TrainConfig::read_table(path)?;
        // Earlier runs had a head where the backbone was frozen.
        if !table.contains_key("freeze") {
            let freeze = match table.contains_key("head") {
                true => "backbone",
                false => "none",
            };
            table.insert("freeze".into(), freeze.into());
        }
        TrainConfig::from_table(table).with_context(|| path.display().to_string())
    }

    /// The first stage, where there is one.
    pub(crate) fn frozen_head(&self) -> Option<&HeadConfig> {
        (self.freeze != Freeze::None).then_some(&self.head)
    }

    /// The last node of `graph` that never learns, where there is one.
    pub(crate) fn frozen_until(&self, graph: &Graph) -> Result<Option<usize>> {
        let Freeze::Until(name) = &self.freeze else {
            return Ok(None);
        };
        let stages = Stages::new(graph).context("the network has no stages")?;
        let network = &self.network;
        let node = stages.find(graph, name).with_context(|| {
            format!(
                "freeze: {name:?} is neither none, backbone nor a place where {network} can be cut; see \
                 host-train networks --stages {network}"
            )
        })?;
        Ok(Some(node))
    }

    /// The text of `config.toml`.
    pub(crate) fn to_toml(&self) -> Result<String> {
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
    pub(crate) fn check(&self) -> Result<()> {
        models::zoo::preprocess(&self.network, Some(self.input_size))?;
        self.head.stage.check("head")?;
        self.full.stage.check("full")?;
        let graph = self.graph(ANY_ITEMS)?;
        self.frozen_until(&graph)?;
        ensure!(
            self.freeze == Freeze::None || self.pretrained.is_some(),
            "to freeze the backbone needs pretrained weights: a random one is worth nothing"
        );
        ensure!(
            (1..=64).contains(&self.head.views),
            "head.views must be in 1..=64"
        );
        ensure!(
            (1..=64).contains(&self.full.views),
            "full.views must be in 1..=64"
        );
        let momentum = self.full.norm_momentum;
        ensure!(
            (0.0..=1.0).contains(&momentum),
            "full.norm_momentum must be in 0..=1"
        );
        let decay = self.full.stage_decay;
        ensure!(
            (0.0..=1.0).contains(&decay),
            "full.stage_decay must be in 0..=1"
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
        ensure!(self.keep_last > 0, "keep_last must be at least 1");
        let fraction = self.val_fraction;
        ensure!(
            (0.0..0.95).contains(&fraction),
            "val_fraction must be in 0..0.95"
        );
        self.augment.check()
    }

    /// The network for so many items.
    pub(crate) fn graph(&self, items: usize) -> Result<Graph> {
        let mut graph = models::zoo::build(&self.network, items, Some(self.input_size))?;
        regularize::apply(&mut graph, self.dropout, self.stochastic_depth)?;
        Ok(match self.norm {
            Normalization::Batch => graph,
            Normalization::Group => passes::with_group_norms(&graph)?,
        })
    }

    /// The last stage, where there is one: the first stage again.
    pub(crate) fn refit_head(&self) -> Option<&HeadConfig> {
        let tuned = self.full.refit && self.full.stage.epochs > 0;
        self.frozen_head().filter(|_| tuned)
    }

    /// Epochs of the first stage and of the whole network.
    pub(crate) fn epochs_until_refit(&self) -> u32 {
        self.frozen_head().map_or(0, |head| head.stage.epochs) + self.full.stage.epochs
    }

    /// Epochs of all stages.
    pub(crate) fn total_epochs(&self) -> u32 {
        let again = self.refit_head().map_or(0, |head| head.stage.epochs);
        self.epochs_until_refit() + again
    }

    /// Whether a run under `self` may be resumed under `other`: only places and speed may differ.
    pub(crate) fn check_resumable(&self, other: &TrainConfig) -> Result<()> {
        let result = |config: &TrainConfig| TrainConfig {
            data: PathBuf::new(),
            workers: 1,
            threads: 1,
            photo_memory_mib: 0,
            keep_last: 1,
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

/// What a deserializer wants, without the names of Rust's types.
fn in_words(reason: &str) -> String {
    let Some((found, wanted)) = reason.rsplit_once("expected ") else {
        return reason.to_owned();
    };
    let wanted = match wanted {
        "f32" | "f64" => "a number",
        "u8" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        "a boolean" => "true or false",
        wanted if wanted.starts_with("struct ") => "a table",
        wanted => wanted,
    };
    format!("{found}expected {wanted}")
}

#[cfg(test)]
pub(crate) mod tests;
