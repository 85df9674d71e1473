//! `profile`: where the time of a frame goes, layer by layer.

use std::io::Write;
use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, Result};
use inference::{Engine, LayerTime};
use serde::Serialize;

use crate::bundle::BundleArgs;
use crate::threads::ThreadArgs;

/// Says how long each layer of a bundle's network takes, and what computes it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Frames to measure; each layer's median counts
    #[arg(long, value_name = "N", default_value = "50")]
    runs: NonZeroUsize,
    /// Print JSON, one object a layer
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    kind: String,
    /// `int8` or `f32` for this project's kernels, else `tract`.
    engine: &'static str,
    /// Median, in milliseconds.
    ms: f64,
    /// The shortest, in milliseconds.
    min_ms: f64,
    /// 0 where it is not known.
    products: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let file = || args.bundle.name();
    let bundle = args.bundle.open()?;
    let mut classifier = args.threads.classifier(&bundle).with_context(file)?;
    let mut frames = Vec::new();
    for _ in 0..args.runs.get() {
        frames.push(classifier.profile().with_context(file)?);
    }
    let layers = summarise(&frames);
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        writeln!(out, "{}", serde_json::to_string(&layers)?)
    } else {
        print(&mut out, &layers)
    };
    match written {
        // The reader has seen enough, as `| head` does.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Every frame has the same layers.
fn summarise(frames: &[Vec<LayerTime>]) -> Vec<Layer> {
    let Some(first) = frames.first() else {
        return Vec::new();
    };
    let layers = first.iter().enumerate().map(|(index, layer)| {
        let all = frames.iter().filter_map(|frame| frame.get(index));
        let mut times: Vec<Duration> = all.map(|layer| layer.time).collect();
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        Layer {
            name: layer.name.clone(),
            kind: layer.kind.clone(),
            engine: match layer.engine {
                Engine::Int8 => "int8",
                Engine::F32 => "f32",
                Engine::Tract => "tract",
            },
            ms: ms(times[times.len() / 2]),
            min_ms: ms(times[0]),
            products: layer.products,
        }
    });
    layers.collect()
}

fn print(out: &mut impl Write, layers: &[Layer]) -> std::io::Result<()> {
    let total: f64 = layers.iter().map(|layer| layer.ms).sum();
    writeln!(out, "      ms   share  million products/ms  engine  layer")?;
    for layer in layers {
        let speed = layer.products as f64 / layer.ms / 1e6;
        writeln!(
            out,
            "{:8.3}  {:5.1}%  {:>19}  {:6}  {} ({})",
            layer.ms,
            100.0 * layer.ms / total,
            if layer.products > 0 {
                format!("{speed:.1}")
            } else {
                String::new()
            },
            layer.engine,
            layer.name,
            layer.kind
        )?;
    }
    for engine in ["int8", "f32", "tract"] {
        let here = layers.iter().filter(|layer| layer.engine == engine);
        let (count, ms) = here.fold((0, 0.0), |(n, ms), layer| (n + 1, ms + layer.ms));
        let share = 100.0 * ms / total;
        writeln!(out, "{ms:8.3}  {share:5.1}%  {count} layers in {engine}")?;
    }
    writeln!(out, "{total:8.3}  milliseconds a frame")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_each_layer_counts() {
        let frame = |ms: u64| {
            vec![LayerTime {
                name: "a".to_owned(),
                kind: "Conv".to_owned(),
                engine: Engine::Tract,
                products: 0,
                time: Duration::from_millis(ms),
            }]
        };
        let layers = summarise(&[frame(9), frame(2), frame(3)]);
        assert_eq!((layers[0].ms, layers[0].min_ms), (3.0, 2.0));
        let mut text = Vec::new();
        print(&mut text, &layers).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("0 layers in int8") && text.contains("1 layers in tract"),
            "{text}"
        );
    }
}
