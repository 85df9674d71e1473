//! The sorting program: frames in, gates out.
//!
//! This file is the only place that chooses real or simulated parts.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod actuate;
mod capture;
mod classify;
mod clock;
mod line;
mod observe;
mod recognise;
mod simulate;

use clap::Parser;
use std::process::ExitCode;

/// Sorts items on a belt by what a camera sees.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Classify(classify::Args),
    Simulate(simulate::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Classify(args) => classify::run(&args),
        Command::Simulate(args) => simulate::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
