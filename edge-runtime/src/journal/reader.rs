//! Reads journals, whatever is left of them.

use super::writer::number_of;
use super::{MAGIC, MAX_RECORD_BYTES, Record};
use std::path::{Path, PathBuf};

/// Why a journal cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("{0}: cannot be read: {1}")]
    Unreadable(String, String),
    #[error(
        "{0}: there is no journal in this folder (files journal-NNNNNN.sjl, which run --journal writes)"
    )]
    Empty(String),
    #[error("{0}: is not a journal of this version of the program")]
    Foreign(String),
}

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With its last record.
    Complete,
    /// Within a record that begins at this byte.
    Cut(usize),
    /// At a record that begins at this byte and is not what was written.
    Damaged(usize),
}

/// Walks through the records of one file.
pub(crate) struct Reader {
    bytes: Vec<u8>,
    at: usize,
    ending: Ending,
}

impl Reader {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or does not begin as a journal does.
    pub(crate) fn open(file: &Path) -> Result<Self, JournalError> {
        let name = file.display().to_string();
        match std::fs::read(file) {
            Ok(bytes) => Self::new(bytes).ok_or(JournalError::Foreign(name)),
            Err(error) => Err(JournalError::Unreadable(name, error.to_string())),
        }
    }

    /// `None` if these are not the bytes of a journal.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        let head = bytes.len().min(MAGIC.len());
        if bytes[..head] != MAGIC[..head] {
            return None;
        }
        let cut = bytes.len() < MAGIC.len();
        Some(Self {
            at: head,
            ending: if cut {
                Ending::Cut(0)
            } else {
                Ending::Complete
            },
            bytes,
        })
    }

    /// The files of a journal, oldest first: those in a folder, or the one file that is named.
    ///
    /// # Errors
    /// When the folder cannot be read or holds no journal.
    pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, JournalError> {
        if !path.is_dir() {
            return Ok(vec![path.to_owned()]);
        }
        let name = path.display().to_string();
        let unreadable =
            |error: std::io::Error| JournalError::Unreadable(name.clone(), error.to_string());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            files.extend(number_of(&file).map(|number| (number, file)));
        }
        files.sort_unstable();
        if files.is_empty() {
            return Err(JournalError::Empty(name));
        }
        Ok(files.into_iter().map(|(_, file)| file).collect())
    }

    /// The next record, and the byte at which it begins.
    pub(crate) fn next_record(&mut self) -> Option<(usize, Record)> {
        if self.ending != Ending::Complete {
            return None;
        }
        let begin = self.at;
        let rest = &self.bytes[begin..];
        if rest.is_empty() {
            return None;
        }
        let number = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
        let (Some(length), Some(checksum)) = (number(0), number(4)) else {
            self.ending = Ending::Cut(begin);
            return None;
        };
        let length = length as usize;
        if length > MAX_RECORD_BYTES {
            self.ending = Ending::Damaged(begin);
            return None;
        }
        let Some(payload) = rest.get(8..8 + length) else {
            self.ending = Ending::Cut(begin);
            return None;
        };
        let record = (crc32fast::hash(payload) == checksum)
            .then(|| postcard::take_from_bytes(payload).ok())
            .flatten()
            .filter(|(_, rest)| rest.is_empty());
        let Some((record, _)) = record else {
            self.ending = Ending::Damaged(begin);
            return None;
        };
        self.at = begin + 8 + length;
        Some((begin, record))
    }

    /// How it ended, once [`Reader::next_record`] has given `None`.
    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }
}
