//! The folder of a training run.
//!
//! | file | what |
//! |---|---|
//! | `config.toml` | the settings; its presence says that the run has begun |
//! | `labels.toml` | the label set, in the order of the outputs |
//! | `metrics.csv` | a row per finished epoch |
//! | `tensorboard/` | the same for TensorBoard |
//! | `checkpoints/` | the best and the latest states |
//! | `features/` | features of the frozen backbone, may be deleted |
//! | `report.html` | the page that `host-train report` writes |
//! | `lock` | held by the process that trains |

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail, ensure};
use models::LabelSet;

use crate::checkpoint::{Epoch, Store, write_atomically};
use crate::config::TrainConfig;
use crate::data::{labels_toml, read_labels};
use crate::tensorboard;

/// A run that this process alone writes to.
pub(crate) struct Run {
    folder: PathBuf,
    /// Its checkpoints.
    pub(crate) store: Store,
    _lock: File,
}

/// The settings of the run in `folder`, if one has begun there.
pub(crate) fn begun(folder: &Path) -> Result<Option<TrainConfig>> {
    let path = folder.join("config.toml");
    if path.exists() {
        TrainConfig::read(&path).map(Some)
    } else {
        Ok(None)
    }
}

/// The label set of a run.
pub(crate) fn labels(folder: &Path) -> Result<LabelSet> {
    read_labels(&folder.join("labels.toml"))
}

impl Run {
    /// Takes the folder for this process. A folder that is not empty must be that of a run.
    pub(crate) fn lock(folder: &Path) -> Result<Run> {
        let shown = folder.display();
        if let Ok(mut entries) = fs::read_dir(folder) {
            let foreign = entries.any(|entry| {
                let name = entry.map(|entry| entry.file_name()).unwrap_or_default();
                ![
                    "config.toml",
                    "labels.toml",
                    "metrics.csv",
                    "tensorboard",
                    "checkpoints",
                    "features",
                    "report.html",
                    "lock",
                ]
                .iter()
                .any(|known| name == *known)
                    && !name.to_string_lossy().ends_with(".tmp")
            });
            ensure!(
                !foreign || folder.join("config.toml").exists(),
                "{shown}: the folder holds other things than a run; name a new one with --out"
            );
        }
        fs::create_dir_all(folder).with_context(|| format!("{shown}: cannot be made"))?;
        let path = folder.join("lock");
        let lock = File::create(&path)
            .with_context(|| format!("{}: cannot be written", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{shown}: another process trains this run"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{}", path.display()));
            }
        }
        let store = Store::new(folder)?;
        Ok(Run {
            folder: folder.to_owned(),
            store,
            _lock: lock,
        })
    }

    /// Writes settings and labels; from then on the run has begun.
    pub(crate) fn begin(&self, config: &TrainConfig, labels: &LabelSet) -> Result<()> {
        let labels = labels_toml(labels)?;
        write_atomically(&self.folder.join("labels.toml"), labels.as_bytes())?;
        write_atomically(
            &self.folder.join("config.toml"),
            config.to_toml()?.as_bytes(),
        )
    }

    /// Writes `metrics.csv` and TensorBoard's file anew, so that no epoch is in them twice or missing.
    pub(crate) fn write_metrics(&self, history: &[Epoch]) -> Result<()> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        for epoch in history {
            csv.serialize(epoch)?;
        }
        let bytes = csv.into_inner().context("metrics.csv cannot be encoded")?;
        write_atomically(&self.folder.join("metrics.csv"), &bytes)?;
        let folder = self.folder.join("tensorboard");
        fs::create_dir_all(&folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))?;
        let settings = fs::metadata(self.folder.join("config.toml"));
        let begun = settings.and_then(|file| file.modified()).ok();
        let begun = begun.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let begun = begun.map_or(0.0, |since| since.as_secs_f64());
        let events = tensorboard::events(begun, history);
        write_atomically(&folder.join(tensorboard::FILE), &events)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}
