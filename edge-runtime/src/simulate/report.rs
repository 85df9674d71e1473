//! The report of a simulation: a table for people, JSON for programs.

use crate::line::Reason;
use crate::memory::Memory;
use crate::simulate::ledger::WARM_FRAMES;
use crate::timing::Percentiles;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What came of a run. `items` is the sum of `correct`, `wrong`, `rejected` and `missed`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) items: usize,
    /// In the chute of their category.
    pub(crate) correct: usize,
    /// In another chute.
    pub(crate) wrong: usize,
    /// Left to the reject chute on purpose.
    pub(crate) rejected: usize,
    /// At the end of the belt, though nobody wanted them there.
    pub(crate) missed: usize,
    /// Rejected because the decision came too late for the gate.
    pub(crate) late: usize,
    /// In a wrong chute though the line had settled on the right category.
    pub(crate) misrouted_although_recognised: usize,
    /// Items whose settled category was not theirs.
    pub(crate) misjudged: usize,
    /// Rejected items by reason.
    pub(crate) rejected_because: BTreeMap<Reason, usize>,
    /// Tracks where no item was.
    pub(crate) strays: usize,
    pub(crate) frames: u64,
    pub(crate) frames_dropped: u64,
    pub(crate) throughput_per_min: f64,
    /// From the capture of the view that settled an item to its decision.
    pub(crate) latency_ms: Percentiles,
    /// Between the planned and the actual switching of gates.
    pub(crate) timing_error_ms: Percentiles,
    /// The same as a histogram, for people.
    #[serde(skip)]
    pub(crate) gate_timing: String,
    /// In real time only, of runs that are long enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_mb: Option<Memory>,
    pub(crate) chutes: Vec<Chute>,
    /// Wall time of classifying one view.
    pub(crate) compute_ms: Percentiles,
}

/// One category and where it goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Chute {
    pub(crate) category: String,
    /// Index of its gate; none when it goes to the end of the belt.
    pub(crate) gate: Option<usize>,
    /// Items of this category.
    pub(crate) items: usize,
    /// Items in this chute.
    pub(crate) landed: usize,
    /// Share of what is in the chute that belongs there; none when it is empty.
    pub(crate) purity: Option<f64>,
    /// Share of the category's items that are in the chute; none when there were none.
    pub(crate) recall: Option<f64>,
}

/// Nearest rank, in milliseconds.
pub(crate) fn percentiles_of(mut times_us: Vec<i64>) -> Percentiles {
    times_us.sort_unstable();
    let Some(last) = times_us.len().checked_sub(1) else {
        return Percentiles::default();
    };
    let at = |share: f64| {
        let rank = (share * times_us.len() as f64).ceil() as usize;
        times_us[rank.saturating_sub(1).min(last)] as f64 / 1000.0
    };
    Percentiles {
        p50: at(0.50),
        p95: at(0.95),
        p99: at(0.99),
        max: at(1.0),
    }
}

/// On which clock a run was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClockKind {
    Virtual,
    Real,
}

/// The report as it is written to a JSON file.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    pub(crate) clock: ClockKind,
    pub(crate) seed: u64,
    #[serde(flatten)]
    pub(crate) report: &'a Report,
}

impl Report {
    /// The table.
    pub(crate) fn table(&self, clock: ClockKind) -> String {
        let mut text = String::new();
        let share = |n: usize| 100.0 * n as f64 / self.items.max(1) as f64;
        let mut row = |name: &str, n: usize, note: &str| {
            let _ = writeln!(text, "  {name:<10}{n:>7}  {:>5.1}%  {note}", share(n));
        };
        row("items", self.items, "");
        row("correct", self.correct, "in the chute of their category");
        row("wrong", self.wrong, "in another chute");
        row("rejected", self.rejected, &self.reasons());
        row("missed", self.missed, "at the end of the belt, unplanned");
        row(
            "late",
            self.late,
            "of the rejected: decided too late for the gate",
        );
        let _ = writeln!(text, "\n  chute           items  landed  purity  recall");
        for chute in &self.chutes {
            let way = chute
                .gate
                .map_or("end".to_owned(), |g| format!("gate {}", g + 1));
            let percent =
                |v: Option<f64>| v.map_or("     -".to_owned(), |v| format!("{:>5.1}%", 100.0 * v));
            let _ = writeln!(
                text,
                "  {way:<14}{:>7}{:>8}  {}  {}  {}",
                chute.items,
                chute.landed,
                percent(chute.purity),
                percent(chute.recall),
                chute.category,
            );
        }
        let _ = writeln!(
            text,
            "\n  milliseconds                  p50     p95     p99     max"
        );
        let mut times = |name: &str, p: &Percentiles, note: &str| {
            let _ = writeln!(
                text,
                "  {name:<24}{:>8.1}{:>8.1}{:>8.1}{:>8.1}  {note}",
                p.p50, p.p95, p.p99, p.max
            );
        };
        let (model, exact) = match clock {
            ClockKind::Virtual => ("modelled", "0 by construction"),
            ClockKind::Real => ("measured", "measured"),
        };
        times("capture to decision", &self.latency_ms, model);
        times("gate timing error", &self.timing_error_ms, exact);
        times("classifying a view", &self.compute_ms, "measured");
        let _ = writeln!(
            text,
            "\n  {:.1} items/min, {} frames, {} of them dropped, {} strays\n  \
             {} misjudged; in a wrong chute although recognised: {}",
            self.throughput_per_min,
            self.frames + self.frames_dropped,
            self.frames_dropped,
            self.strays,
            self.misjudged,
            self.misrouted_although_recognised,
        );
        if clock == ClockKind::Real {
            let _ = write!(text, "\n{}", self.gate_timing);
        }
        if let Some(Memory { start, end, peak }) = self.memory_mb {
            let _ = writeln!(
                text,
                "memory: {start:.1} MB after {WARM_FRAMES} frames, {end:.1} at the end, {peak:.1} at the most"
            );
        }
        text
    }

    fn reasons(&self) -> String {
        if self.rejected_because.is_empty() {
            return "on purpose".to_owned();
        }
        let list = self.rejected_because.iter();
        let list: Vec<String> = list.map(|(reason, n)| format!("{n} {reason}")).collect();
        format!("on purpose: {}", list.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let p = percentiles_of((1..=100).rev().map(|n| n * 1000).collect());
        assert_eq!([p.p50, p.p95, p.p99, p.max], [50.0, 95.0, 99.0, 100.0]);
        let one = percentiles_of(vec![7000]);
        assert_eq!([one.p50, one.p95, one.p99, one.max], [7.0; 4]);
        assert_eq!(percentiles_of(Vec::new()), Percentiles::default());
    }
}
