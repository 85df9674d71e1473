//! What the line was told and what it said, on disk, so that a run can be repeated.
//!
//! # Format
//! A journal is a folder of files `journal-NNNNNN.sjl`, the newest with the highest number. Each can be
//! read by itself:
//!
//! ```text
//! file    "SORTJRN" 0x04, then records
//! record  length u32 | CRC-32 of the payload u32 | payload     (little endian)
//! payload a Record, by postcard
//! ```
//!
//! The first record of a file is the state of the line; every event is followed by the commands that
//! came of it, if any. Movements of gates, planned and measured, stand where the line learned of them.
//! Where records had to be dropped because the disk was too slow, a gap says so and
//! is followed by the state again. A file that ends within a record, as after a power cut, is good up
//! to there.
//!
//! # Bounds
//! A file is closed at about [`Limits::file_bytes`]; the oldest files are deleted so that all of them
//! stay below [`Limits::all_bytes`]. Records wait in a queue of [`QUEUE`].

mod reader;
mod writer;

use crate::line::{Command, Event, Line};
use crate::timing::Movement;
pub(crate) use reader::{Ending, Reader};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use writer::{Journal, Limits};

/// The first bytes of every file: a name and the version of the format.
const MAGIC: &[u8; 8] = b"SORTJRN\x04";
/// Records waiting for the disk.
const QUEUE: usize = 4096;
/// No record is longer.
const MAX_RECORD_BYTES: usize = 16 << 20;

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// The state that the following events are handled in.
    State(Box<Line>),
    /// What happened.
    Event(Event),
    /// What followed from the event before.
    Commands(Vec<Command>),
    /// So many events were not written.
    Gap(u64),
    /// A gate was moved.
    Moved(Movement),
}

/// Where a journal is to be written, if at all.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JournalArgs {
    /// Write every event and command to files in DIR, for `edge-runtime replay`
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Room for the journal; the oldest files are deleted
    #[arg(long, default_value_t = 256, value_name = "MB", requires = "journal")]
    journal_mb: u64,
}

impl JournalArgs {
    /// See [`Journal::create`].
    pub(crate) fn open(&self, patient: bool) -> anyhow::Result<Option<Journal>> {
        let limits = Limits::of_megabytes(self.journal_mb);
        let folder = self.journal.as_deref();
        folder
            .map(|f| Journal::create(f, limits, patient))
            .transpose()
    }
}

/// A line that writes down what happens to it.
pub(crate) struct JournaledLine {
    line: Line,
    journal: Option<Journal>,
}

impl JournaledLine {
    pub(crate) fn new(line: Line, mut journal: Option<Journal>) -> Self {
        if let Some(journal) = &mut journal {
            journal.begin(&line);
        }
        Self { line, journal }
    }

    /// See [`Line::handle`]; `out` is to be empty.
    pub(crate) fn handle(&mut self, event: &Event, out: &mut Vec<Command>) {
        self.line.handle(event, out);
        if let Some(journal) = &mut self.journal {
            journal.record(&self.line, event, out);
        }
    }

    /// Writes down how a gate was moved.
    pub(crate) fn moved(&mut self, movement: &Movement) {
        if let Some(journal) = &mut self.journal {
            journal.moved(movement);
        }
    }

    /// Writes what still waits.
    ///
    /// # Errors
    /// When the journal could not be written, or not all of it.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        self.journal.map_or(Ok(()), Journal::finish)
    }
}

/// A file with one record of this payload, as the fuzz targets and tests need it.
pub(crate) fn file_of_payload(payload: &[u8]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend((payload.len() as u32).to_le_bytes());
    file.extend(crc32fast::hash(payload).to_le_bytes());
    file.extend(payload);
    file
}

/// For tests elsewhere.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use std::path::Path;

    /// A patient journal within these bounds.
    pub(crate) fn create(folder: &Path, file_bytes: u64, all_bytes: u64) -> Journal {
        let limits = Limits {
            file_bytes,
            all_bytes,
        };
        Journal::create(folder, limits, true).unwrap()
    }

    /// A file of these records.
    pub(crate) fn bytes(records: &[Record]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for record in records {
            bytes.extend(writer::framed(record, Vec::new()).unwrap());
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
