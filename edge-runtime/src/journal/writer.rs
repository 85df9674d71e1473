//! Writes a journal from a thread of its own: a slow disk must not hold up the line.

use super::{MAGIC, MAX_RECORD_BYTES, QUEUE, Record};
use crate::line::{Command, Event, Line};
use crate::timing::Movement;
use anyhow::{Context, bail};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// How much room a journal may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) file_bytes: u64,
    pub(crate) all_bytes: u64,
}

impl Limits {
    /// Files of a sixteenth of the whole, but not above 16 MB.
    pub(crate) fn of_megabytes(all: u64) -> Self {
        let all_bytes = all.max(1) * 1_000_000;
        Self {
            file_bytes: (all_bytes / 16).min(16_000_000),
            all_bytes,
        }
    }
}

/// The line's end of the queue.
pub(crate) struct Journal {
    queue: SyncSender<Record>,
    thread: JoinHandle<anyhow::Result<()>>,
    /// The file is full: the next one has to begin with the line's state.
    is_full: Arc<AtomicBool>,
    /// Wait for a slow disk rather than leave a gap.
    patient: bool,
    /// Events that were not written since the last that was.
    lost: u64,
    lost_in_all: u64,
}

impl Journal {
    /// Begins a journal in a folder, which is made; what lies there already is kept within the limits.
    /// A patient one never has a gap, and holds up whoever writes to it instead.
    ///
    /// # Errors
    /// When the folder cannot be made or written to.
    pub(crate) fn create(folder: &Path, limits: Limits, patient: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot make the journal's folder", folder.display()))?;
        let is_full = Arc::new(AtomicBool::new(false));
        let mut files = Files::open(folder, limits, Arc::clone(&is_full))?;
        files.next()?;
        let (queue, records) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || files.write_all(&records))?;
        Ok(Self {
            queue,
            thread,
            is_full,
            patient,
            lost: 0,
            lost_in_all: 0,
        })
    }

    pub(super) fn begin(&mut self, line: &Line) {
        self.send(Record::State(Box::new(line.clone())));
    }

    /// Writes an event and what came of it; `line` is the state after it.
    pub(super) fn record(&mut self, line: &Line, event: &Event, commands: &[Command]) {
        let complete = self.lost == 0
            && self.send(Record::Event(event.clone()))
            && (commands.is_empty() || self.send(Record::Commands(commands.to_vec())));
        if !complete {
            self.lost += 1;
            let gap = Record::Gap(self.lost);
            if self.send(gap) && self.send(Record::State(Box::new(line.clone()))) {
                self.lost_in_all += std::mem::take(&mut self.lost);
            }
        } else if self.is_full.swap(false, Ordering::AcqRel) {
            self.begin(line);
        }
    }

    /// Writes a movement, if there is room: it is not needed for repeating the run.
    pub(super) fn moved(&mut self, movement: &Movement) {
        if self.lost == 0 {
            self.send(Record::Moved(*movement));
        }
    }

    fn send(&mut self, record: Record) -> bool {
        if self.patient {
            return self.queue.send(record).is_ok();
        }
        match self.queue.try_send(record) {
            Ok(()) => true,
            // The writer has ended with an error, which `finish` will tell.
            Err(TrySendError::Disconnected(_) | TrySendError::Full(_)) => false,
        }
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        drop(self.queue);
        let Ok(result) = self.thread.join() else {
            bail!("the journal's thread broke down");
        };
        result?;
        let lost = self.lost + self.lost_in_all;
        if lost > 0 {
            bail!("the journal lacks {lost} events: the disk was too slow");
        }
        Ok(())
    }
}

/// The files of one folder.
struct Files {
    folder: PathBuf,
    limits: Limits,
    is_full: Arc<AtomicBool>,
    /// Number and size of those that are complete, oldest first.
    complete: Vec<(u32, u64)>,
    current: Option<(u32, BufWriter<File>)>,
    bytes: u64,
    buffer: Vec<u8>,
}

impl Files {
    fn open(folder: &Path, limits: Limits, is_full: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let mut complete = Vec::new();
        let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let entry = entry.with_context(|| folder.display().to_string())?;
            if let Some(number) = number_of(&entry.path()) {
                complete.push((number, entry.metadata().map_or(0, |m| m.len())));
            }
        }
        complete.sort_unstable();
        Ok(Self {
            folder: folder.to_owned(),
            limits,
            is_full,
            complete,
            current: None,
            bytes: 0,
            buffer: Vec::new(),
        })
    }

    fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("journal-{number:06}.sjl"))
    }

    /// Closes the file and opens the next one, deleting what has become too much.
    fn next(&mut self) -> anyhow::Result<()> {
        let mut number = self.complete.last().map_or(1, |(n, _)| n + 1);
        if let Some((current, mut file)) = self.current.take() {
            file.flush()
                .with_context(|| self.path(current).display().to_string())?;
            self.complete.push((current, self.bytes));
            number = current + 1;
        }
        let room = self.limits.all_bytes.saturating_sub(self.limits.file_bytes);
        while self.complete.iter().map(|(_, bytes)| bytes).sum::<u64>() > room {
            let (oldest, _) = self.complete.remove(0);
            let path = self.path(oldest);
            fs::remove_file(&path)
                .with_context(|| format!("{}: cannot delete this old journal", path.display()))?;
        }
        let path = self.path(number);
        let file = File::create_new(&path)
            .with_context(|| format!("{}: cannot make this journal", path.display()))?;
        self.current = Some((number, BufWriter::new(file)));
        self.bytes = 0;
        self.put(MAGIC)
    }

    fn put(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let Some((number, file)) = &mut self.current else {
            bail!("there is no journal to write to");
        };
        let number = *number;
        file.write_all(bytes)
            .with_context(|| format!("{}: cannot write", self.path(number).display()))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn write_all(mut self, records: &Receiver<Record>) -> anyhow::Result<()> {
        loop {
            // Whatever comes at once is written at once; before waiting, it goes to the disk.
            let record = match records.try_recv() {
                Ok(record) => record,
                Err(_) => {
                    if let Some((_, file)) = &mut self.current {
                        file.flush().context("the journal cannot be written")?;
                    }
                    match records.recv() {
                        Ok(record) => record,
                        Err(_) => return Ok(()),
                    }
                }
            };
            let is_state = matches!(record, Record::State(_));
            if is_state && self.bytes >= self.limits.file_bytes {
                self.next()?;
            }
            self.write(&record)?;
            if self.bytes >= self.limits.file_bytes {
                self.is_full.store(true, Ordering::Release);
            }
        }
    }

    fn write(&mut self, record: &Record) -> anyhow::Result<()> {
        let buffer = framed(record, std::mem::take(&mut self.buffer))?;
        let result = self.put(&buffer);
        self.buffer = buffer;
        result
    }
}

/// A record with its length and checksum, in a buffer that may have been used before.
pub(super) fn framed(record: &Record, mut buffer: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    buffer.clear();
    buffer.extend_from_slice(&[0; 8]);
    let mut buffer = postcard::to_extend(record, buffer)?;
    let length = buffer.len() - 8;
    if length > MAX_RECORD_BYTES {
        bail!("a record of {length} bytes is too long for the journal");
    }
    let checksum = crc32fast::hash(&buffer[8..]);
    buffer[..4].copy_from_slice(&(length as u32).to_le_bytes());
    buffer[4..8].copy_from_slice(&checksum.to_le_bytes());
    Ok(buffer)
}

/// The number in the name of a journal's file.
pub(super) fn number_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("journal-")?
        .strip_suffix(".sjl")?
        .parse()
        .ok()
}
