//! The features of a frozen backbone, computed once per photo and kept on disk.
//!
//! A file holds the features of up to [`CHUNK`] photos in all their views, as plain `f32`. Its name is
//! a hash of all that they depend on (backbone, preprocessing, views, the photos' bytes), so a file
//! is right or not there, and runs may share a folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
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

/// Photos per file.
const CHUNK: usize = 64;

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

/// Features of photos: for every photo one row per view.
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
            extractor: Extractor::new(&onnx, spec.size as usize, width)?,
            spec,
            key: hasher.finalize(),
        })
    }

    /// The features of all photos, from `folder` as far as they are there; [`Stopped`] if `stop` is set
    /// meanwhile.
    pub(crate) fn features(
        &self,
        photos: &Photos,
        views: &Views,
        folder: &Path,
        threads: usize,
        stop: &AtomicBool,
    ) -> Result<Features> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))?;
        crate::checkpoint::remove_leftovers(folder)?;
        let width = self.extractor.width();
        let progress = Progress::new("features", "images", (photos.len() * views.count) as u64);
        let mut rows = Vec::with_capacity(photos.len() * views.count * width);
        let make = |chunk: usize| {
            let indices: Vec<usize> =
                (chunk * CHUNK..((chunk + 1) * CHUNK).min(photos.len())).collect();
            let path = self.chunk_path(photos, &indices, views, folder)?;
            let expected = indices.len() * views.count * width;
            if let Some(known) = read(&path, expected) {
                progress.advance((indices.len() * views.count) as u64);
                return Ok(known);
            }
            let found = self.compute(photos, &indices, views, &progress, stop)?;
            let bytes: Vec<u8> = found.iter().flat_map(|x| x.to_le_bytes()).collect();
            write_atomically(&path, &bytes)?;
            Ok(found)
        };
        in_order(threads, photos.len().div_ceil(CHUNK), make, |_, chunk| {
            rows.extend_from_slice(&chunk);
            Ok(())
        })?;
        progress.finish();
        Ok(Features { rows, width })
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

fn read(path: &Path, expected: usize) -> Option<Vec<f32>> {
    let bytes = std::fs::read(path).ok()?;
    let (words, rest) = bytes.as_chunks::<4>();
    let whole = words.len() == expected && rest.is_empty();
    whole.then(|| words.iter().map(|&word| f32::from_le_bytes(word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Backend;
    use crate::network::{Mode, Network};
    use crate::trainer::device;
    use crate::value::Value;
    use models::{reference, zoo};

    #[test]
    fn features_are_those_of_burn() {
        for name in [
            "mobilenet-v2-0.35",
            "efficientnet-lite0",
            "se-resnet50",
            "mobilenet-v3-small",
        ] {
            let graph = zoo::build(name, 5, Some(64)).unwrap();
            let weights = crate::initialize::initialize(&graph, 7).unwrap();
            let node = graph.feature_node().unwrap();
            let spec = zoo::preprocess(name, Some(64)).unwrap();
            let backbone = Backbone::new(&graph, &weights, node, spec).unwrap();
            let device = device(Backend::Flex);
            let network = Network::new(graph.clone(), &weights, &device).unwrap();
            for seed in 0..2 {
                let image = reference::random_input(&graph, seed);
                let found = backbone.extractor.features(&image).unwrap();
                let input = Value::new(image, network.shape(0), &device);
                let (expected, _) = network.run(0, node, input, Mode::Inference);
                let expected = expected.floats();
                assert_eq!(found.len(), expected.len());
                let largest = expected.iter().fold(1.0f32, |most, x| most.max(x.abs()));
                for (found, expected) in found.iter().zip(&expected) {
                    let apart = (found - expected).abs();
                    assert!(apart <= 1e-4 * largest, "{name}: {found} {expected}");
                }
            }
        }
    }
}
