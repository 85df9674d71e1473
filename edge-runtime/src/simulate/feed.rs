//! The pictures that travel on the simulated belt.

use crate::capture::simulated::Feed;
use anyhow::{Context, bail};
use models::LabelSet;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use simulator::{Picture, drawn};
use std::path::{Path, PathBuf};

/// Drawn items, so many of them.
pub(crate) struct DrawnFeed {
    rng: ChaCha8Rng,
    left: usize,
}

impl DrawnFeed {
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0xD2A3),
            left: count,
        }
    }
}

impl Feed for DrawnFeed {
    fn next_picture(&mut self) -> Result<Option<Picture>, String> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let item = self.rng.random_range(0..drawn::labels().len());
        Ok(Some(drawn::picture(item, self.rng.random())))
    }
}

/// Photos in a seeded order, over and over until there were enough.
pub(crate) struct PhotoFeed {
    /// Path and item.
    photos: Vec<(PathBuf, usize)>,
    rng: ChaCha8Rng,
    next: usize,
    left: usize,
}

/// Photos lie on the belt this large.
const PHOTO_MM: (f64, f64) = (120.0, 160.0);

impl PhotoFeed {
    /// Reads the folder; returns the label set of its photos too.
    pub(crate) fn open(
        folder: &Path,
        split: Option<&str>,
        bundle: &LabelSet,
        (seed, count): (u64, usize),
    ) -> anyhow::Result<(Self, LabelSet)> {
        // A folder in the contest's form has ids only, which mean the bundle's own items.
        let mut data =
            dataset::read(folder, None).or_else(|_| dataset::read(folder, Some(bundle)))?;
        if let Some(split) = split {
            data = data.subset(split)?;
        }
        let mut photos: Vec<(PathBuf, usize)> = data
            .samples
            .iter()
            .map(|s| (data.path(s), s.item))
            .collect();
        if photos.is_empty() {
            bail!("{}: there are no photos in it", folder.display());
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xF070);
        photos.shuffle(&mut rng);
        let feed = Self {
            photos,
            rng,
            next: 0,
            left: count,
        };
        Ok((feed, data.labels))
    }
}

impl Feed for PhotoFeed {
    fn next_picture(&mut self) -> Result<Option<Picture>, String> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let (path, item) = &self.photos[self.next % self.photos.len()];
        self.next += 1;
        let photo = dataset::decode(path)
            .with_context(|| path.display().to_string())
            .map_err(|error| format!("{error:#}"))?;
        let size_mm = self.rng.random_range(PHOTO_MM.0..PHOTO_MM.1);
        Ok(Some(Picture::photo(&photo, *item, size_mm)))
    }
}
