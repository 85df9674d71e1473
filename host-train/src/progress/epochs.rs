//! How a training goes.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::SCREEN;
use crate::checkpoint::Epoch;

/// Epochs that a curve shows.
const CURVE: usize = 40;

/// How a training goes. On a terminal the lines at the bottom have the curves of accuracy, loss and
/// learning rate; elsewhere there is at most one line a second, but always the last.
pub(crate) struct EpochLines {
    shown: Option<Instant>,
    dashboard: Option<ProgressBar>,
}

impl EpochLines {
    /// For a training of so many epochs.
    pub(crate) fn new(epochs: u32) -> EpochLines {
        let dashboard = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("epochs      [{bar:38}] {pos} of {len}\n{msg}");
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

/// A line each for validation, loss and learning rate: the latest epochs as bars, and what to know.
fn curves(history: &[Epoch]) -> String {
    let latest = &history[history.len().saturating_sub(CURVE)..];
    let line = |name: &str, value: &dyn Fn(&Epoch) -> Option<f64>, text: String| {
        let values: Vec<f64> = latest.iter().filter_map(value).collect();
        format!("{name:<11} {:<CURVE$} {text}", curve(&values))
    };
    let Some(newest) = history.last() else {
        return String::new();
    };
    let mut lines = Vec::new();
    let measured = |epoch: &Epoch| Some((epoch.val_item_accuracy?, epoch.epoch));
    // The later of equally good ones is kept.
    let best = history
        .iter()
        .filter_map(measured)
        .reduce(|best, next| if next.0 >= best.0 { next } else { best });
    if let (Some((best, epoch)), Some(now)) = (best, newest.val_item_accuracy) {
        let [best, now] = [best, now].map(|part| part * 100.0);
        let text = format!("{now:.2}%, best {best:.2}% in epoch {epoch}");
        lines.push(line("validation", &|epoch| epoch.val_item_accuracy, text));
    }
    let validation = newest
        .val_loss
        .map_or_else(String::new, |loss| format!(", {loss:.4} on validation"));
    let text = format!("{:.4}{validation}", newest.train_loss);
    lines.push(line("loss", &|epoch| Some(epoch.train_loss), text));
    let text = format!("{:.2e}", newest.lr);
    lines.push(line("rate", &|epoch| Some(epoch.lr), text));
    lines.join("\n")
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
        let epoch = |epoch, loss, accuracy: Option<f64>| Epoch {
            epoch,
            stage: "full".into(),
            lr: 0.1 / f64::from(epoch),
            train_loss: loss,
            train_accuracy: 0.5,
            val_loss: accuracy.map(|_| 2.0),
            val_item_accuracy: accuracy,
            val_category_accuracy: None,
            seconds: 1.0,
        };
        let some = |n, loss, accuracy| epoch(n, loss, Some(accuracy));
        let history = [some(1, 8.0, 0.5), some(2, 4.5, 0.75), some(3, 1.0, 0.75)];
        let room = " ".repeat(CURVE - 3);
        assert_eq!(
            curves(&history),
            format!(
                "validation  ▁██{room} 75.00%, best 75.00% in epoch 3\n\
                 loss        █▅▁{room} 1.0000, 2.0000 on validation\n\
                 rate        █▃▁{room} 3.33e-2"
            )
        );
        assert_eq!(curves(&[epoch(1, 2.0, None)]).lines().count(), 2);
        assert_eq!(curves(&[]), "");
        let long: Vec<Epoch> = (1..100).map(|n| epoch(n, f64::from(n), None)).collect();
        let drawn = |text: &str| text.chars().filter(|c| ('▁'..='█').contains(c)).count();
        assert_eq!(drawn(&curves(&long)), 2 * CURVE);
    }
}
