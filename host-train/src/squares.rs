//! Photos preprocessed once, and what bundles say about them.

use anyhow::{Context, Result};
use dataset::Dataset;
use inference::Classifier;
use models::{Bundle, LabelSet, PreprocessSpec, Preprocessor};

use crate::augment::Augmentation;
use crate::calibrate::category_scores;
use crate::loader::{Photos, in_order, square_len};
use crate::progress::Progress;
use crate::step::highest;

/// Preprocessed photos in memory: 3 bytes a pixel, 150 kB a photo of 224 x 224.
pub(crate) struct Squares {
    pub(crate) items: Vec<usize>,
    spec: PreprocessSpec,
    pixels: Vec<u8>,
    threads: usize,
}

impl Squares {
    /// Reads them; all that is done with them is done on so many threads.
    pub(crate) fn read(data: &Dataset, spec: &PreprocessSpec, threads: usize) -> Result<Squares> {
        let photos = Photos::new(data, 0);
        let progress = Progress::new("reading", "photos", photos.len() as u64);
        let mut pixels = Vec::with_capacity(photos.len() * square_len(spec));
        let read = |index: usize| {
            let mut square = vec![0; square_len(spec)];
            let mut preprocessor = Preprocessor::new(*spec)?;
            photos.square(
                index,
                &mut preprocessor,
                |_, _| Augmentation::NONE,
                &mut square,
            )?;
            progress.advance(1);
            Ok(square)
        };
        in_order(threads, photos.len(), read, |_, square| {
            pixels.extend(square);
            Ok(())
        })?;
        progress.finish();
        Ok(Squares {
            items: photos.items().to_vec(),
            spec: *spec,
            pixels,
            threads,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// At most so many of them, from all over.
    pub(crate) fn some(&self, count: usize) -> Squares {
        let count = count.min(self.len());
        let chosen: Vec<usize> = (0..count).map(|n| n * self.len() / count).collect();
        let pixels = chosen.iter().flat_map(|&index| self.square(index));
        Squares {
            items: chosen.iter().map(|&index| self.items[index]).collect(),
            spec: self.spec,
            pixels: pixels.copied().collect(),
            threads: self.threads,
        }
    }

    /// A preprocessed photo.
    pub(crate) fn square(&self, index: usize) -> &[u8] {
        let size = square_len(&self.spec);
        &self.pixels[index * size..][..size]
    }

    /// What a network takes for a photo: channels x rows x columns.
    pub(crate) fn numbers(&self, index: usize) -> Result<Vec<f32>> {
        let square = self.square(index);
        let mut numbers = vec![0.0; square.len()];
        self.spec.normalize(square, &mut numbers)?;
        Ok(numbers)
    }

    /// Makes something of every photo, in order.
    pub(crate) fn each<T: Send>(
        &self,
        make: impl Fn(usize) -> Result<T> + Sync,
        take: impl FnMut(usize, T) -> Result<()>,
    ) -> Result<()> {
        in_order(self.threads, self.len(), make, take)
    }

    /// Makes something of every `size` photos, in order; `make` gets the number of the part.
    pub(crate) fn parts<T: Send>(
        &self,
        size: usize,
        make: impl Fn(usize) -> Result<T> + Sync,
        take: impl FnMut(usize, T) -> Result<()>,
    ) -> Result<()> {
        in_order(self.threads, self.len().div_ceil(size), make, take)
    }

    /// The scores of what is going to run, through the code that is going to run it.
    pub(crate) fn scores(&self, bundle: &Bundle, progress: &Progress) -> Result<Vec<Vec<f32>>> {
        let parts = self.threads.min(self.len());
        let mut all = vec![Vec::new(); self.len()];
        let measure = |part: usize| {
            let mut classifier = Classifier::new(bundle, 1)?;
            let mut scores = Vec::new();
            for index in (part..self.len()).step_by(parts) {
                let verdict = classifier
                    .classify_tensor(&self.numbers(index)?)
                    .with_context(|| format!("photo {index}"))?;
                scores.push(verdict.item_scores.clone());
                progress.advance(1);
            }
            Ok(scores)
        };
        in_order(parts, parts, measure, |part, scores| {
            for (index, row) in scores.into_iter().enumerate() {
                all[index * parts + part] = row;
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// How many photos have the right item, and how many the right category.
    pub(crate) fn right(&self, scores: &[Vec<f32>], labels: &LabelSet) -> [usize; 2] {
        let photos = || scores.iter().zip(&self.items);
        let category = |row: &[f32]| highest(&category_scores(row, labels));
        [
            photos()
                .filter(|(row, item)| highest(row) == **item)
                .count(),
            photos()
                .filter(|(row, item)| category(row) == labels.category_of(**item))
                .count(),
        ]
    }
}
