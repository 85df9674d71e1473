//! The files that `evaluate` writes.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};
use dataset::Dataset;

use super::Prediction;
use super::tally::Report;

/// Prints to standard output; a reader that has gone (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Creates a file to write to: before the work, so that a wrong path costs no time.
pub(super) fn create(path: &Path) -> Result<BufWriter<File>> {
    File::create(path)
        .map(BufWriter::new)
        .with_context(|| path.display().to_string())
}

/// Writes the figures as JSON.
pub(super) fn write_json(path: &Path, mut file: impl Write, report: &Report) -> Result<()> {
    serde_json::to_writer_pretty(&mut file, report)?;
    writeln!(file)
        .and_then(|()| file.flush())
        .with_context(|| path.display().to_string())
}

/// Writes one CSV row a photo. `predicted` is the best item of all, `correct` says whether it is right.
pub(super) fn write_predictions(
    path: &Path,
    file: impl Write,
    data: &Dataset,
    predictions: &[Prediction],
) -> Result<()> {
    let name = || path.display().to_string();
    let labels = &data.labels;
    let category = |c: usize| labels.categories()[c].as_str();
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record([
        "path",
        "item",
        "predicted",
        "score",
        "category",
        "predicted_category",
        "category_score",
        "decision",
        "correct",
    ])
    .with_context(name)?;
    for (sample, p) in data.samples.iter().zip(predictions) {
        csv.write_record([
            &*sample.path.to_string_lossy(),
            &labels.path(sample.item),
            &labels.path(p.item),
            &p.item_score.to_string(),
            category(labels.category_of(sample.item)),
            category(p.category),
            &p.category_score.to_string(),
            if p.accepted { "accept" } else { "reject" },
            if p.item == sample.item {
                "true"
            } else {
                "false"
            },
        ])
        .with_context(name)?;
    }
    csv.flush().with_context(name)
}

/// A float32 array `[photos, 3, size, size]` in NumPy's format 1.0, written in any order.
pub(crate) struct TensorFile {
    path: PathBuf,
    file: Mutex<File>,
    header_bytes: u64,
}

impl TensorFile {
    pub(crate) fn create(path: &Path, photos: usize, size: u32) -> Result<TensorFile> {
        let name = || path.display().to_string();
        let mut file = File::create(path).with_context(name)?;
        let header = header(photos, size);
        file.write_all(&header).with_context(name)?;
        let header_bytes = header.len() as u64;
        Ok(TensorFile {
            path: path.to_owned(),
            file: Mutex::new(file),
            header_bytes,
        })
    }

    /// Writes the tensor of photo `index`.
    pub(crate) fn write(&self, index: usize, tensor: &[f32]) -> Result<()> {
        let mut file = self.file.lock().map_err(|_| anyhow!("a thread failed"))?;
        let at = self.header_bytes + index as u64 * size_of_val(tensor) as u64;
        let mut write = || {
            file.seek(SeekFrom::Start(at))?;
            let mut out = BufWriter::new(&mut *file);
            tensor
                .iter()
                .try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
            out.flush()
        };
        write().with_context(|| self.path.display().to_string())
    }
}

/// Magic, version, and a description padded so that the data begins at a multiple of 64 bytes.
/// <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>
fn header(photos: usize, size: u32) -> Vec<u8> {
    let shape = format!("({photos}, 3, {size}, {size})");
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let preamble = 10;
    let padding = 63 - (preamble + text.len()) % 64;
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    // A short text: shape and fixed words.
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_land_in_order_behind_an_aligned_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.npy");
        let file = TensorFile::create(&path, 3, 1).unwrap();
        for index in [2, 0, 1] {
            file.write(index, &[index as f32, 0.5, -1.0]).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        let header = bytes.len() - 3 * 3 * 4;
        assert_eq!(header % 64, 0);
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\0");
        assert_eq!(
            usize::from(u16::from_le_bytes([bytes[8], bytes[9]])),
            header - 10
        );
        let text = std::str::from_utf8(&bytes[10..header]).unwrap();
        assert!(text.contains("'shape': (3, 3, 1, 1), "), "{text}");
        let values: Vec<f32> = bytes[header..]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(values, [0.0, 0.5, -1.0, 1.0, 0.5, -1.0, 2.0, 0.5, -1.0]);
    }
}
