//! The form "a folder per class": `category/item/photo.jpg`, or `item/photo.jpg`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use models::LabelSet;

use crate::assign::Found;
use crate::contest;
use crate::error::{FaultKind, Log};
use crate::tree::Listing;

/// Reads the tree below `top`, the listing of the root.
///
/// A folder of folders is a category, a folder of photos is an item. An item folder at the top is,
/// without a label set, its own category; with one, its name is an item, `category_item`, or an id.
pub(crate) fn read(top: &Listing, labels: Option<&LabelSet>, log: &mut Log) -> Vec<Found> {
    let mut reader = Reader {
        labels,
        log,
        seen: BTreeSet::new(),
        found: Vec::new(),
    };
    let root = Path::new("");
    reader.enter(root);
    reader.leftovers(root, top);
    if top.folders.is_empty() && !top.images.is_empty() {
        reader.log.fault(root, None, FaultKind::NoLabels);
        return reader.found;
    }
    reader.unlabelled(root, top);
    for name in &top.folders {
        reader.top_folder(name);
    }
    reader.found
}

struct Reader<'a> {
    labels: Option<&'a LabelSet>,
    log: &'a mut Log,
    /// Canonical paths of the folders read, against links that lead back.
    seen: BTreeSet<PathBuf>,
    found: Vec<Found>,
}

impl Reader<'_> {
    fn top_folder(&mut self, dir: &Path) {
        let Some(listing) = self.list(dir) else {
            return;
        };
        if contest::recognise(&listing) {
            self.log.fault(dir, None, FaultKind::ContestFolder);
        } else if listing.folders.is_empty() {
            if let Some((category, item)) = self.one_level(dir) {
                self.class(dir, &listing, category, item);
            }
        } else {
            self.leftovers(dir, &listing);
            self.unlabelled(dir, &listing);
            for name in &listing.folders {
                self.item_folder(&dir.join(name));
            }
        }
    }

    fn item_folder(&mut self, dir: &Path) {
        let Some(listing) = self.list(dir) else {
            return;
        };
        let mut names = dir.iter().map(|name| name.to_str());
        match (names.next().flatten(), names.next().flatten()) {
            (Some(category), Some(item)) => {
                self.class(dir, &listing, category.to_owned(), item.to_owned());
            }
            _ => self.log.fault(dir, None, FaultKind::NotUtf8),
        }
    }

    fn class(&mut self, dir: &Path, listing: &Listing, category: String, item: String) {
        self.leftovers(dir, listing);
        for name in &listing.folders {
            self.log.fault(&dir.join(name), None, FaultKind::TooDeep);
        }
        let nothing = listing.folders.is_empty() && listing.faults.is_empty();
        if listing.images.is_empty() && nothing {
            self.log.fault(dir, None, FaultKind::EmptyClass);
        }
        self.found.extend(listing.images.iter().map(|name| Found {
            path: dir.join(name),
            category: category.clone(),
            item: item.clone(),
            source: dir.to_owned(),
            line: None,
            class_id: None,
            group: None,
            split: None,
        }));
    }

    /// The label of an item folder at the top.
    fn one_level(&mut self, dir: &Path) -> Option<(String, String)> {
        let Some(name) = dir.to_str() else {
            self.log.fault(dir, None, FaultKind::NotUtf8);
            return None;
        };
        let Some(labels) = self.labels else {
            return Some((name.to_owned(), name.to_owned()));
        };
        match candidates(name, labels).as_slice() {
            [] => {
                let (label, labels) = (name.to_owned(), labels.name().to_owned());
                self.log
                    .fault(dir, None, FaultKind::UnknownLabel { label, labels });
                None
            }
            [item] => {
                let category = labels.categories()[labels.category_of(*item)].clone();
                Some((category, labels.items()[*item].name.clone()))
            }
            several => {
                let candidates = several.iter().map(|i| labels.path(*i)).collect();
                let label = name.to_owned();
                self.log
                    .fault(dir, None, FaultKind::AmbiguousLabel { label, candidates });
                None
            }
        }
    }

    fn list(&mut self, dir: &Path) -> Option<Listing> {
        if !self.enter(dir) {
            self.log.fault(dir, None, FaultKind::LinkLoop);
            return None;
        }
        match Listing::of(&self.log.root().join(dir)) {
            Ok(listing) => Some(listing),
            Err(kind) => {
                self.log.fault(dir, None, kind);
                None
            }
        }
    }

    /// Remembers a folder; false where it was there before.
    fn enter(&mut self, dir: &Path) -> bool {
        match self.log.root().join(dir).canonicalize() {
            Ok(real) => self.seen.insert(real),
            // Listing it will say what is wrong.
            Err(_) => true,
        }
    }

    fn leftovers(&mut self, dir: &Path, listing: &Listing) {
        for (name, kind) in &listing.faults {
            self.log.fault(&dir.join(name), None, kind.clone());
        }
        for name in &listing.others {
            self.log
                .warn(&dir.join(name), "is no photo and is left out");
        }
    }

    fn unlabelled(&mut self, dir: &Path, listing: &Listing) {
        for name in &listing.images {
            let kind = FaultKind::Unlabelled("it is in no class folder");
            self.log.fault(&dir.join(name), None, kind);
        }
    }
}

/// The items that a folder's name can mean: an item's name or `category_item`, else an id.
fn candidates(name: &str, labels: &LabelSet) -> Vec<usize> {
    let named: Vec<usize> = (0..labels.len())
        .filter(|&i| {
            let item = labels.items()[i].name.as_str();
            let category = labels.categories()[labels.category_of(i)].as_str();
            let joined = name
                .strip_prefix(category)
                .and_then(|rest| rest.strip_prefix('_'))
                .is_some_and(|rest| rest == item);
            name == item || joined
        })
        .collect();
    if !named.is_empty() {
        return named;
    }
    name.parse()
        .ok()
        .filter(|&id: &usize| id < labels.len())
        .into_iter()
        .collect()
}
