//! The folder of a run's checkpoints.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Checkpoint;

/// What the name of the best one begins with.
const BEST: &str = "best-";
const EXTENSION: &str = "ckpt";
/// Where a run keeps its checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(super) folder: PathBuf,
}

impl Store {
    /// The store of a run; makes its folder and removes what a kill left half-written.
    pub(crate) fn new(run: &Path) -> Result<Store> {
        let folder = run.join("checkpoints");
        fs::create_dir_all(&folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))?;
        remove_leftovers(run)?;
        remove_leftovers(&folder)?;
        Ok(Store { folder })
    }

    /// Saves the state after an epoch and removes all but the latest `keep`.
    pub(crate) fn save(&self, checkpoint: &Checkpoint, keep: usize) -> Result<()> {
        self.save_as("", checkpoint, keep)
    }

    /// Saves the best state and removes the one that was the best before.
    pub(crate) fn save_best(&self, checkpoint: &Checkpoint) -> Result<()> {
        self.save_as(BEST, checkpoint, 1)
    }

    fn save_as(&self, prefix: &str, checkpoint: &Checkpoint, keep: usize) -> Result<()> {
        let name = format!("{prefix}{}.{EXTENSION}", checkpoint.name());
        checkpoint.save(&self.folder.join(name))?;
        for (_, path) in self.files(prefix)?.iter().rev().skip(keep) {
            fs::remove_file(path)
                .with_context(|| format!("{}: cannot be removed", path.display()))?;
        }
        Ok(())
    }

    /// The latest one, if there is any.
    pub(crate) fn latest(&self) -> Result<Option<Checkpoint>> {
        self.open_last("")
    }

    /// The best one, if there is any.
    pub(crate) fn best(&self) -> Result<Option<Checkpoint>> {
        self.open_last(BEST)
    }

    fn open_last(&self, prefix: &str) -> Result<Option<Checkpoint>> {
        let last = self.files(prefix)?.pop();
        last.map(|(_, path)| Checkpoint::open(&path)).transpose()
    }

    /// The checkpoints with this prefix before `epoch-`, and their epochs, rising. Of several best ones,
    /// which a kill can leave, the latest is the best: it replaced the other.
    fn files(&self, prefix: &str) -> Result<Vec<(u32, PathBuf)>> {
        let mut files = Vec::new();
        let entries = fs::read_dir(&self.folder)
            .with_context(|| format!("{}: cannot be read", self.folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let epoch: Option<u32> = name.to_str().and_then(|name| {
                let name = name.strip_prefix(prefix)?.strip_prefix("epoch-")?;
                let name = name.strip_suffix(&format!(".{EXTENSION}"))?;
                name.split('-').next()?.parse().ok()
            });
            files.extend(epoch.map(|epoch| (epoch, entry.path())));
        }
        files.sort_unstable();
        Ok(files)
    }
}

/// Says what would keep a file from being written, before hours go into what is to be in it.
pub(crate) fn ensure_writable(path: &Path) -> Result<()> {
    let shown = path.display();
    ensure!(
        !path.is_dir(),
        "{shown}: cannot be written: a folder has this name"
    );
    let beside = beside(path);
    let tried = File::create(&beside).and_then(|_| fs::remove_file(&beside));
    tried.with_context(|| format!("{shown}: cannot be written"))
}

/// Where a file is written before it gets its name.
fn beside(path: &Path) -> PathBuf {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("file");
    path.with_file_name(format!(".{name}.tmp"))
}

/// Writes a file so that its name never stands for half of it.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = beside(path);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(|error| {
        // The old file, if any, is untouched; what could not be finished only takes up room.
        let _ = fs::remove_file(&beside);
        let shown = path.display();
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                anyhow::anyhow!(
                    "{shown}: there is no room for it on the disk ({error}); what was saved before is \
                     whole: make room, then go on"
                )
            }
            _ => anyhow::anyhow!("{shown}: cannot be written: {error}"),
        }
    })
}

/// Removes what [`write_atomically`] left behind when it was killed.
pub(crate) fn remove_leftovers(folder: &Path) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{}: cannot be read", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with('.') && name.ends_with(".tmp"))
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
