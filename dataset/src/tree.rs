//! Listing folders in an order that does not depend on the file system.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::FaultKind;

/// Files that systems leave beside photos and that mean nothing.
const SIDE_FILES: [&str; 4] = ["thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"];

/// Extensions of the image formats that are read.
const IMAGE_EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];

/// The visible contents of one folder, each list sorted by name; links are followed.
pub(crate) struct Listing {
    pub(crate) folders: Vec<PathBuf>,
    /// Regular files with an image's extension.
    pub(crate) images: Vec<PathBuf>,
    /// Other regular files.
    pub(crate) others: Vec<PathBuf>,
    /// What cannot be used at all, and why: broken links, pipes, devices.
    pub(crate) faults: Vec<(PathBuf, FaultKind)>,
}

impl Listing {
    /// Lists `dir`; the paths in the listing are file names only.
    pub(crate) fn of(dir: &Path) -> Result<Listing, FaultKind> {
        let entries = fs::read_dir(dir).map_err(|e| match e.kind() {
            ErrorKind::NotFound => FaultKind::Missing,
            ErrorKind::NotADirectory => FaultKind::NotAFolder,
            _ => FaultKind::Unreadable(e.to_string()),
        })?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| FaultKind::Unreadable(e.to_string()))?;
            names.push(PathBuf::from(entry.file_name()));
        }
        names.retain(|name| !ignored(name.as_os_str()));
        names.sort();
        let mut listing = Listing {
            folders: Vec::new(),
            images: Vec::new(),
            others: Vec::new(),
            faults: Vec::new(),
        };
        for name in names {
            match regular_file(&dir.join(&name)) {
                Ok(()) if is_image_name(&name) => listing.images.push(name),
                Ok(()) => listing.others.push(name),
                // An empty file that is no photo is nobody's concern here.
                Err(FaultKind::EmptyFile) if !is_image_name(&name) => listing.others.push(name),
                Err(FaultKind::NotAFile) if dir.join(&name).is_dir() => listing.folders.push(name),
                Err(kind) => listing.faults.push((name, kind)),
            }
        }
        Ok(listing)
    }

    /// The file of that name, if there is one.
    pub(crate) fn file(&self, name: &str) -> Option<&Path> {
        self.others
            .iter()
            .chain(&self.images)
            .map(PathBuf::as_path)
            .find(|p| *p == Path::new(name))
    }
}

/// Says whether a photo can be opened without harm: reading from a pipe would wait for ever.
pub(crate) fn regular_file(path: &Path) -> Result<(), FaultKind> {
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(FaultKind::NotAFile),
        Ok(meta) if meta.len() == 0 => Err(FaultKind::EmptyFile),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(FaultKind::Missing),
        Err(e) => Err(FaultKind::Unreadable(e.to_string())),
    }
}

/// Whether the name has an image's extension.
pub(crate) fn is_image_name(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|ext| {
        IMAGE_EXTENSIONS
            .iter()
            .any(|known| ext.eq_ignore_ascii_case(known))
    })
}

fn ignored(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
        || name == "__MACOSX"
        || name
            .to_str()
            .is_some_and(|n| SIDE_FILES.contains(&n.to_lowercase().as_str()))
}
