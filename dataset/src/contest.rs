//! The contest's form: `img_N.jpg` beside `img_N.txt`, which holds `img_N.jpg, ID`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use models::LabelSet;

use crate::assign::Found;
use crate::error::{FaultKind, Log};
use crate::tree::Listing;

/// A label file is one short line.
const MAX_LABEL_BYTES: u64 = 4096;

/// Whether the folder holds label files of the contest.
pub(crate) fn recognise(listing: &Listing) -> bool {
    listing.others.iter().any(|name| is_label_name(name))
}

/// Reads the folder `top`, the listing of the root.
pub(crate) fn read(top: &Listing, labels: Option<&LabelSet>, log: &mut Log) -> Vec<Found> {
    let Some(labels) = labels else {
        log.fault(Path::new(""), None, FaultKind::IdsNeedLabels);
        return Vec::new();
    };
    for (name, kind) in &top.faults {
        log.fault(name, None, kind.clone());
    }
    for name in &top.folders {
        log.warn(
            name,
            "is a folder beside the contest's files and is left out",
        );
    }
    let mut labelled = BTreeSet::new();
    let mut found = Vec::new();
    for name in &top.others {
        let beside: Vec<&PathBuf> = top
            .images
            .iter()
            .filter(|image| image.file_stem() == name.file_stem())
            .collect();
        if !has_extension(name, "txt") || (beside.is_empty() && !is_label_name(name)) {
            log.warn(name, "is no photo and is left out");
            continue;
        }
        match label(&log.root().join(name), &beside, labels) {
            Ok((image, item)) => {
                labelled.insert(image.clone());
                found.push(Found {
                    path: image,
                    category: labels.categories()[labels.category_of(item)].clone(),
                    item: labels.items()[item].name.clone(),
                    source: name.clone(),
                    line: None,
                    class_id: None,
                    group: None,
                    split: None,
                });
            }
            Err(kind) => {
                // Its photo has a label, only a bad one: one fault is enough.
                labelled.extend(beside.into_iter().cloned());
                log.fault(name, None, kind);
            }
        }
    }
    for image in top.images.iter().filter(|image| !labelled.contains(*image)) {
        let kind = FaultKind::Unlabelled("there is no text file of the same name that names it");
        log.fault(image, None, kind);
    }
    found
}

/// The photo and item that a label file names.
fn label(
    file: &Path,
    beside: &[&PathBuf],
    labels: &LabelSet,
) -> Result<(PathBuf, usize), FaultKind> {
    let bad = |why: &str| FaultKind::BadLabelFile(why.to_owned());
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|f| f.take(MAX_LABEL_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| FaultKind::Unreadable(e.to_string()))?;
    if bytes.len() as u64 > MAX_LABEL_BYTES {
        return Err(bad("it is longer than 4096 bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
    let mut lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .filter(|l| !l.trim().is_empty());
    let line = lines.next().ok_or_else(|| bad("it is empty"))?;
    if lines.next().is_some() {
        return Err(bad("it has more than one line"));
    }
    let (name, id) = line
        .rsplit_once([',', '，'])
        .map(|(name, id)| (name.trim(), id.trim()))
        .ok_or_else(|| bad(&format!("{line:?} has no comma")))?;
    if beside.is_empty() {
        return Err(FaultKind::MissingPhoto(name.to_owned()));
    }
    let image = beside
        .iter()
        .find(|image| {
            image
                .to_str()
                .is_some_and(|image| image.eq_ignore_ascii_case(name))
        })
        .ok_or_else(|| bad(&format!("it names {name:?}, not the photo beside it")))?;
    let unknown = || FaultKind::UnknownId {
        id: id.to_owned(),
        labels: labels.name().to_owned(),
        last: labels.len() - 1,
    };
    let item = id
        .parse()
        .ok()
        .filter(|&id: &usize| id < labels.len())
        .ok_or_else(unknown)?;
    Ok(((*image).clone(), item))
}

fn is_label_name(name: &Path) -> bool {
    let number = name
        .file_stem()
        .and_then(OsStr::to_str)
        .and_then(|stem| stem.strip_prefix("img_"))
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    number && has_extension(name, "txt")
}

fn has_extension(name: &Path, extension: &str) -> bool {
    name.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case(extension))
}
