//! `edge-runtime off`: switches every output of a board off.

use crate::actuate::Gates as _;
use crate::actuate::open::outputs;
use crate::clock::Clock;
use crate::runtime::realtime::sleep_until_us;
use boards::Profile;
use std::path::PathBuf;

/// Switch every output of a board off, and close what has to be driven closed.
///
/// For the service that runs the program, to be done after it has ended, of whatever. Fails where an
/// output cannot be had within two seconds, for instance because a program that sorts holds it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  edge-runtime off --board boards/profiles/raspberry-pi-4.toml")]
pub(crate) struct Args {
    /// The board profile: what is wired where
    #[arg(long, value_name = "FILE")]
    board: PathBuf,
}

/// The guardian of a program that has died holds the outputs until it has made them safe.
const PATIENCE_US: i64 = 2_000_000;
const PAUSE_US: i64 = 20_000;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let board = Profile::open(&args.board)?;
    let failed =
        |list: Vec<String>| anyhow::anyhow!("{}: {}", args.board.display(), list.join("; "));
    let mut gates = soon(|| outputs(&board)).map_err(failed)?.gates;
    gates.run_belt(false)?;
    gates.all_off()?;
    while let Some(step_us) = gates.advance(Clock::Monotonic.now_us())? {
        sleep_until_us(step_us);
    }
    Ok(())
}

/// What `attempt` gives, with some patience.
fn soon<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let until_us = Clock::Monotonic.now_us() + PATIENCE_US;
    loop {
        let result = attempt();
        let now_us = Clock::Monotonic.now_us();
        if result.is_ok() || now_us > until_us {
            return result;
        }
        sleep_until_us(now_us + PAUSE_US);
    }
}
