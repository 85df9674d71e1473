//! Trains, evaluates and exports the classifiers that `edge-runtime` runs.
//!
//! Photos go in ([`data`], [`loader`], [`augment`]); a network of `models::zoo` is interpreted by
//! burn ([`network`]) and trained ([`trainer`], [`step`]); the run folder holds the result ([`run`],
//! [`checkpoint`]); [`export`] folds it, writes it as ONNX and proves that it computes the same.
#![cfg_attr(test, allow(clippy::unwrap_used))]

/// Prints a line; a reader that has gone away (as `| head` does) is no failure.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}

mod augment;
mod balance;
mod calibrate;
mod chart;
mod checkpoint;
mod clip;
mod config;
mod data;
mod discriminant;
mod dropout;
mod evaluate;
mod export;
mod features;
mod initialize;
mod layer;
mod loader;
mod material;
mod mix;
mod nadam;
mod network;
mod networks;
mod onnx;
mod optimizer;
mod pretrained;
mod preview;
mod progress;
mod quantize;
mod random;
mod report;
mod run;
mod schedule;
mod schedule_command;
mod sign;
mod split;
mod squares;
mod stats;
mod step;
mod student;
mod tensorboard;
mod thaw;
mod train;
mod trainer;
mod value;
#[cfg(test)]
mod zoo_tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Trains, evaluates and exports the classifiers that edge-runtime runs.
#[derive(Parser)]
#[command(version, after_help = "Start with: host-train train --help")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(Box<train::Args>),
    Export(export::Args),
    Quantize(quantize::Args),
    Evaluate(evaluate::Args),
    Networks(networks::Args),
    Schedule(schedule_command::Args),
    AugmentPreview(preview::Args),
    Stats(stats::Args),
    Report(report::Args),
    Split(split::Args),
    Sign(sign::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Networks(args) => networks::run(&args),
        Command::Schedule(args) => schedule_command::run(&args),
        Command::AugmentPreview(args) => preview::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Split(args) => split::run(&args),
        Command::Sign(args) => sign::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
