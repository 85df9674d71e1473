//! The form `manifest.csv`: columns `path`, `item`, `category`, and where present `class_id`,
//! `group`, `split`; other columns are left alone.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::assign::Found;
use crate::error::{FaultKind, Log};
use crate::tree;

const NAME: &str = "manifest.csv";

/// Larger than any list of photos; what is larger is something else.
const MAX_BYTES: u64 = 256 << 20;

/// Reads the root's `manifest.csv`.
pub(crate) fn read(log: &mut Log) -> Vec<Found> {
    let manifest = Path::new(NAME);
    let bytes = match load(&log.root().join(NAME)) {
        Ok(bytes) => bytes,
        Err(kind) => {
            log.fault(manifest, None, kind);
            return Vec::new();
        }
    };
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text);
    let columns = match Columns::of(&mut reader) {
        Ok(columns) => columns,
        Err(faults) => {
            for kind in faults {
                log.fault(manifest, Some(1), kind);
            }
            return Vec::new();
        }
    };
    let mut lines: HashMap<PathBuf, u64> = HashMap::new();
    let mut found = Vec::new();
    for record in reader.records() {
        match record {
            Err(e) => {
                let line = e.position().map(csv::Position::line);
                log.fault(manifest, line, FaultKind::BadRow(row_fault(&e)));
            }
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                match row(&record, &columns, line, log.root(), &mut lines) {
                    Ok(photo) => found.push(photo),
                    Err(faults) => {
                        for kind in faults {
                            log.fault(manifest, Some(line), kind);
                        }
                    }
                }
            }
        }
    }
    let unsplit = found.iter().filter(|f| f.split.is_none()).count();
    if unsplit > 0 && unsplit < found.len() {
        log.warn(
            manifest,
            format!("{unsplit} photos have no split and belong to none"),
        );
    }
    let unnumbered = found.iter().filter(|f| f.class_id.is_none()).count();
    if unnumbered > 0 && unnumbered < found.len() {
        let text = format!("{unnumbered} photos have no class_id, so the column is not used");
        log.warn(manifest, text);
    }
    found
}

fn load(path: &Path) -> Result<Vec<u8>, FaultKind> {
    tree::regular_file(path)?;
    let unreadable = |e: std::io::Error| FaultKind::Unreadable(e.to_string());
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(FaultKind::Unreadable(format!(
            "it is larger than {} MiB",
            MAX_BYTES >> 20
        )));
    }
    fs::read(path).map_err(unreadable)
}

fn row_fault(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("it has {len} fields, not {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// Where each column is.
struct Columns {
    path: usize,
    item: usize,
    category: usize,
    class_id: Option<usize>,
    group: Option<usize>,
    split: Option<usize>,
}

impl Columns {
    fn of(reader: &mut csv::Reader<&[u8]>) -> Result<Columns, Vec<FaultKind>> {
        let header = reader
            .headers()
            .map_err(|e| vec![FaultKind::BadRow(row_fault(&e))])?
            .clone();
        let mut faults = Vec::new();
        let mut column = |name: &'static str, needed: bool| {
            let mut places = header
                .iter()
                .enumerate()
                .filter(|(_, h)| *h == name)
                .map(|(i, _)| i);
            let place = places.next();
            if places.next().is_some() {
                faults.push(FaultKind::RepeatedColumn(name));
            }
            if place.is_none() && needed {
                faults.push(FaultKind::MissingColumn(name));
            }
            place
        };
        let needed = (
            column("path", true),
            column("item", true),
            column("category", true),
        );
        let class_id = column("class_id", false);
        let group = column("group", false);
        let split = column("split", false);
        match needed {
            (Some(path), Some(item), Some(category)) if faults.is_empty() => Ok(Columns {
                path,
                item,
                category,
                class_id,
                group,
                split,
            }),
            _ => Err(faults),
        }
    }
}

fn row(
    record: &csv::StringRecord,
    columns: &Columns,
    line: u64,
    root: &Path,
    lines: &mut HashMap<PathBuf, u64>,
) -> Result<Found, Vec<FaultKind>> {
    let mut faults = Vec::new();
    let mut needed = |column: usize, name: &'static str| {
        let value = record.get(column).unwrap_or("");
        if value.is_empty() {
            faults.push(FaultKind::EmptyField(name));
        }
        value
    };
    let path = needed(columns.path, "path");
    let item = needed(columns.item, "item").to_owned();
    let category = needed(columns.category, "category").to_owned();
    let mut photo = PathBuf::new();
    if !path.is_empty() {
        match photo_path(path, root) {
            Ok(clean) => match lines.get(&clean) {
                Some(&first_line) => {
                    faults.push(FaultKind::RepeatedPhoto {
                        path: path.to_owned(),
                        first_line,
                    });
                }
                None => {
                    lines.insert(clean.clone(), line);
                    photo = clean;
                }
            },
            Err(kind) => faults.push(kind),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let optional = |column: Option<usize>| {
        column
            .and_then(|c| record.get(c))
            .filter(|v| !v.is_empty())
            .map(str::to_owned)
    };
    Ok(Found {
        path: photo,
        category,
        item,
        source: PathBuf::from(NAME),
        line: Some(line),
        class_id: optional(columns.class_id),
        group: optional(columns.group),
        split: optional(columns.split),
    })
}

/// The path without `.` parts, if it names a photo inside the root.
fn photo_path(path: &str, root: &Path) -> Result<PathBuf, FaultKind> {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            _ => return Err(FaultKind::EscapingPath(path.to_owned())),
        }
    }
    if !tree::is_image_name(&clean) {
        return Err(FaultKind::NotAPhoto(path.to_owned()));
    }
    match tree::regular_file(&root.join(&clean)) {
        Ok(()) => Ok(clean),
        Err(FaultKind::Missing) => Err(FaultKind::MissingPhoto(path.to_owned())),
        Err(FaultKind::Unreadable(why)) => Err(FaultKind::Unreadable(format!("{path}: {why}"))),
        Err(_) => Err(FaultKind::NotAPhoto(path.to_owned())),
    }
}
