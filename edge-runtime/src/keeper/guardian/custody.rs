//! What the guardian makes of what it hears and sees: no clock, no devices.

use super::{Guarded, Safe};
use std::fs::File;

/// After this long without a word the program is taken to hang.
pub(super) const SILENT_US: i64 = 2_000_000;
/// So much longer than allowed an output may be on: the program is to switch it off itself.
const GRACE_US: i64 = 30_000;

/// What the pipe says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    Well,
    Ending,
    Closed,
}

/// Why the outputs are made safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    #[error("the program has ended")]
    Ended,
    #[error("the program has died")]
    Died,
    #[error("the program has hung for {ms} ms and was killed")]
    Hangs { ms: i64 },
    #[error("{name} was on for {ms} ms, longer than it may be, and the program was killed")]
    TooLong { name: String, ms: i64 },
}

/// What the guardian knows of the program.
pub(super) struct Custody {
    pub(super) outputs: Vec<(String, Option<i64>)>,
    pub(super) on_since_us: Vec<Option<i64>>,
    /// Nothing is expected before the first word.
    pub(super) heard_us: Option<i64>,
    pub(super) looked_us: i64,
}

impl Custody {
    pub(super) fn new(outputs: &[(Guarded, File)], now_us: i64) -> Self {
        let limit = |output: &Guarded| match output.safe {
            Safe::Off(limit_us) => limit_us,
            Safe::OnFor(_) | Safe::PulseNs(_) => None,
        };
        let outputs = outputs.iter().map(|(o, _)| (o.name.clone(), limit(o)));
        Self {
            on_since_us: vec![None; outputs.len()],
            outputs: outputs.collect(),
            heard_us: None,
            looked_us: now_us,
        }
    }

    pub(super) fn judge(&mut self, now_us: i64, heard: Heard, on: &[bool]) -> Option<Breach> {
        match heard {
            Heard::Closed => return Some(Breach::Died),
            Heard::Ending => return Some(Breach::Ended),
            Heard::Well => self.heard_us = Some(now_us),
            Heard::Nothing => {}
        }
        // While it did not run itself, it does not know what the program did. That time does not count; the time
        // before does, or a guardian that is held up again and again would never act.
        let paused_us = now_us - self.looked_us - GRACE_US;
        self.looked_us = now_us;
        if paused_us > 0 {
            let instants = self.on_since_us.iter_mut().chain([&mut self.heard_us]);
            instants.flatten().for_each(|us| *us += paused_us);
        }
        let silent_us = now_us - self.heard_us.unwrap_or(now_us);
        if silent_us > SILENT_US {
            let ms = silent_us / 1000;
            return Some(Breach::Hangs { ms });
        }
        let states = self.outputs.iter().zip(&mut self.on_since_us).zip(on);
        for (((name, limit_us), since_us), on) in states {
            let since_us = match on {
                true => *since_us.get_or_insert(now_us),
                false => {
                    *since_us = None;
                    continue;
                }
            };
            let on_us = now_us - since_us;
            if limit_us.is_some_and(|limit_us| on_us > limit_us + GRACE_US) {
                let (name, ms) = (name.clone(), on_us / 1000);
                return Some(Breach::TooLong { name, ms });
            }
        }
        None
    }
}
