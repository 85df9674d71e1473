//! From labels as the data names them to items of a label set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use models::LabelSet;

use crate::Sample;
use crate::error::{FaultKind, Log};

/// A photo with the label that the data gives it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Relative to the root.
    pub(crate) path: PathBuf,
    pub(crate) category: String,
    pub(crate) item: String,
    /// Where the label is written, relative to the root, for messages.
    pub(crate) source: PathBuf,
    pub(crate) line: Option<u64>,
    pub(crate) class_id: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) split: Option<String>,
}

impl Found {
    pub(crate) fn label(&self) -> String {
        format!("{}/{}", self.category, self.item)
    }
}

/// Gives every photo its item; faults go to the log. No label set comes back where none can be made.
pub(crate) fn assign(
    mut found: Vec<Found>,
    given: Option<&LabelSet>,
    log: &mut Log,
) -> (Option<LabelSet>, Vec<Sample>) {
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let labels = match given {
        Some(labels) => labels.clone(),
        None if found.is_empty() => return (None, Vec::new()),
        None => match derive(&found, log) {
            Some(labels) => labels,
            None => return (None, Vec::new()),
        },
    };
    let mut unknown = BTreeSet::new();
    let mut samples = Vec::with_capacity(found.len());
    for photo in found {
        let label = photo.label();
        match labels.find(&label) {
            Some(item) => samples.push(Sample {
                path: photo.path,
                item,
                group: photo.group,
                split: photo.split,
            }),
            None => {
                // One fault a class, not one a photo.
                if unknown.insert(label.clone()) {
                    let labels = labels.name().to_owned();
                    let kind = FaultKind::UnknownLabel { label, labels };
                    log.fault(&photo.source, photo.line, kind);
                }
            }
        }
    }
    if given.is_some() && !samples.is_empty() {
        warn_absent(&labels, &samples, log);
    }
    (Some(labels), samples)
}

fn warn_absent(labels: &LabelSet, samples: &[Sample], log: &mut Log) {
    let present: BTreeSet<usize> = samples.iter().map(|s| s.item).collect();
    let absent: Vec<String> = (0..labels.len())
        .filter(|i| !present.contains(i))
        .map(|i| labels.path(i))
        .collect();
    if !absent.is_empty() {
        let text = format!(
            "{} of the {} items of {} have no photos: {}",
            absent.len(),
            labels.len(),
            labels.name(),
            absent.join(", ")
        );
        log.warn(Path::new(""), text);
    }
}

fn derive(found: &[Found], log: &mut Log) -> Option<LabelSet> {
    let items: Vec<(String, String)> = if found.iter().all(|f| f.class_id.is_some()) {
        by_class_id(found, log)?
    } else {
        let set: BTreeSet<_> = found
            .iter()
            .map(|f| (f.category.clone(), f.item.clone()))
            .collect();
        set.into_iter().collect()
    };
    let name = log.root().canonicalize().ok();
    let name = name
        .as_deref()
        .and_then(Path::file_name)
        .and_then(|n| n.to_str());
    match LabelSet::new(name.unwrap_or("dataset"), items) {
        Ok(labels) => Some(labels),
        Err(e) => {
            log.fault(Path::new(""), None, FaultKind::BadLabels(e.to_string()));
            None
        }
    }
}

/// The items in the order of their class ids: as numbers where all are numbers, else as text.
/// Id and label must go together one to one.
fn by_class_id(found: &[Found], log: &mut Log) -> Option<Vec<(String, String)>> {
    let mut in_file_order: Vec<&Found> = found.iter().collect();
    in_file_order.sort_by_key(|f| f.line);
    let mut label_of: BTreeMap<&str, &Found> = BTreeMap::new();
    let mut id_of: BTreeMap<String, &Found> = BTreeMap::new();
    let mut reported = BTreeSet::new();
    for photo in in_file_order {
        let id = photo.class_id.as_deref()?;
        let label = photo.label();
        let first_of_id = *label_of.entry(id).or_insert(photo);
        let first_of_label = *id_of.entry(label.clone()).or_insert(photo);
        let other = if first_of_id.label() != label {
            first_of_id
        } else if first_of_label.class_id.as_deref() != Some(id) {
            first_of_label
        } else {
            continue;
        };
        if reported.insert((id.to_owned(), label.clone())) {
            let kind = FaultKind::InconsistentId {
                id: id.to_owned(),
                label,
                other: format!("{:?} is {}", other.class_id.as_deref()?, other.label()),
                other_line: other.line.unwrap_or(0),
            };
            log.fault(&photo.source, photo.line, kind);
        }
    }
    if !reported.is_empty() {
        return None;
    }
    let mut ids: Vec<(Option<u64>, &str, &Found)> = label_of
        .into_iter()
        .map(|(id, f)| (id.parse().ok(), id, f))
        .collect();
    if ids.iter().any(|(number, ..)| number.is_none()) {
        ids.iter_mut().for_each(|(number, ..)| *number = None);
    }
    ids.sort_by_key(|(number, id, _)| (*number, *id));
    Some(
        ids.into_iter()
            .map(|(_, _, f)| (f.category.clone(), f.item.clone()))
            .collect(),
    )
}
