//! Photos to batches, on other threads than those that compute.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use anyhow::{Context, Result};
use dataset::Dataset;
use image::RgbImage;
use models::{PreprocessSpec, Preprocessor, RgbView};

use crate::augment::Augmentation;

/// The photos of one split; decoded ones stay in memory as long as there is room.
pub(crate) struct Photos {
    paths: Vec<PathBuf>,
    items: Vec<usize>,
    decoded: Vec<OnceLock<RgbImage>>,
    /// Bytes that may still be kept.
    room: AtomicU64,
}

/// Preprocessed photos with their items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Packed RGB squares, one after the other.
    pub(crate) pixels: Vec<u8>,
    /// The item of each.
    pub(crate) items: Vec<usize>,
}

impl Photos {
    /// The photos of `data`, keeping up to `memory_bytes` of them decoded.
    pub(crate) fn new(data: &Dataset, memory_bytes: u64) -> Photos {
        Photos {
            paths: data
                .samples
                .iter()
                .map(|sample| data.path(sample))
                .collect(),
            items: data.samples.iter().map(|sample| sample.item).collect(),
            decoded: data.samples.iter().map(|_| OnceLock::new()).collect(),
            room: AtomicU64::new(memory_bytes),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    /// The item of a photo.
    pub(crate) fn item(&self, index: usize) -> usize {
        self.items[index]
    }

    /// The items of all photos.
    pub(crate) fn items(&self) -> &[usize] {
        &self.items
    }

    /// The file of a photo.
    pub(crate) fn path(&self, index: usize) -> &PathBuf {
        &self.paths[index]
    }

    /// A photo, decoded now or before.
    pub(crate) fn decode(&self, index: usize) -> Result<Cow<'_, RgbImage>> {
        if let Some(photo) = self.decoded[index].get() {
            return Ok(Cow::Borrowed(photo));
        }
        let path = &self.paths[index];
        let photo = dataset::decode(path).with_context(|| path.display().to_string())?;
        let size = photo.as_raw().len() as u64;
        let take = |room: u64| room.checked_sub(size);
        match self
            .room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        {
            Ok(_) => Ok(Cow::Borrowed(self.decoded[index].get_or_init(|| photo))),
            Err(_) => Ok(Cow::Owned(photo)),
        }
    }

    /// One photo after a change, as a preprocessed square.
    pub(crate) fn square(
        &self,
        index: usize,
        preprocessor: &mut Preprocessor,
        change: impl FnOnce(u32, u32) -> Augmentation,
        out: &mut [u8],
    ) -> Result<()> {
        let photo = self.decode(index)?;
        let (width, height) = photo.dimensions();
        let name = || self.paths[index].display().to_string();
        let view = RgbView::new(photo.as_raw(), width, height).with_context(name)?;
        change(width, height)
            .apply(preprocessor, view, out)
            .with_context(name)
    }

    /// A batch of these photos, each changed as `change(index, width, height)` says.
    pub(crate) fn batch(
        &self,
        indices: &[usize],
        spec: &PreprocessSpec,
        change: impl Fn(usize, u32, u32) -> Augmentation,
    ) -> Result<Batch> {
        let mut preprocessor = Preprocessor::new(*spec)?;
        let size = square_len(spec);
        let mut pixels = vec![0; indices.len() * size];
        for (&index, square) in indices.iter().zip(pixels.chunks_exact_mut(size)) {
            self.square(index, &mut preprocessor, |w, h| change(index, w, h), square)?;
        }
        Ok(Batch {
            pixels,
            items: indices.iter().map(|&index| self.items[index]).collect(),
        })
    }
}

/// Bytes of a preprocessed square.
pub(crate) fn square_len(spec: &PreprocessSpec) -> usize {
    spec.size as usize * spec.size as usize * 3
}

/// Squares to the numbers that a network takes.
pub(crate) fn normalize(spec: &PreprocessSpec, pixels: &[u8]) -> Result<Vec<f32>> {
    let mut numbers = vec![0.0; pixels.len()];
    let size = square_len(spec);
    for (square, out) in pixels
        .chunks_exact(size)
        .zip(numbers.chunks_exact_mut(size))
    {
        spec.normalize(square, out)?;
    }
    Ok(numbers)
}

/// Makes `count` things on `workers` threads and hands them over in order, while only a few are
/// waiting. Stops at the first error.
///
/// Each thread is a rayon pool of its own with one worker: what burn splits with rayon stays on that
/// thread. So all cores are in use without threads that wait for each other, and sums are always
/// formed in the same order, which rayon's own splitting does not grant.
pub(crate) fn in_order<T: Send>(
    workers: usize,
    count: usize,
    make: impl Fn(usize) -> Result<T> + Sync,
    mut take: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = sync_channel::<(usize, Result<T>)>(workers);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(count) {
            let (sender, next, make) = (sender.clone(), &next, &make);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    // The receiver hangs up when `take` has failed.
                    let made = || pool.install(|| make(index));
                    if index >= count || sender.send((index, made())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut wanted = 0;
        let result = receiver.iter().try_for_each(|(index, thing)| {
            early.insert(index, thing);
            while let Some(thing) = early.remove(&wanted) {
                take(wanted, thing?)?;
                wanted += 1;
            }
            Ok(())
        });
        drop(receiver);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_order_whatever_the_number_of_workers() {
        for workers in [1, 2, 7] {
            let mut taken = Vec::new();
            let make = |index: usize| {
                std::thread::sleep(std::time::Duration::from_micros(
                    ((index * 7) % 5) as u64 * 50,
                ));
                Ok(index * index)
            };
            in_order(workers, 50, make, |index, thing| {
                taken.push((index, thing));
                Ok(())
            })
            .unwrap();
            assert_eq!(taken, (0..50).map(|i| (i, i * i)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_of_either_side_ends_it() {
        let make = |index: usize| {
            anyhow::ensure!(index != 13, "unlucky");
            Ok(index)
        };
        let failed = in_order(3, 100, make, |_, _| Ok(())).unwrap_err();
        assert_eq!(failed.to_string(), "unlucky");
        let failed = in_order(3, 100, Ok, |index, _| {
            anyhow::ensure!(index < 5, "enough");
            Ok(())
        });
        assert_eq!(failed.unwrap_err().to_string(), "enough");
    }
}
