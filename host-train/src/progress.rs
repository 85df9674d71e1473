//! Progress for a person (bars on a terminal) or for a log (plain lines).

mod epochs;

use std::io::IsTerminal;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(crate) use epochs::EpochLines;

/// Plain lines come at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// All bars share the terminal's last lines.
static SCREEN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Counts through something of known length.
pub(crate) struct Progress {
    bar: ProgressBar,
    lines: Option<Mutex<Lines>>,
    what: &'static str,
}

struct Lines {
    started: Instant,
    shown: Instant,
}

impl Progress {
    /// `what`: for example "reading photos"; `unit`: for example "photos".
    pub(crate) fn new(what: &'static str, unit: &str, length: u64) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            let template = format!(
                "{{prefix}} [{{bar:30}}] {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left {{msg}}"
            );
            let style = ProgressStyle::with_template(&template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .with_key(
                    "per_sec",
                    |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                        let _ = write!(w, "{:.1}/s", state.per_sec());
                    },
                );
            let bar = SCREEN.add(ProgressBar::new(length));
            bar.with_style(style).with_prefix(what)
        } else {
            ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden())
        };
        let now = Instant::now();
        let lines = (!terminal).then(|| {
            Mutex::new(Lines {
                started: now,
                shown: now,
            })
        });
        Progress { bar, lines, what }
    }

    /// Shows nothing: something else counts.
    pub(crate) fn silent() -> Progress {
        Progress {
            bar: ProgressBar::hidden(),
            lines: None,
            what: "",
        }
    }

    /// `done` more are done.
    pub(crate) fn advance(&self, done: u64) {
        self.bar.inc(done);
        let Some(Ok(mut lines)) = self.lines.as_ref().map(Mutex::lock) else {
            return;
        };
        if lines.shown.elapsed() >= LINE_INTERVAL {
            lines.shown = Instant::now();
            let (position, length) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let rate = position as f64 / lines.started.elapsed().as_secs_f64();
            let left = length.saturating_sub(position) as f64 / rate.max(1e-9);
            eprintln!(
                "{}: {position}/{length}, {rate:.1}/s, {left:.0} s left {}",
                self.what,
                self.bar.message()
            );
        }
    }

    /// What stands behind the bar.
    pub(crate) fn message(&self, message: String) {
        self.bar.set_message(message);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
