//! Label sets: the items a network tells apart, and the category each of them belongs to.
//!
//! An item's id is its index. Items and categories have names; an item's *path* is
//! `category/item`, for example `可回收物/易拉罐`. Categories are numbered in the order in which
//! the items first name them.
//!
//! A label file is TOML:
//!
//! ```toml
//! name = "two-chutes"
//! items = [
//!     { id = 0, category = "metal", item = "can" },
//!     { id = 1, category = "paper", item = "newspaper" },
//! ]
//! ```
//!
//! The ids must be 0, 1, 2, ... without a gap, in any order. Unknown keys are errors.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most items a label set can hold.
pub const MAX_ITEMS: usize = 4096;
/// Longest name of a label set, category or item, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 128;

const BUILTIN: [(&str, &str); 1] = [("huawei-40", include_str!("../labels/huawei-40.toml"))];

/// Items and their categories; always valid: at least one item, at most [`MAX_ITEMS`], no two
/// items with the same path, every name acceptable. Deserialization checks the same rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawLabelSet", into = "RawLabelSet")]
pub struct LabelSet {
    name: String,
    categories: Vec<String>,
    items: Vec<Item>,
}

/// One kind of thing that the network recognises.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    /// The name without its category.
    pub name: String,
    /// Index into [`LabelSet::categories`].
    pub category: usize,
}

/// Why something is not a label set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LabelError {
    /// Not TOML, or not of the form in the [module documentation](self).
    #[error("not a label file: {0}")]
    Toml(String),
    /// No item at all.
    #[error("a label set needs at least one item")]
    Empty,
    /// More than [`MAX_ITEMS`] items.
    #[error("{0} items are too many: a label set holds at most {MAX_ITEMS}")]
    TooManyItems(usize),
    /// A name without a character; `what` says which name.
    #[error("the name of {what} is empty")]
    EmptyName {
        /// Whose name it is, for example `item 3`.
        what: String,
    },
    /// A name longer than [`MAX_NAME_BYTES`].
    #[error("the name of {what} has {bytes} bytes: at most {MAX_NAME_BYTES} are allowed")]
    LongName {
        /// Whose name it is.
        what: String,
        /// Its length in UTF-8.
        bytes: usize,
    },
    /// A name with `/`, a control character, or white space at an end.
    #[error("the name {name:?} of {what} holds {fault}")]
    BadName {
        /// Whose name it is.
        what: String,
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// Two items with the same category and name.
    #[error("items {first} and {second} are both called {path:?}")]
    DuplicateItem {
        /// The lower id.
        first: usize,
        /// The higher id.
        second: usize,
        /// Their common path.
        path: String,
    },
    /// Two entries of a label file with the same id.
    #[error("the id {0} is given twice")]
    DuplicateId(u32),
    /// An id that leaves a gap: ids run from 0 to the number of items less one.
    #[error("the id {missing} is missing: ids must be 0, 1, 2, ... without a gap")]
    MissingId {
        /// The lowest id that no entry has.
        missing: u32,
    },
    /// No label set of this name comes with the program.
    #[error("no label set {0:?} comes with Sortline; there is: {known}", known = builtin_names().join(", "))]
    Unknown(String),
}

/// What makes a name unacceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameFault {
    /// `/` separates category and item in a path.
    #[error("a '/'")]
    Slash,
    /// For example a line break.
    #[error("a control character")]
    Control,
    /// Such names look equal and are not.
    #[error("white space at its beginning or end")]
    OuterWhitespace,
}

/// The names that [`LabelSet::builtin`] knows.
pub fn builtin_names() -> Vec<&'static str> {
    BUILTIN.iter().map(|(name, _)| *name).collect()
}

impl LabelSet {
    /// Makes a label set from `(category, item)` pairs in the order of their ids.
    pub fn new(
        name: impl Into<String>,
        items: Vec<(String, String)>,
    ) -> Result<LabelSet, LabelError> {
        let name = name.into();
        check_name(&name, || "the label set".into())?;
        if items.is_empty() {
            return Err(LabelError::Empty);
        }
        if items.len() > MAX_ITEMS {
            return Err(LabelError::TooManyItems(items.len()));
        }
        let mut set = LabelSet {
            name,
            categories: Vec::new(),
            items: Vec::new(),
        };
        let mut category_ids: HashMap<String, usize> = HashMap::new();
        let mut seen: HashMap<(usize, String), usize> = HashMap::new();
        for (id, (category, item)) in items.into_iter().enumerate() {
            check_name(&category, || format!("the category of item {id}"))?;
            check_name(&item, || format!("item {id}"))?;
            let index = *category_ids.entry(category).or_insert_with_key(|category| {
                set.categories.push(category.clone());
                set.categories.len() - 1
            });
            if let Some(first) = seen.insert((index, item.clone()), id) {
                let path = format!("{}/{item}", set.categories[index]);
                return Err(LabelError::DuplicateItem {
                    first,
                    second: id,
                    path,
                });
            }
            set.items.push(Item {
                name: item,
                category: index,
            });
        }
        Ok(set)
    }

