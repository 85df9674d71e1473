//! Progress for a person (bars on a terminal) or for a log (plain lines).

use std::io::IsTerminal;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::checkpoint::Epoch;

/// Plain lines come at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// All bars share the terminal's last lines.
static SCREEN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Epochs that a curve shows.
const CURVE: usize = 20;

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

/// How a training goes. On a terminal a line at the bottom has the curves of loss and validation
/// accuracy and the best epoch; elsewhere there is at most one line a second, but always the last.
pub(crate) struct EpochLines {
    shown: Option<Instant>,
    dashboard: Option<ProgressBar>,
}

impl EpochLines {
    /// For a training of so many epochs.
    pub(crate) fn new(epochs: u32) -> EpochLines {
        let dashboard = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("epochs [{bar:15}] {pos}/{len}  {wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            SCREEN.add(ProgressBar::new(epochs.into()).with_style(style))
        });
        EpochLines {
            shown: None,
            dashboard,
        }
    }

    /// Shows the epochs so far, the last of them with `line`.
    pub(crate) fn show(&mut self, history: &[Epoch], last: bool, line: impl FnOnce() -> String) {
        if let Some(bar) = &self.dashboard {
            bar.set_position(history.last().map_or(0, |epoch| epoch.epoch.into()));
            bar.set_message(curves(history));
            // The terminal is gone: there is nobody to tell.
            let _ = SCREEN.println(line());
            if last {
                bar.finish();
            }
            return;
        }
        let due = self
            .shown
            .is_none_or(|at| at.elapsed() >= Duration::from_secs(1));
        if due || last {
            self.shown = Some(Instant::now());
            eprintln!("{}", line());
        }
    }
}

/// `best 95.57% in epoch 12  validation ▁▃▇█  loss █▅▂▁`
fn curves(history: &[Epoch]) -> String {
    let latest = &history[history.len().saturating_sub(CURVE)..];
    let measured = |epoch: &Epoch| Some((epoch.val_item_accuracy?, epoch.epoch));
    // The later of equally good ones is kept.
    let best = history
        .iter()
        .filter_map(measured)
        .reduce(|best, next| if next.0 >= best.0 { next } else { best });
    let mut text = String::new();
    if let Some((best, epoch)) = best {
        let accuracies = latest.iter().filter_map(|epoch| epoch.val_item_accuracy);
        let curve = curve(&accuracies.collect::<Vec<_>>());
        let best = best * 100.0;
        text = format!("best {best:.2}% in epoch {epoch}  validation {curve}  ");
    }
    let losses: Vec<f64> = latest.iter().map(|epoch| epoch.train_loss).collect();
    text + "loss " + &curve(&losses)
}

/// A bar for each value, from the lowest to the highest.
fn curve(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bar = |value: &f64| {
        let part = (value - low) / (high - low).max(1e-12);
        BARS[((part * 7.0).round() as usize).min(7)]
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_show_the_course_and_the_best() {
        let epoch = |epoch, loss, accuracy| Epoch {
            epoch,
            stage: "full".into(),
            lr: 0.1,
            train_loss: loss,
            train_accuracy: 0.5,
            val_loss: None,
            val_item_accuracy: accuracy,
            val_category_accuracy: None,
            seconds: 1.0,
        };
        let some = |n, loss, accuracy| epoch(n, loss, Some(accuracy));
        let history = [some(1, 8.0, 0.5), some(2, 4.5, 0.75), some(3, 1.0, 0.75)];
        assert_eq!(
            curves(&history),
            "best 75.00% in epoch 3  validation ▁██  loss █▅▁"
        );
        assert_eq!(curves(&[epoch(1, 2.0, None)]), "loss ▁");
        assert_eq!(curves(&[]), "loss ");
        let long: Vec<Epoch> = (0..100).map(|n| epoch(n, f64::from(n), None)).collect();
        assert_eq!(curves(&long).chars().count(), 5 + CURVE);
    }
}
