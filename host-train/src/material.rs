//! What a stage of training learns from: stored features or photos.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::Device;
use models::{LabelSet, PreprocessSpec, passes};
use rand::Rng;

use crate::augment::Augmentation;
use crate::config::AugmentConfig;
use crate::discriminant::Discriminant;
use crate::features;
use crate::loader::{Photos, in_order, normalize, square_len};
use crate::mix::mix;
use crate::network::Network;
use crate::random::{Purpose, generator};
use crate::step::{Score, Target, predict, score};

/// Values of stored features that are validated together.
const VALIDATION_VALUES: usize = 1 << 20;

/// Images that are validated together.
const VALIDATION_BATCH: usize = 8;

/// The numbers of a range of rows of a batch.
pub(crate) type Rows<'a> = dyn Fn(Range<usize>) -> Result<Vec<f32>> + Sync + 'a;

/// Called with the targets of a batch and its numbers.
pub(crate) type Learn<'a> = dyn FnMut(&[Target], &Rows) -> Result<()> + 'a;

/// What a stage learns from.
pub(crate) trait Material {
    /// The item of every photo.
    fn items(&self) -> &[usize];

    /// Hands over batches, given as rows, in their order.
    fn each_batch(&self, epoch: u32, batches: &[&[usize]], learn: &mut Learn) -> Result<()>;

    /// How good the network is on the validation photos; nothing where there are none.
    fn validate(&self, network: &Network) -> Result<Option<Score>>;
}

/// The outputs of a frozen node: in every epoch one of the views of each photo.
pub(crate) struct StoredFeatures {
    pub(crate) node: usize,
    pub(crate) train: Box<dyn features::Rows>,
    /// Views per photo in `train`.
    pub(crate) views: usize,
    /// The item of each photo.
    pub(crate) train_items: Vec<usize>,
    pub(crate) validation: Box<dyn features::Rows>,
    pub(crate) validation_items: Vec<usize>,
    /// Added to what is trained, see [`Discriminant`].
    pub(crate) discriminant: Option<Discriminant>,
    pub(crate) labels: LabelSet,
    pub(crate) device: Device,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
}

impl Material for StoredFeatures {
    fn items(&self) -> &[usize] {
        &self.train_items
    }

    fn each_batch(&self, epoch: u32, batches: &[&[usize]], learn: &mut Learn) -> Result<()> {
        let row = |photo: usize| {
            let position = [u64::from(epoch), photo as u64, 0];
            let draw = generator(self.seed, Purpose::Augment, position).next_u64();
            photo * self.views + (draw % self.views as u64) as usize
        };
        for batch in batches {
            let target = |&photo: &usize| Target::new(self.train_items[photo]);
            let targets: Vec<Target> = batch.iter().map(target).collect();
            let rows = |range: Range<usize>| {
                read(&*self.train, batch[range].iter().map(|&photo| row(photo)))
            };
            learn(&targets, &rows)?;
        }
        Ok(())
    }

    fn validate(&self, network: &Network) -> Result<Option<Score>> {
        let count = self.validation_items.len();
        if count == 0 {
            return Ok(None);
        }
        let ends = [self.node, network.graph().nodes.len() - 1];
        let part = (VALIDATION_VALUES / self.validation.width()).clamp(1, count);
        let rows = |range: Range<usize>| read(&*self.validation, range);
        let (device, threads) = (&self.device, self.threads);
        let mut logits = predict(network, device, ends, threads, count, part, rows)?;
        if let Some(discriminant) = &self.discriminant {
            discriminant.add_outputs(&rows(0..count)?, &mut logits);
        }
        Ok(Some(score(&logits, &self.validation_items, &self.labels)))
    }
}

/// The values of these rows.
fn read(from: &dyn features::Rows, rows: impl Iterator<Item = usize>) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    for row in rows {
        from.append(row, &mut values)?;
    }
    Ok(values)
}

/// Photos, decoded and augmented on other threads.
pub(crate) struct Images {
    pub(crate) train: Arc<Photos>,
    pub(crate) validation: Arc<Photos>,
    pub(crate) spec: PreprocessSpec,
    pub(crate) augment: AugmentConfig,
    pub(crate) labels: LabelSet,
    pub(crate) device: Device,
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) threads: usize,
}

impl Material for Images {
    fn items(&self) -> &[usize] {
        self.train.items()
    }

    fn each_batch(&self, epoch: u32, batches: &[&[usize]], learn: &mut Learn) -> Result<()> {
        let change = |index: usize, width, height| {
            let position = [u64::from(epoch), index as u64, 0];
            let mut rng = generator(self.seed, Purpose::Augment, position);
            Augmentation::draw(&self.augment, &mut rng, width, height)
        };
        let make = |batch: usize| {
            let photos = self.train.batch(batches[batch], &self.spec, change)?;
            let position = [u64::from(epoch), batch as u64, 0];
            let mut rng = generator(self.seed, Purpose::Mix, position);
            Ok(mix(photos, &self.augment, &self.spec, &mut rng))
        };
        let size = square_len(&self.spec);
        in_order(self.workers, batches.len(), make, |_, batch| {
            let rows = |range: Range<usize>| {
                normalize(
                    &self.spec,
                    &batch.pixels[range.start * size..range.end * size],
                )
            };
            learn(&batch.targets, &rows)
        })
    }

    fn validate(&self, network: &Network) -> Result<Option<Score>> {
        let count = self.validation.len();
        if count == 0 {
            return Ok(None);
        }
        let logits = self.logits(network, &self.validation)?;
        let items: Vec<usize> = (0..count)
            .map(|index| self.validation.item(index))
            .collect();
        Ok(Some(score(&logits, &items, &self.labels)))
    }
}

impl Images {
    /// The network's outputs for photos as they are.
    fn logits(&self, network: &Network, photos: &Photos) -> Result<Vec<f32>> {
        let (graph, weights) = passes::fold_batch_norm(network.graph(), &network.weights())?;
        let folded = Network::new(graph, &weights, &self.device)?;
        let ends = [0, folded.graph().nodes.len() - 1];
        let rows = |range: Range<usize>| {
            let indices: Vec<usize> = range.collect();
            let batch = photos.batch(&indices, &self.spec, |_, _, _| Augmentation::NONE)?;
            normalize(&self.spec, &batch.pixels)
        };
        let count = photos.len();
        predict(
            &folded,
            &self.device,
            ends,
            self.threads,
            count,
            VALIDATION_BATCH,
            rows,
        )
    }
}
