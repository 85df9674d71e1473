//! `edge-runtime replay`: what would the line do today with what it was told then?

use crate::journal::{Ending, Reader, Record};
use crate::line::{Command, End, Event, Line, Reason};
use crate::run::say;
use crate::timing::Timing;
use anyhow::{Context, bail};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Repeat a journal, and say whether the line still gives the same commands.
///
/// `run --journal` and `simulate --journal` write journals. The commands are compared byte for byte;
/// the exit status is 0 when all are the same. A journal that was cut off, as by a power cut, is
/// repeated up to there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edge-runtime replay journal/
  edge-runtime replay journal/journal-000002.sjl --print | less
  edge-runtime replay journal/ --json summary.json")]
pub(crate) struct Args {
    /// A journal's folder, or one of its files
    #[arg(value_name = "JOURNAL")]
    journal: PathBuf,
    /// Print every event and command as a line of JSON
    #[arg(long)]
    print: bool,
    /// Write the summary as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What a journal holds.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
struct Summary {
    files: usize,
    events: u64,
    commands: u64,
    /// Events that were dropped when the journal was written.
    lost_events: u64,
    seconds: f64,
    firings: u64,
    /// Items that were sorted or passed through on purpose.
    sorted: u64,
    rejected: BTreeMap<Reason, u64>,
    /// Why everything was switched off, and how often.
    all_off: BTreeMap<Reason, u64>,
    /// Where it ends before its time, or is damaged.
    endings: Vec<String>,
    differences: u64,
    first_difference: Option<String>,
    /// How exactly the gates were moved, where that was written down.
    #[serde(skip)]
    timing: Timing,
    #[serde(skip)]
    span_us: Option<(i64, i64)>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut summary = Summary::default();
    let mut result = Ok(());
    for file in Reader::files(&args.journal)? {
        result = result.and_then(|()| replay(&file, args.print, &mut summary));
    }
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&summary)?;
        std::fs::write(file, text + "\n")
            .with_context(|| format!("{}: cannot write the summary", file.display()))?;
    }
    let text = summary.text();
    if args.print {
        eprint!("{text}");
    } else {
        say(text.trim_end());
    }
    match &summary.first_difference {
        None => result,
        Some(first) => bail!(
            "the line does not do the same today, {} times. {first}",
            summary.differences
        ),
    }
}

fn replay(file: &Path, print: bool, summary: &mut Summary) -> anyhow::Result<()> {
    let mut reader = Reader::open(file)?;
    let mut line: Option<Box<Line>> = None;
    let mut expected: Option<(usize, Event, Vec<Command>)> = None;
    summary.files += 1;
    loop {
        let next = reader.next_record();
        let (at, record) = match next {
            Some((at, Record::Commands(commands))) => {
                if print {
                    print_line("commands", at, &commands);
                }
                let Some((from, event, today)) = expected.take() else {
                    bail!(
                        "{}: damaged at byte {at}: commands without an event",
                        file.display()
                    );
                };
                summary.compare(file, (from, &event), &commands, &today)?;
                continue;
            }
            Some((at, record)) => (at, Some(record)),
            None => (0, None),
        };
        // An event without recorded commands had none, unless the journal ends or has a gap there.
        if let Some((from, event, today)) = expected.take()
            && !matches!(record, None | Some(Record::Gap(_)))
        {
            summary.compare(file, (from, &event), &[], &today)?;
        }
        match record {
            None => break,
            Some(Record::State(state)) => line = Some(state),
            Some(Record::Gap(lost)) => {
                summary.lost_events += lost;
                line = None;
            }
            Some(Record::Event(event)) => {
                if print {
                    print_line("event", at, &event);
                }
                summary.event(&event);
                let Some(line) = &mut line else {
                    bail!(
                        "{}: damaged at byte {at}: an event before the line's state",
                        file.display()
                    );
                };
                let mut today = Vec::new();
                let sound = catch_unwind(AssertUnwindSafe(|| line.handle(&event, &mut today)));
                if sound.is_err() {
                    bail!(
                        "{}: damaged before byte {at}: the line's state contradicts itself",
                        file.display()
                    );
                }
                expected = Some((at, event, today));
            }
            Some(Record::Moved(movement)) => {
                if print {
                    print_line("moved", at, &movement);
                }
                summary.timing.add(&movement);
            }
            Some(Record::Commands(_)) => {}
        }
    }
    match reader.ending() {
        Ending::Complete => Ok(()),
        Ending::Cut(at) => {
            summary
                .endings
                .push(format!("{}: cut off at byte {at}", file.display()));
            Ok(())
        }
        Ending::Damaged(at) => bail!(
            "{}: damaged at byte {at}: what stands there is not what was written",
            file.display()
        ),
    }
}

fn print_line(kind: &str, at: usize, what: &impl Serialize) {
    let what = serde_json::to_string(what).unwrap_or_default();
    say(&format!("{{\"byte\":{at},\"{kind}\":{what}}}"));
}

impl Summary {
    fn event(&mut self, event: &Event) {
        self.events += 1;
        let t_us = event.t_us();
        let (from_us, to_us) = self.span_us.unwrap_or((t_us, t_us));
        self.span_us = Some((from_us.min(t_us), to_us.max(t_us)));
        self.seconds = (to_us.max(t_us).saturating_sub(from_us.min(t_us))) as f64 / 1e6;
    }

    /// Takes in the commands that were recorded, and holds those of today against them.
    fn compare(
        &mut self,
        file: &Path,
        (at, event): (usize, &Event),
        recorded: &[Command],
        today: &[Command],
    ) -> anyhow::Result<()> {
        self.commands += recorded.len() as u64;
        for command in recorded {
            match command {
                Command::Fire { .. } => self.firings += 1,
                Command::Ended {
                    end: End::Rejected(reason),
                    ..
                } => {
                    *self.rejected.entry(*reason).or_default() += 1;
                }
                Command::Ended { .. } => self.sorted += 1,
                Command::AllOff { reason, .. } => *self.all_off.entry(*reason).or_default() += 1,
                Command::Classify { .. } | Command::Decided { .. } => {}
            }
        }
        if postcard::to_allocvec(recorded)? != postcard::to_allocvec(today)? {
            self.differences += 1;
            if self.first_difference.is_none() {
                let pairs = recorded.iter().zip(today);
                let same = pairs.take_while(|(a, b)| a == b).count();
                self.first_difference = Some(format!(
                    "The first is in {} at byte {at}, {:.6} s into the run, after {event:?}: \
                     then {:?}, today {:?}",
                    file.display(),
                    self.seconds,
                    recorded.get(same),
                    today.get(same),
                ));
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} events and {} commands over {:.1} s, in {} file{}",
            self.events,
            self.commands,
            self.seconds,
            self.files,
            if self.files == 1 { "" } else { "s" },
        );
        let _ = writeln!(
            text,
            "{:>7}  sorted, with {} firings",
            self.sorted, self.firings
        );
        for (reason, n) in &self.rejected {
            let _ = writeln!(text, "{n:>7}  rejected: {reason}");
        }
        for (reason, n) in &self.all_off {
            let _ = writeln!(text, "{n:>7}  times everything off: {reason}");
        }
        if self.lost_events > 0 {
            let _ = writeln!(
                text,
                "{:>7}  events lack: the disk was too slow",
                self.lost_events
            );
        }
        text += &self.timing.text();
        for ending in &self.endings {
            let _ = writeln!(text, "{ending}");
        }
        if self.differences == 0 && self.events > 0 {
            let _ = writeln!(text, "the same commands today, byte for byte");
        }
        text
    }
}

#[cfg(test)]
mod tests;