    /// A label set that comes with the program; [`builtin_names`] lists them.
    pub fn builtin(name: &str) -> Result<LabelSet, LabelError> {
        let (_, text) = BUILTIN
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| LabelError::Unknown(name.to_owned()))?;
        LabelSet::from_toml(text)
    }

    /// Reads the TOML form described in the [module documentation](self).
    pub fn from_toml(text: &str) -> Result<LabelSet, LabelError> {
        let file: LabelFile =
            toml::from_str(text).map_err(|error| LabelError::Toml(one_line(text, &error)))?;
        let mut entries = file.items;
        if entries.len() > MAX_ITEMS {
            return Err(LabelError::TooManyItems(entries.len()));
        }
        let mut ids = HashSet::new();
        if let Some(twice) = entries.iter().find(|entry| !ids.insert(entry.id)) {
            return Err(LabelError::DuplicateId(twice.id));
        }
        entries.sort_by_key(|entry| entry.id);
        if let Some((missing, _)) = (0u32..)
            .zip(&entries)
            .find(|(expected, entry)| entry.id != *expected)
        {
            return Err(LabelError::MissingId { missing });
        }
        let items = entries
            .into_iter()
            .map(|entry| (entry.category, entry.item))
            .collect();
        LabelSet::new(file.name, items)
    }

    /// The name of the set itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The items; an item's id is its index.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The names of the categories.
    pub fn categories(&self) -> &[String] {
        &self.categories
    }

    /// The number of items, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a label set is never empty")]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The category of an item. Panics if the set has no such item.
    pub fn category_of(&self, item: usize) -> usize {
        self.items[item].category
    }

    /// `category/item`. Panics if the set has no such item.
    pub fn path(&self, item: usize) -> String {
        let Item { name, category } = &self.items[item];
        format!("{}/{name}", self.categories[*category])
    }

    /// The item with this path, if there is one.
    pub fn find(&self, path: &str) -> Option<usize> {
        let (category, name) = path.split_once('/')?;
        self.items
            .iter()
            .position(|item| item.name == name && self.categories[item.category] == category)
    }
}

/// What goes over the wire: exactly the arguments of [`LabelSet::new`].
#[derive(Serialize, Deserialize)]
struct RawLabelSet {
    name: String,
    items: Vec<(String, String)>,
}

impl TryFrom<RawLabelSet> for LabelSet {
    type Error = LabelError;

    fn try_from(raw: RawLabelSet) -> Result<LabelSet, LabelError> {
        LabelSet::new(raw.name, raw.items)
    }
}

impl From<LabelSet> for RawLabelSet {
    fn from(set: LabelSet) -> RawLabelSet {
        let LabelSet {
            name,
            categories,
            items,
        } = set;
        let pair = |item: Item| (categories[item.category].clone(), item.name);
        RawLabelSet {
            name,
            items: items.into_iter().map(pair).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelFile {
    name: String,
    items: Vec<LabelEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelEntry {
    id: u32,
    category: String,
    item: String,
}

fn check_name(name: &str, what: impl Fn() -> String) -> Result<(), LabelError> {
    if name.is_empty() {
        return Err(LabelError::EmptyName { what: what() });
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(LabelError::LongName {
            what: what(),
            bytes: name.len(),
        });
    }
    let fault = if name.contains('/') {
        NameFault::Slash
    } else if name.chars().any(char::is_control) {
        NameFault::Control
    } else if name.trim() != name {
        NameFault::OuterWhitespace
    } else {
        return Ok(());
    };
    Err(LabelError::BadName {
        what: what(),
        name: name.to_owned(),
        fault,
    })
}

/// The parser's message in one line, with the number of the line it speaks of.
fn one_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}
