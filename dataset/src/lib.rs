//! Labelled photos on disk, read into one form whatever form they come in.
//!
//! [`read`] recognises three forms by itself:
//!
//! | form | how it is recognised | labels come from |
//! |---|---|---|
//! | manifest | `manifest.csv` in the folder | its columns `item` and `category` |
//! | contest | `img_N.txt` beside `img_N.jpg` | the text `img_N.jpg, ID`; ids need a label set |
//! | folders | otherwise | folder names: `category/item/`, or one level `item/` |
//!
//! Everything that is wrong is reported at once, each fault with its path, so that a folder of photos
//! is repaired in one go and nothing is found out in the middle of a training run.
//! Reading looks at names and label files only; [`Dataset::check_images`] decodes every photo.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod assign;
mod contest;
mod error;
mod folders;
mod images;
mod manifest;
mod split;
mod tree;

use std::path::{Path, PathBuf};

use models::LabelSet;

pub use error::{DatasetError, Fault, FaultKind};
pub use images::{ImageError, MAX_FILE_BYTES, MAX_SIDE_PX, decode, decode_bytes, is_cut_off};

/// Photos with their labels.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The folder that was read; sample paths are relative to it.
    pub root: PathBuf,
    /// The label set that `Sample::item` indexes: the given one, or the one found in the data.
    pub labels: LabelSet,
    /// The photos, sorted by path.
    pub samples: Vec<Sample>,
    /// What looked odd but does not stop anything: files left out, items without photos.
    pub warnings: Vec<String>,
}

/// One photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Path relative to [`Dataset::root`].
    pub path: PathBuf,
    /// Index into the label set's items.
    pub item: usize,
    /// Photos of one group are near copies of each other and must stay on one side of a split.
    pub group: Option<String>,
    /// The split that the data itself assigns, for example `train`.
    pub split: Option<String>,
}

/// Reads the dataset in `dir`, whichever of the three forms it has.
///
/// With `labels`, every photo must belong to one of its items, and items without photos are named
/// in the warnings. Without, the label set is what the data holds: by `class_id` where a manifest has
/// that column, else sorted by category, then item.
///
/// # Errors
/// [`DatasetError::Faults`] lists everything that is wrong, sorted by path.
pub fn read(dir: &Path, labels: Option<&LabelSet>) -> Result<Dataset, DatasetError> {
    let mut log = error::Log::new(dir);
    let found = match tree::Listing::of(dir) {
        Err(kind) => {
            log.fault(Path::new(""), None, kind);
            Vec::new()
        }
        Ok(top) if top.file("manifest.csv").is_some() => manifest::read(&mut log),
        Ok(top) if contest::recognise(&top) => contest::read(&top, labels, &mut log),
        Ok(top) => folders::read(&top, labels, &mut log),
    };
    if found.is_empty() && log.is_clean() {
        log.fault(Path::new(""), None, FaultKind::NoPhotos);
    }
    let (labels, samples) = assign::assign(found, labels, &mut log);
    log.finish(labels, samples)
}

impl Dataset {
    /// The full path of a sample.
    pub fn path(&self, sample: &Sample) -> PathBuf {
        self.root.join(&sample.path)
    }

    /// The splits that the data itself names, with their numbers of photos, sorted by name.
    pub fn splits(&self) -> Vec<(String, usize)> {
        let mut count = std::collections::BTreeMap::<&str, usize>::new();
        for split in self.samples.iter().filter_map(|s| s.split.as_deref()) {
            *count.entry(split).or_default() += 1;
        }
        count.into_iter().map(|(k, n)| (k.to_owned(), n)).collect()
    }

    /// The photos of one named split.
    ///
    /// # Errors
    /// [`DatasetError::NoSuchSplit`] names the splits that there are.
    pub fn subset(&self, split: &str) -> Result<Dataset, DatasetError> {
        let samples: Vec<Sample> = self
            .samples
            .iter()
            .filter(|s| s.split.as_deref() == Some(split))
            .cloned()
            .collect();
        if samples.is_empty() {
            return Err(DatasetError::NoSuchSplit {
                root: self.root.clone(),
                split: split.to_owned(),
                known: self.splits().into_iter().map(|(name, _)| name).collect(),
            });
        }
        Ok(self.with(samples))
    }

    /// The number of photos of each item, by item index.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.labels.len()];
        for sample in &self.samples {
            counts[sample.item] += 1;
        }
        counts
    }

    fn with(&self, samples: Vec<Sample>) -> Dataset {
        Dataset {
            root: self.root.clone(),
            labels: self.labels.clone(),
            samples,
            warnings: Vec::new(),
        }
    }
}
