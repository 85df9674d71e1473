//! What the frozen part of a network makes of photos, computed once per photo and kept on disk.
//!
//! A file holds the features of up to [`CHUNK`] photos in all their views, as plain `f32`. Its name is
//! a hash of all that they depend on (backbone, preprocessing, views, the photos' bytes), so a file
//! is right or not there, and runs may share a folder.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use inference::Extractor;
use models::quantize::Scheme;
use models::{Graph, PreprocessSpec, Weights, passes};

use crate::augment::Augmentation;
use crate::checkpoint::write_atomically;
use crate::config::AugmentConfig;
use crate::loader::{Photos, in_order, normalize};
use crate::onnx::encode;
use crate::progress::Progress;
use crate::random::{Purpose, generator};
use crate::trainer::Stopped;

/// The most photos per file.
const CHUNK: usize = 64;

/// The most bytes per file, of more than one photo.
const CHUNK_BYTES: usize = 16 << 20;

/// From so many MiB on the size is said beforehand.
const SAID_MIB: u64 = 100;

/// A backbone that does not change: the part of a network up to some node. tract computes it, faster
/// than burn.
pub(crate) struct Backbone {
    extractor: Extractor,
    spec: PreprocessSpec,
    /// Hash of the graph, its weights and the preprocessing.
    key: blake3::Hash,
}

/// The views of a photo that are looked at.
pub(crate) struct Views<'a> {
    /// How many.
    pub(crate) count: usize,
    /// How those after the mirror image are drawn.
    pub(crate) augment: &'a AugmentConfig,
    pub(crate) seed: u64,
}

/// What was computed of photos: for every photo one row per view.
pub(crate) trait Rows: Sync {
    /// Values per row.
    fn width(&self) -> usize;

    /// Adds the values of a row.
    fn append(&self, row: usize, to: &mut Vec<f32>) -> Result<()>;
}

/// Rows on disk.
pub(crate) struct Stored {
    files: Vec<PathBuf>,
    rows_per_file: usize,
    rows: usize,
    width: usize,
}

/// Rows in memory.
pub(crate) struct Features {
    pub(crate) rows: Vec<f32>,
    pub(crate) width: usize,
}

impl Backbone {
    /// The part of a network up to `last`, with batch norms folded.
    pub(crate) fn new(
        graph: &Graph,
        weights: &Weights,
        last: usize,
        spec: PreprocessSpec,
    ) -> Result<Backbone> {
        let prefix = graph.prefix(last);
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("tract {prefix:?} {spec:?}").as_bytes());
        let mut own = Weights::new();
        for parameter in prefix.parameters()? {
            let tensor = weights
                .get(&parameter.name)
                .context(parameter.name.clone())?;
            tensor.data.iter().for_each(|x| {
                hasher.update(&x.to_le_bytes());
            });
            own.insert(parameter.name, tensor.clone());
        }
        let (graph, weights) = passes::fold_batch_norm(&prefix, &own)?;
        let width = graph.shapes()?[graph.nodes.len() - 1].len();
        let onnx = encode(&graph, &weights, &Scheme::float(&graph))?;
        Ok(Backbone {
            extractor: Extractor::new(onnx, spec.size as usize, width)?,
            spec,
            key: hasher.finalize(),
        })
    }

    /// Computes what `folder` does not hold yet of all photos; [`Stopped`] if `stop` is set meanwhile.
    pub(crate) fn store(
        &self,
        photos: &Photos,
        views: &Views,
        folder: &Path,
        threads: usize,
        stop: &AtomicBool,
    ) -> Result<Stored> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))?;
        crate::checkpoint::remove_leftovers(folder)?;
        let width = self.extractor.width();
        let row_bytes = width * size_of::<f32>();
        let photos_per_file = (CHUNK_BYTES / (views.count * row_bytes)).clamp(1, CHUNK);
        let indices = |chunk: usize| -> Vec<usize> {
            let first = chunk * photos_per_file;
            (first..(first + photos_per_file).min(photos.len())).collect()
        };
        let count = photos.len().div_ceil(photos_per_file);
        let mut stored = Stored {
            files: Vec::with_capacity(count),
            rows_per_file: photos_per_file * views.count,
            rows: photos.len() * views.count,
            width,
        };
        let name = |chunk| self.chunk_path(photos, &indices(chunk), views, folder);
        let mut missing = 0;
        in_order(threads, count, name, |chunk, path| {
            let rows = indices(chunk).len() * views.count;
            if !is_there(&path, rows * row_bytes) {
                missing += (rows * row_bytes) as u64;
            }
            stored.files.push(path);
            Ok(())
        })?;
        check_room(folder, missing, free_bytes(folder))?;
        let progress = Progress::new("features", "images", stored.rows as u64);
        let make = |chunk: usize| {
            let (path, indices) = (&stored.files[chunk], indices(chunk));
            let rows = indices.len() * views.count;
            if is_there(path, rows * row_bytes) {
                progress.advance(rows as u64);
                return Ok(());
            }
            let found = self.compute(photos, &indices, views, &progress, stop)?;
            let bytes: Vec<u8> = found.iter().flat_map(|x| x.to_le_bytes()).collect();
            write_atomically(path, &bytes)
        };
        in_order(threads, count, make, |_, ()| Ok(()))?;
        progress.finish();
        Ok(stored)
    }

    fn chunk_path(
        &self,
        photos: &Photos,
        indices: &[usize],
        views: &Views,
        folder: &Path,
    ) -> Result<PathBuf> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.key.as_bytes());
        hasher.update(&(views.count as u64).to_le_bytes());
        if views.count > 2 {
            // Drawn views depend on the seed and on the photo's place.
            hasher.update(format!("{:?} {}", views.augment, views.seed).as_bytes());
            hasher.update(&(indices[0] as u64).to_le_bytes());
        }
        for &index in indices {
            let path = photos.path(index);
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            hasher.update(blake3::hash(&bytes).as_bytes());
        }
        Ok(folder.join(format!("{}.f32", &hasher.finalize().to_hex()[..32])))
    }

    fn compute(
        &self,
        photos: &Photos,
        indices: &[usize],
        views: &Views,
        progress: &Progress,
        stop: &AtomicBool,
    ) -> Result<Vec<f32>> {
        let looks = indices
            .iter()
            .flat_map(|&index| (0..views.count).map(move |view| (index, view)));
        let mut rows = Vec::new();
        for (index, view) in looks {
            if stop.load(Ordering::Relaxed) {
                bail!(Stopped);
            }
            let change = |_, width, height| views.change(index, view, width, height);
            let pixels = photos.batch(&[index], &self.spec, change)?.pixels;
            let input = normalize(&self.spec, &pixels)?;
            rows.extend(self.extractor.features(&input)?);
            progress.advance(1);
        }
        Ok(rows)
    }
}

