//! `edge-runtime exercise`: moves one gate by hand.

use crate::actuate::{BoardGates, Gates, open};
use crate::clock::Clock;
use crate::keeper::Keeper as _;
use crate::keeper::guardian::Guardian;
use crate::line::Event;
use crate::run::say;
use crate::runtime::realtime;
use crate::runtime::switchboard::Switchboard;
use crate::runtime::watch::Watch;
use crate::sense::Sensors;
use crate::timing::Timing;
use anyhow::{Context, bail};
use boards::{Gate, Profile};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// Open and close one gate, to see that it is wired as the board file says.
///
/// It asks first, and says afterwards how exactly the output was switched. The emergency stop, Ctrl-C and SIGTERM close the gate.
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
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    times: u32,
    /// Between two times, at least
    #[arg(long, default_value_t = 500.0, value_name = "MS")]
    pause_ms: f64,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// A firing is planned so long before it begins.
const AHEAD_US: i64 = 20_000;
/// More firings than these are only summed up.
const TOLD_SINGLY: u32 = 20;
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
    let mut guarded = Vec::new();
    let actuator = open::actuator(gate, &mut guarded).map_err(anyhow::Error::msg)?;
    let mut gates = BoardGates::new(vec![actuator], None);
    let mut guardian = Guardian::start(&guarded).map_err(anyhow::Error::msg)?;
    let mut guard = Guard {
        sensors: sensors.as_mut(),
        guardian: &mut guardian,
        stop: &stop,
    };
    guard.wait_until(0)?;
    let on_us = (on_ms * 1000.0).round() as i64;
    let pause_us = (args.pause_ms.max(gate.min_gap_ms) * 1000.0).round() as i64;
    let result = fire(gate, &mut gates, &mut guard, (args.times, on_us, pause_us));
    guardian.ending();
    result
}

/// Fires as `run` does, through the switchboard, and says how exactly that went.
fn fire(
    gate: &Gate,
    gates: &mut dyn Gates,
    guard: &mut Guard<'_>,
    (times, on_us, pause_us): (u32, i64, i64),
) -> anyhow::Result<()> {
    let clock = Clock::Monotonic;
    let stop = Arc::clone(guard.stop);
    let watch = Watch::new(&stop, &clock);
    let switchboard = Switchboard::new(vec![(gate.max_on_ms * 1000.0).round() as i64]);
    let (movements, moved) = sync_channel(2 * times as usize);
    std::thread::scope(|scope| {
        let (clock, watch, switchboard) = (&clock, &watch, &switchboard);
        let gate_thread = scope.spawn(move || {
            if let Err(message) = realtime::enter(realtime::GATES) {
                eprintln!("note: {message}");
            }
            switchboard.run(gates, &movements, clock, watch)
        });
        let mut fire_all = || -> anyhow::Result<()> {
            for n in 1..=times {
                let begin_us = clock.now_us() + AHEAD_US;
                switchboard.fire(0, begin_us, begin_us + on_us)?;
                guard.wait_until(begin_us + on_us + AHEAD_US)?;
                if times <= TOLD_SINGLY {
                    let on_ms = on_us as f64 / 1000.0;
                    say(&format!("{n}: gate {} was open for {on_ms} ms", gate.name));
                }
                guard.wait_until(begin_us + on_us + pause_us)?;
            }
            Ok(())
        };
        let fired = fire_all();
        guard.stop.store(true, Ordering::Release);
        switchboard.wake();
        match gate_thread.join() {
            Ok(result) => result?,
            Err(_) => bail!("the gates' thread broke down; see above"),
        }
        fired
    })?;
    let mut timing = Timing::default();
    moved.try_iter().for_each(|movement| timing.add(&movement));
    timing.left_out = switchboard.left_out();
    say(&format!("\n{}", timing.text()));
    Ok(())
}

fn agreed(gate: &Gate, times: u32, on_ms: f64) -> anyhow::Result<bool> {
    say(&format!(
        "Gate {} will open {times} times for {on_ms} ms. Hands and tools away from it!\nType yes to go on:",
        gate.name
    ));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// Waits, unless something speaks against going on.
struct Guard<'a> {
    sensors: &'a mut dyn Sensors,
    guardian: &'a mut Guardian,
    stop: &'a Arc<AtomicBool>,
}

impl Guard<'_> {
    fn wait_until(&mut self, end_us: i64) -> anyhow::Result<()> {
        let mut events = Vec::new();
        loop {
            let left_us = end_us - Clock::Monotonic.now_us();
            let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0));
            self.sensors.poll(left.min(STEP), &mut events)?;
            self.guardian.well().map_err(anyhow::Error::msg)?;
            if self.stop.load(Ordering::Acquire) {
                bail!("ended by a signal or an error; the gate is closed");
            }
            if events.drain(..).any(|e| matches!(e, Event::Stop { .. })) {
                bail!("the emergency stop is pressed, or its wire is cut; the gate is closed");
            }
            if left_us <= 0 {
                return Ok(());
            }
        }
    }
}
