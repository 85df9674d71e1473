//! What can be wrong with a dataset, and the log that collects it.

use std::fmt;
use std::path::{Path, PathBuf};

use models::LabelSet;
use thiserror::Error;

use crate::images::ImageError;
use crate::{Dataset, Sample};

/// How many faults the message of [`DatasetError::Faults`] lists; the value itself holds all.
const LISTED: usize = 20;

/// Why a folder of photos cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DatasetError {
    /// Everything that is wrong with the data, sorted by path and line; never empty.
    #[error("{}", list(root, faults))]
    Faults {
        /// The dataset's folder.
        root: PathBuf,
        /// All faults.
        faults: Vec<Fault>,
    },
    /// A split was asked for that no photo has.
    #[error("{}: no photo has the split {split:?}; {}", root.display(), known_splits(known))]
    NoSuchSplit {
        /// The dataset's folder.
        root: PathBuf,
        /// What was asked for.
        split: String,
        /// The splits that there are.
        known: Vec<String>,
    },
    /// The fraction of photos to validate on is not between 0 and 1.
    #[error("the validation fraction must be at least 0 and below 1, not {0}")]
    BadFraction(String),
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{}: {kind}", path.display(), line.map(|n| format!(":{n}")).unwrap_or_default())]
pub struct Fault {
    /// The file or folder, as reached from the current directory.
    pub path: PathBuf,
    /// The line in it, from 1, where the fault is in a text file.
    pub line: Option<u64>,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What is wrong with a file or folder of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// The folder, or a file named in it, is not there.
    #[error("does not exist")]
    Missing,
    /// A file was given where a folder is needed.
    #[error("is not a folder; pass the folder that holds the photos")]
    NotAFolder,
    /// The system refused to read it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// No photo in any of the three forms.
    #[error(
        "holds no photos; expected a folder per class, or img_N.jpg with img_N.txt, or manifest.csv"
    )]
    NoPhotos,
    /// Photos that nothing says the class of.
    #[error(
        "holds photos but no labels; put them in a folder per class, or add img_N.txt files or manifest.csv"
    )]
    NoLabels,
    /// A class folder without photos.
    #[error("is a class folder without photos; add photos or remove the folder")]
    EmptyClass,
    /// A folder below the level of items.
    #[error("is nested too deep; class folders are `category/item` or `item`")]
    TooDeep,
    /// A link that leads back into the dataset.
    #[error("is a link to a folder that is already part of the dataset")]
    LinkLoop,
    /// Photos in the contest's form inside a folder that was taken for a class.
    #[error("is in the contest's form (img_N.jpg with img_N.txt); pass this folder itself")]
    ContestFolder,
    /// A photo outside any class folder, or without its label file.
    #[error("has no label: {0}")]
    Unlabelled(&'static str),
    /// Not a regular file (a pipe, a device, a folder named like a photo).
    #[error("is not a regular file")]
    NotAFile,
    /// A file of no bytes.
    #[error("is empty")]
    EmptyFile,
    /// A name that is not UTF-8, where the name is a label.
    #[error("has a name that is not UTF-8")]
    NotUtf8,
    /// A label file that does not say what it should.
    #[error("is not of the form `img_N.jpg, ID`: {0}")]
    BadLabelFile(String),
    /// Contest ids without a label set to look them up in.
    #[error("holds class ids, which need a label set; pass --labels huawei-40 or a label file")]
    IdsNeedLabels,
    /// A class id outside the label set.
    #[error("class id {id} is not in {labels}, whose ids are 0 to {last}")]
    UnknownId {
        /// The id as written.
        id: String,
        /// The label set's name.
        labels: String,
        /// Its last id.
        last: usize,
    },
    /// An item that the label set does not have.
    #[error("class {label:?} is not in the label set {labels}")]
    UnknownLabel {
        /// The label as written.
        label: String,
        /// The label set's name.
        labels: String,
    },
    /// A folder name that several items of the label set answer to.
    #[error("class {label:?} may be any of {}; name the folder category/item", candidates.join(", "))]
    AmbiguousLabel {
        /// The label as written.
        label: String,
        /// The items it fits.
        candidates: Vec<String>,
    },
    /// A label set cannot be made from these names.
    #[error("the classes found do not make a label set: {0}")]
    BadLabels(String),
    /// A column that a manifest must have.
    #[error("has no column {0:?}; needed are path, item and category")]
    MissingColumn(&'static str),
    /// A column that a manifest has twice.
    #[error("has the column {0:?} twice")]
    RepeatedColumn(&'static str),
    /// A row that is not CSV of the header's form.
    #[error("is not a row like the header: {0}")]
    BadRow(String),
    /// An empty field that must not be empty.
    #[error("the field {0:?} is empty")]
    EmptyField(&'static str),
    /// A path that leads out of the dataset.
    #[error("the path {0:?} leads out of the dataset's folder")]
    EscapingPath(String),
    /// A photo that does not exist.
    #[error("the photo {0:?} does not exist")]
    MissingPhoto(String),
    /// A file that is named as a photo but cannot be one.
    #[error("{0:?} is no photo; JPEG, PNG, BMP and WebP files are")]
    NotAPhoto(String),
    /// A photo that is listed more than once.
    #[error("the photo {path:?} is listed already in line {first_line}")]
    RepeatedPhoto {
        /// The photo.
        path: String,
        /// Where it was first.
        first_line: u64,
    },
    /// A class id that means two things, or an item with two ids.
    #[error("class_id {id:?} is {label} here, but {other} in line {other_line}")]
    InconsistentId {
        /// The id here.
        id: String,
        /// The label here.
        label: String,
        /// What the other line says.
        other: String,
        /// The other line.
        other_line: u64,
    },
    /// A photo that does not decode.
    #[error("{0}")]
    Image(ImageError),
}

fn list(root: &Path, faults: &[Fault]) -> String {
    use fmt::Write;
    if let [only] = faults {
        return only.to_string();
    }
    let mut text = format!("{}: {} faults in the data:", root.display(), faults.len());
    for fault in faults.iter().take(LISTED) {
        let _ = write!(text, "\n  {fault}");
    }
    if faults.len() > LISTED {
        let _ = write!(text, "\n  ... and {} more", faults.len() - LISTED);
    }
    text
}

fn known_splits(known: &[String]) -> String {
    match known {
        [] => "the data names no splits".to_owned(),
        names => format!("the splits are {}", names.join(", ")),
    }
}

/// Collects faults and warnings while a dataset is read.
pub(crate) struct Log {
    root: PathBuf,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

impl Log {
    pub(crate) fn new(root: &Path) -> Log {
        Log {
            root: root.to_owned(),
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// Notes a fault; `path` is relative to the root.
    pub(crate) fn fault(&mut self, path: &Path, line: Option<u64>, kind: FaultKind) {
        self.faults.push(Fault {
            path: self.full(path),
            line,
            kind,
        });
    }

    /// Notes a warning about a file or folder; `path` is relative to the root.
    pub(crate) fn warn(&mut self, path: &Path, text: impl fmt::Display) {
        let warning = format!("{}: {text}", self.full(path).display());
        self.warnings.push(warning);
    }

    fn full(&self, path: &Path) -> PathBuf {
        // Joining an empty path would add a trailing slash.
        if path.as_os_str().is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }

    pub(crate) fn finish(
        self,
        labels: Option<LabelSet>,
        samples: Vec<Sample>,
    ) -> Result<Dataset, DatasetError> {
        match labels {
            Some(labels) if self.faults.is_empty() => Ok(Dataset {
                root: self.root,
                labels,
                samples,
                warnings: self.warnings,
            }),
            _ => Err(DatasetError::faults(self.root, self.faults)),
        }
    }
}

impl DatasetError {
    pub(crate) fn faults(root: PathBuf, mut faults: Vec<Fault>) -> DatasetError {
        faults.sort_by(|a, b| (&a.path, a.line, &a.kind).cmp(&(&b.path, b.line, &b.kind)));
        DatasetError::Faults { root, faults }
    }
}
