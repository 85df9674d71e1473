//! The sorting program: frames in, gates out.
//!
//! This file is the only place that chooses real or simulated parts.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod actuate;
mod capture;
mod classify;
mod clock;
mod detect;
mod doctor;
mod exercise;
mod journal;
mod line;
mod memory;
mod observe;
mod profile;
mod recognise;
mod replay;
mod run;
mod runtime;
mod sense;
mod simulate;
mod timing;

use actuate::gpio::GpioPin;
use actuate::recorded::RecordedPin;
use actuate::{Gates, PinGates};
use anyhow::bail;
use boards::{Profile, SIMULATED};
use capture::folder::FolderSource;
use capture::reopening::Reopening;
use capture::v4l2::V4l2Camera;
use capture::{CaptureError, FrameSource};
use clap::Parser;
use clock::Clock;
use sense::gpio::GpioSensors;
use sense::{NoSensors, Sensors};
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
    Run(run::Args),
    Replay(replay::Args),
    Detect(detect::Args),
    Profile(profile::Args),
    Doctor(doctor::Args),
    Exercise(exercise::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Classify(args) => classify::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Run(args) => run_on_board(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Detect(args) => detect::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Exercise(args) => exercise::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_on_board(args: &run::Args) -> anyhow::Result<()> {
    let plan = run::plan(args)?;
    // Both are tried, so that everything that is missing is said at once.
    match (
        open_camera(&plan.board, args),
        open_sensors(&plan.board),
        open_gates(&plan.board, args),
    ) {
        (Ok(mut camera), Ok(mut sensors), Ok(mut gates)) => run::run(
            args,
            plan,
            camera.as_mut(),
            sensors.as_mut(),
            gates.as_mut(),
        ),
        (camera, sensors, gates) => {
            let camera = camera.err().map(|e| vec![e.to_string()]);
            let missing = [camera, sensors.err(), gates.err()];
            let missing = missing.into_iter().flatten().flatten();
            let list: Vec<String> = missing.map(|what| format!("\n  {what}")).collect();
            bail!(
                "{}: this machine lacks parts of the board, and nothing was driven:{}\n\
                 (`edge-runtime simulate` needs no devices; `run --dry-run` needs no outputs)",
                args.board.display(),
                list.concat()
            )
        }
    }
}

fn open_camera(board: &Profile, args: &run::Args) -> Result<Box<dyn FrameSource>, CaptureError> {
    let clock = Clock::Monotonic;
    if let Some(folder) = &args.frames {
        let source = FolderSource::open(folder, board.camera().rate_hz, clock)?;
        return Ok(Box::new(source));
    }
    if board.camera().device == SIMULATED {
        let message = "the board's camera is the simulated one: use `edge-runtime simulate`, or name a \
             device under [camera] in the board file";
        return Err(CaptureError::Failed(message.to_owned()));
    }
    let (camera, on) = (board.camera().clone(), clock.clone());
    let open = move || -> Result<Box<dyn FrameSource>, CaptureError> {
        Ok(Box::new(V4l2Camera::open(&camera, on.clone())?))
    };
    Ok(Box::new(Reopening::new(Box::new(open), clock)?))
}

fn open_sensors(board: &Profile) -> Result<Box<dyn Sensors>, Vec<String>> {
    let has_sensors = board.encoder().is_some()
        || board.emergency_stop().is_some()
        || !board.photo_eyes().is_empty();
    if !has_sensors {
        return Ok(Box::new(NoSensors));
    }
    Ok(Box::new(GpioSensors::open(board, Clock::Monotonic)?))
}

fn open_gates(board: &Profile, args: &run::Args) -> Result<Box<dyn Gates>, Vec<String>> {
    if args.dry_run {
        let (pins, _) = RecordedPin::row(board.gates().len(), &Clock::Monotonic);
        return Ok(Box::new(PinGates::new(pins)));
    }
    let mut pins = Vec::new();
    let mut missing = Vec::new();
    for gate in board.gates() {
        match GpioPin::open(gate) {
            Ok(pin) => pins.push(pin),
            Err(error) => missing.push(error),
        }
    }
    if missing.is_empty() {
        Ok(Box::new(PinGates::new(pins)))
    } else {
        Err(missing)
    }
}
