//! `host-train schedule`: the learning rate of every step, before anything is trained.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use toml::Table;

use crate::chart::{Line, png, svg};
use crate::checkpoint::write_atomically;
use crate::config::{Settings, StageConfig, TrainConfig, merge};

/// Shows the learning rate over a training.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  host-train schedule --plot rate.svg --full-schedule cosine --full-cycles 3 --full-hold 0.1
  host-train schedule --config contest.toml --photos 14802

A plateau is shown as if validation never stopped getting better.")]
pub(crate) struct Args {
    /// Settings as a TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Photos that are trained on.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    photos: usize,
    /// Draw it, as SVG or PNG.
    #[arg(long, value_name = "FILE.svg|FILE.png")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Prints a line per epoch and draws the chart.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.photos > 0, "--photos must be at least 1");
    let mut table = match &args.config {
        Some(path) => TrainConfig::read_table(path)?,
        None => Table::new(),
    };
    merge(&mut table, args.settings.0.clone());
    for (key, any) in [("network", "mobilenet-v2"), ("data", ".")] {
        table.entry(key).or_insert_with(|| any.into());
    }
    let config = TrainConfig::from_table(table)?;
    let mut lines = Vec::new();
    say!(
        "{:<6} {:>6} {:>12} {:>12}",
        "stage",
        "epoch",
        "first",
        "last"
    );
    let mut before = 0;
    if let Some(head) = config.frozen_head() {
        lines.push(stage("head", &head.stage, args.photos, &mut before));
    }
    lines.push(stage("full", &config.full.stage, args.photos, &mut before));
    if let Some(head) = config.refit_head() {
        lines.push(stage("refit", &head.stage, args.photos, &mut before));
    }
    if let Some(path) = &args.plot {
        let [x, y] = ["step", "learning rate"];
        let chart = match path.extension().and_then(|extension| extension.to_str()) {
            Some("png") => png(x, y, &lines)?,
            Some("svg") => svg(x, y, &lines).into_bytes(),
            _ => bail!("{}: the name must end with .svg or .png", path.display()),
        };
        write_atomically(path, &chart)?;
        say!("{}", path.display());
    }
    Ok(())
}

/// The line of a stage that comes after `before` steps, which grow by its own.
fn stage(name: &str, config: &StageConfig, photos: usize, before: &mut u64) -> Line {
    let per_epoch = photos.div_ceil(config.batch) as u64;
    let steps = per_epoch * u64::from(config.epochs);
    let rate = |step: u64| config.rate.learning_rate(step, steps, &[]);
    for epoch in 0..u64::from(config.epochs) {
        let (first, last) = (epoch * per_epoch, (epoch + 1) * per_epoch - 1);
        say!(
            "{name:<6} {:>6} {:>12.3e} {:>12.3e}",
            epoch + 1,
            rate(first),
            rate(last)
        );
    }
    // A chart has some hundred points across.
    let stride = (steps / 700).max(1);
    let shown = (0..steps).filter(|step| step % stride == 0 || step + 1 == steps);
    let points = shown.map(|step| [(*before + step) as f64, rate(step)]);
    let line = Line {
        name: name.to_owned(),
        points: points.collect(),
    };
    *before += steps;
    line
}