impl Views<'_> {
    /// View 0 is the photo itself, 1 its mirror image, the rest are drawn.
    fn change(&self, index: usize, view: usize, width: u32, height: u32) -> Augmentation {
        match view {
            0 => Augmentation::NONE,
            1 => Augmentation::MIRRORED,
            _ => {
                // Epochs count up from 0 and never come here.
                let position = [u64::MAX - view as u64, index as u64, 0];
                let mut rng = generator(self.seed, Purpose::Augment, position);
                Augmentation::draw(self.augment, &mut rng, width, height)
            }
        }
    }
}

impl Stored {
    /// All rows, in memory.
    pub(crate) fn read(&self) -> Result<Features> {
        let mut rows = Vec::with_capacity(self.rows * self.width);
        for row in 0..self.rows {
            self.append(row, &mut rows)?;
        }
        let width = self.width;
        Ok(Features { rows, width })
    }
}

impl Rows for Stored {
    fn width(&self) -> usize {
        self.width
    }

    fn append(&self, row: usize, to: &mut Vec<f32>) -> Result<()> {
        let path = &self.files[row / self.rows_per_file];
        let mut bytes = vec![0; self.width * size_of::<f32>()];
        let place = (row % self.rows_per_file * bytes.len()) as u64;
        File::open(path)
            .and_then(|file| file.read_exact_at(&mut bytes, place))
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        let words = bytes.as_chunks::<4>().0.iter();
        to.extend(words.map(|&word| f32::from_le_bytes(word)));
        Ok(())
    }
}

impl Rows for Features {
    fn width(&self) -> usize {
        self.width
    }

    fn append(&self, row: usize, to: &mut Vec<f32>) -> Result<()> {
        to.extend_from_slice(&self.rows[row * self.width..(row + 1) * self.width]);
        Ok(())
    }
}

/// Files appear whole, so one of the right length is right.
fn is_there(path: &Path, bytes: usize) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() == bytes as u64)
}

/// What the disk of a folder has left; nothing where it does not say.
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Says how much will be written, or that it is too much.
fn check_room(folder: &Path, missing: u64, free: Option<u64>) -> Result<()> {
    let [needed, free_mib] = [missing, free.unwrap_or(u64::MAX)].map(|bytes| bytes >> 20);
    let shown = folder.display();
    ensure!(
        free.is_none_or(|free| missing < free),
        "{shown}: the features to keep take {needed} MiB, the disk has {free_mib} MiB free: make room, \
         freeze up to a later node, or store fewer views"
    );
    if needed > SAID_MIB {
        eprintln!("{shown}: {needed} MiB of features to compute and keep");
    }
    Ok(())
}

#[cfg(test)]
#[path = "features_tests.rs"]
mod tests;
