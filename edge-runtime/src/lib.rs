//! The sorting program: frames in, gates out.
//!
//! This file is the only place that chooses real or simulated parts. It is a library so that the fuzz
//! targets can reach what reads bytes from outside ([`fuzz`]); nothing else is to be used from elsewhere.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod actuate;
mod bundle;
mod calibrate;
mod capture;
mod classify;
mod clock;
mod detect;
mod doctor;
mod exercise;
#[doc(hidden)]
pub mod fuzz;
mod inputs;
mod journal;
mod keeper;
mod line;
mod memory;
mod observe;
mod off;
mod profile;
mod recognise;
mod replay;
mod run;
mod runtime;
mod sense;
mod serve;
mod simulate;
mod threads;
mod timing;

use actuate::BoardGates;
use actuate::open::{Outputs, outputs};
use actuate::recorded::RecordedPin;
use anyhow::bail;
use boards::{Profile, SIMULATED};
use capture::reopening::Reopening;
use capture::replay::Replay;
use capture::v4l2::V4l2Camera;
use capture::{CaptureError, FrameSource};
use clap::Parser;
use clock::Clock;
use keeper::guardian::{self, Guarded, Guardian};
use keeper::systemd::Systemd;
use keeper::watchdog::Watchdog;
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
    Serve(serve::Args),
    Simulate(simulate::Args),
    Run(run::Args),
    Replay(replay::Args),
    Detect(detect::Args),
    Profile(profile::Args),
    Doctor(doctor::Args),
    Exercise(exercise::Args),
    Calibrate(calibrate::Args),
    Inputs(inputs::Args),
    Off(off::Args),
    #[command(hide = true)]
    Guard(guardian::Args),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Classify(args) => classify::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Run(args) => run_on_board(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Detect(args) => detect::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Exercise(args) => exercise::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Inputs(args) => inputs::run(&args),
        Command::Off(args) => off::run(&args),
        Command::Guard(args) => guardian::run(&args),
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
        (Ok(mut camera), Ok(mut sensors), Ok(mut outputs)) => {
            let guarded = &outputs.guarded;
            let devices = run::Devices {
                camera: camera.as_mut(),
                sensors: sensors.as_mut(),
                gates: &mut outputs.gates,
                keepers: &|| keepers(guarded, args),
            };
            run::run(args, plan, devices)
        }
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
    let camera = board.camera();
    if let Some(path) = &args.frames {
        let size = (camera.width_px, camera.height_px);
        return Ok(Box::new(Replay::open(path, size, camera.rate_hz, clock)?));
    }
    if camera.device == SIMULATED {
        let message = "the board's camera is the simulated one: use `edge-runtime simulate`, or name a \
             device under [camera] in the board file";
        return Err(CaptureError::Failed(message.to_owned()));
    }
    let (camera, on) = (camera.clone(), clock.clone());
    let open = move || -> Result<Box<dyn FrameSource>, CaptureError> {
        Ok(Box::new(V4l2Camera::open(&camera, on.clone())?))
    };
    Ok(Box::new(Reopening::new(Box::new(open), clock)?))
}

fn has_sensors(board: &Profile) -> bool {
    board.encoder().is_some() || board.emergency_stop().is_some() || !board.photo_eyes().is_empty()
}

fn open_sensors(board: &Profile) -> Result<Box<dyn Sensors>, Vec<String>> {
    if has_sensors(board) {
        Ok(Box::new(GpioSensors::open(board, Clock::Monotonic)?))
    } else {
        Ok(Box::new(NoSensors))
    }
}

fn open_gates(board: &Profile, args: &run::Args) -> Result<Outputs, Vec<String>> {
    if args.dry_run {
        let (pins, _) = RecordedPin::row(board.gates().len(), &Clock::Monotonic);
        return Ok(Outputs {
            gates: BoardGates::of_pins(pins),
            guarded: Vec::new(),
        });
    }
    outputs(board)
}

/// Who acts when the program cannot.
fn keepers(guarded: &[Guarded], args: &run::Args) -> Result<run::Keepers, String> {
    let mut keepers = run::Keepers::new();
    if !guarded.is_empty() {
        keepers.push(Box::new(Guardian::start(guarded)?));
    }
    if let Some(systemd) = Systemd::from_environment()? {
        keepers.push(Box::new(systemd));
    }
    if let Some(device) = &args.watchdog {
        keepers.push(Box::new(Watchdog::open(device)?));
    }
    Ok(keepers)
}
