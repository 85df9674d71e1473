//! `edge-runtime inputs`: says what the board's inputs say.

use crate::clock::Clock;
use crate::line::Event;
use crate::run::say;
use anyhow::bail;
use boards::Profile;
use std::path::PathBuf;
use std::time::Duration;

/// Watch the encoder, the photo-eyes and the emergency stop, to see that they are wired as the board
/// file says.
///
/// Nothing is moved. Each change is said with the kernel's instant of the edge, in seconds since the
/// first; the encoder's pulses are said once a second, while there are any.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  edge-runtime inputs --board boards/profiles/raspberry-pi-4.toml --seconds 60")]
pub(crate) struct Args {
    /// The board profile: what is wired where
    #[arg(long, value_name = "FILE")]
    board: PathBuf,
    /// For so long; else until Ctrl-C
    #[arg(long, value_name = "N")]
    seconds: Option<u32>,
}

const POLL: Duration = Duration::from_millis(100);
const COUNT_US: i64 = 1_000_000;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let board = Profile::open(&args.board)?;
    if !crate::has_sensors(&board) {
        bail!("{}: the board has no inputs", args.board.display());
    }
    let mut sensors = crate::open_sensors(&board)
        .map_err(|list| anyhow::anyhow!("{}: {}", args.board.display(), list.join("; ")))?;
    let begin_us = Clock::Monotonic.now_us();
    let end_us = args.seconds.map(|s| begin_us + i64::from(s) * 1_000_000);
    let mut report = Report {
        board: &board,
        begin_us,
        counted: 0,
        counted_us: begin_us,
    };
    let mut events = Vec::new();
    while end_us.is_none_or(|end_us| Clock::Monotonic.now_us() < end_us) {
        sensors.poll(POLL, &mut events)?;
        events.drain(..).for_each(|event| report.tell(&event));
    }
    Ok(())
}

struct Report<'a> {
    board: &'a Profile,
    begin_us: i64,
    /// Pulses that have been said.
    counted: i64,
    counted_us: i64,
}

impl Report<'_> {
    fn tell(&mut self, event: &Event) {
        let t_us = event.t_us();
        let at = |what: String| {
            say(&format!(
                "{:>12.6}  {what}",
                (t_us - self.begin_us) as f64 / 1e6
            ))
        };
        match *event {
            Event::Stop { .. } => at("emergency stop: pressed, or its wire is cut".to_owned()),
            Event::Resume { .. } => at("emergency stop: lets the belt run".to_owned()),
            Event::Eye { eye, blocked, .. } => {
                let name = &self.board.photo_eyes()[eye].name;
                let state = if blocked { "blocked" } else { "free" };
                at(format!("photo-eye {name}: {state}"));
            }
            Event::Encoder { pulses, .. } if pulses == self.counted => self.counted_us = t_us,
            Event::Encoder { pulses, .. } if t_us - self.counted_us >= COUNT_US => {
                let rate_hz =
                    (pulses - self.counted) as f64 * 1e6 / (t_us - self.counted_us) as f64;
                let mm = self.board.encoder().map_or(0.0, |e| e.mm_per_pulse);
                at(format!(
                    "encoder: {pulses} pulses, {rate_hz:.1} a second, {:.1} mm/s",
                    rate_hz * mm
                ));
                (self.counted, self.counted_us) = (pulses, t_us);
            }
            _ => {}
        }
    }
}
