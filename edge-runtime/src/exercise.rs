//! `edge-runtime exercise`: moves one gate by hand.

use crate::actuate::gpio::GpioPin;
use crate::actuate::{Gates, PinGates};
use crate::line::Event;
use crate::run::say;
use crate::sense::Sensors;
use anyhow::{Context, bail};
use boards::{Gate, Profile};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Open and close one gate, to see that it is wired as the board file says.
///
/// It asks first. The emergency stop, Ctrl-C and SIGTERM close the gate.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  edge-runtime exercise --board boards/profiles/raspberry-pi-4.toml --gate kitchen --times 3")]
pub(crate) struct Args {
    /// The board profile: what is wired where
    #[arg(long, value_name = "FILE")]
    board: PathBuf,
    /// The gate's name in the board file
    #[arg(long, value_name = "NAME")]
    gate: String,
    /// How long it is open each time [default: the gate's hold_ms; at most its max_on_ms]
    #[arg(long, value_name = "MS")]
    on_ms: Option<f64>,
    /// How often
    #[arg(long, default_value_t = 1, value_name = "N")]
    times: u32,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Between two times, at least.
const PAUSE: Duration = Duration::from_millis(500);
/// Signals and the emergency stop are looked at this often.
const STEP: Duration = Duration::from_millis(10);

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let file = args.board.display();
    let board = Profile::open(&args.board)?;
    let Some(gate) = board.gates().iter().find(|g| g.name == args.gate) else {
        let names: Vec<&str> = board.gates().iter().map(|g| g.name.as_str()).collect();
        bail!(
            "{file}: no gate \"{}\"; there are {}",
            args.gate,
            names.join(", ")
        );
    };
    let on_ms = args.on_ms.unwrap_or(gate.hold_ms);
    if !(1.0..=gate.max_on_ms).contains(&on_ms) {
        let most = gate.max_on_ms;
        bail!(
            "--on-ms {on_ms}: gate {} may be open for 1 to {most} ms",
            gate.name
        );
    }
    if !args.yes && !agreed(gate, args.times, on_ms)? {
        bail!("nothing was moved");
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .context("cannot catch the signals that end the program")?;
    }
    let mut sensors =
        crate::open_sensors(&board).map_err(|list| anyhow::anyhow!(list.join("; ")))?;
    let pin = GpioPin::open(gate).map_err(anyhow::Error::msg)?;
    let mut gates = PinGates::new(vec![pin]);
    let mut guard = Guard {
        sensors: sensors.as_mut(),
        stop: &stop,
    };
    guard.wait(Duration::ZERO)?;
    for n in 1..=args.times {
        gates.set(0, true)?;
        let open = gates.is_on(0)?;
        let waited = guard.wait(Duration::from_micros((on_ms * 1000.0) as u64));
        gates.set(0, false)?;
        let closed = !gates.is_on(0)?;
        waited?;
        if !(open && closed) {
            bail!("gate {}: its output is not what it was set to", gate.name);
        }
        say(&format!("{n}: gate {} was open for {on_ms} ms", gate.name));
        if n < args.times {
            guard.wait(PAUSE.max(Duration::from_micros((gate.min_gap_ms * 1000.0) as u64)))?;
        }
    }
    Ok(())
}

fn agreed(gate: &Gate, times: u32, on_ms: f64) -> anyhow::Result<bool> {
    say(&format!(
        "Gate {} ({}) will open {times} times for {on_ms} ms. Hands and tools away from it!\nType yes to go on:",
        gate.name, gate.line
    ));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// Waits, unless something speaks against going on.
struct Guard<'a> {
    sensors: &'a mut dyn Sensors,
    stop: &'a AtomicBool,
}

impl Guard<'_> {
    fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        let mut events = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.sensors.poll(left.min(STEP), &mut events)?;
            if self.stop.load(Ordering::Acquire) {
                bail!("ended by a signal; the gate is closed");
            }
            if events.drain(..).any(|e| matches!(e, Event::Stop { .. })) {
                bail!("the emergency stop is pressed, or its wire is cut; the gate is closed");
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }
}
