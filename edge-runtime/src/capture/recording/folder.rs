//! Pictures in a folder.

use super::Pictures;
use image::RgbImage;
use std::path::{Path, PathBuf};

/// The pictures in the order of their names.
pub(super) struct Folder {
    files: Vec<PathBuf>,
    next: usize,
}

impl Folder {
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        Ok(Self {
            files: pictures(folder)?,
            next: 0,
        })
    }
}

/// The pictures (PNG, JPEG, BMP, WebP) in `folder` in the order of their names.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn pictures(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("cannot read it: {e}"))?;
    let is_picture = |path: &PathBuf| {
        let extension = path.extension().and_then(|e| e.to_str());
        extension.is_some_and(|e| {
            ["png", "jpg", "jpeg", "bmp", "webp"].contains(&e.to_lowercase().as_str())
        })
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_picture)
        .collect();
    files.sort();
    Ok(files)
}

impl Pictures for Folder {
    fn next(&mut self, image: &mut RgbImage) -> Result<Option<u64>, String> {
        let Some(file) = self.files.get(self.next) else {
            return Ok(None);
        };
        *image = dataset::decode(file).map_err(|e| e.to_string())?;
        self.next += 1;
        Ok(Some(0))
    }

    fn name(&self, number: u64) -> String {
        let file = usize::try_from(number).ok().and_then(|n| self.files.get(n));
        let name = file.and_then(|f| f.file_name()).unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}
