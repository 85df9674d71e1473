//! Bundle files on disk.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::blob::Blob;

use super::{BundleError, MAX_BUNDLE_BYTES, check_limit};

/// A file that is not too large for a bundle. What is none, as a pipe, is read.
pub(super) fn open(path: &Path) -> Result<Blob, BundleError> {
    let file = File::open(path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    check_limit("the file", metadata.len(), MAX_BUNDLE_BYTES)?;
    if metadata.is_file() {
        return Ok(Blob::of_file(file, metadata.len() as usize));
    }
    let mut bytes = Vec::new();
    let mut limited = file.take(MAX_BUNDLE_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(io_error)?;
    Ok(bytes.into())
}

/// Writes a file beside `path` to the disk and then gives it the name.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    let temporary = temporary_path(path).map_err(io_error)?;
    let written = write_through(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(io_error(error));
    }
    sync_folder_of(path).map_err(io_error)
}

/// A name in the same folder that nobody else uses.
fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    temporary.push(format!(".{}-{number}.tmp", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the new name itself last.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

pub(super) fn io_error(error: io::Error) -> BundleError {
    BundleError::Io(error.to_string())
}
