//! The state of a run on disk.
//!
//! A checkpoint file is `SLCHKPT2`, the BLAKE3 hash of the rest, and the rest as postcard. Files
//! appear whole or not at all: written beside their place, flushed to the disk, then renamed.

mod scaler;
mod store;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use models::{Graph, Tensor, Weights};
use serde::{Deserialize, Serialize};

pub(crate) use scaler::Scaler;
pub(crate) use store::{Store, ensure_writable, remove_leftovers, write_atomically};

use crate::discriminant::Discriminant;
use crate::trainer::classifier;

const MAGIC: &[u8; 8] = b"SLCHKPT2";
const HASH_BYTES: usize = 32;

/// Everything that a run needs to go on as if it had never stopped. Random numbers follow from the
/// seed and the counters here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Hash of the data that is learned from.
    pub(crate) data_hash: String,
    /// Finished epochs, over all stages.
    pub(crate) epochs: u32,
    /// Steps taken, over all stages.
    pub(crate) steps: u64,
    /// The weights as they train; see `scaler`.
    #[serde(with = "named_tensors")]
    pub(crate) weights: Weights,
    /// The moving average of the weights of this stage, which is what was validated; empty where none
    /// is kept.
    #[serde(with = "named_tensors")]
    pub(crate) average: Weights,
    /// Where the classifier trains on scaled features: how they are scaled.
    pub(crate) scaler: Option<Scaler>,
    /// What is added to the classifier that trains.
    pub(crate) discriminant: Option<Discriminant>,
    /// The optimizer's state; empty at the start of a stage.
    pub(crate) optimizer: Vec<u8>,
    /// One entry per finished epoch.
    pub(crate) history: Vec<Epoch>,
}

/// What was measured in one epoch; a row of `metrics.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    /// From 1.
    pub(crate) epoch: u32,
    /// `head`, `full` or `refit`.
    pub(crate) stage: String,
    /// Learning rate at the end.
    pub(crate) lr: f64,
    pub(crate) train_loss: f64,
    pub(crate) train_accuracy: f64,
    pub(crate) val_loss: Option<f64>,
    pub(crate) val_item_accuracy: Option<f64>,
    pub(crate) val_category_accuracy: Option<f64>,
    pub(crate) seconds: f64,
}

impl Checkpoint {
    /// The weights as the network alone needs them: with the discriminant added to the classifier and
    /// the scaling of features folded into it.
    pub(crate) fn network_weights(&self, graph: &Graph) -> Weights {
        let mut weights = match self.average.is_empty() {
            true => self.weights.clone(),
            false => self.average.clone(),
        };
        if let Some(discriminant) = &self.discriminant {
            discriminant.add_to(&mut weights, classifier(graph));
        }
        if let Some(scaler) = &self.scaler {
            scaler.fold_into(&mut weights, classifier(graph));
        }
        weights
    }

    /// Whether `self`, the later one, is at least as good on validation: as many items right. A later
    /// state has learned at lower rates, so it wins where both are equal or nothing was validated.
    pub(crate) fn is_as_good_as(&self, earlier: &Checkpoint) -> bool {
        let right = |checkpoint: &Checkpoint| checkpoint.history.last()?.val_item_accuracy;
        match (right(self), right(earlier)) {
            (Some(ours), Some(theirs)) => ours >= theirs,
            _ => true,
        }
    }

    /// `epoch-0012-acc-0.9557`: the epoch, and the part of the validation photos whose item was right,
    /// where there are any.
    fn name(&self) -> String {
        let accuracy = self.history.last().and_then(|e| e.val_item_accuracy);
        let accuracy = accuracy.map_or_else(String::new, |part| format!("-acc-{part:.4}"));
        format!("epoch-{:04}{accuracy}", self.epochs)
    }

    /// Writes the file.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let body = postcard::to_stdvec(self).context("a checkpoint cannot be encoded")?;
        let mut bytes = Vec::with_capacity(body.len() + MAGIC.len() + HASH_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(blake3::hash(&body).as_bytes());
        bytes.extend_from_slice(&body);
        write_atomically(path, &bytes)
    }

    /// Reads the file.
    pub(crate) fn open(path: &Path) -> Result<Checkpoint> {
        let bytes =
            fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        let damaged = || {
            format!(
                "{}: not a whole checkpoint, or one of another version; without it an earlier one is \
                 gone on from",
                path.display()
            )
        };
        let body = bytes.strip_prefix(MAGIC).with_context(damaged)?;
        let (hash, body) = body
            .split_first_chunk::<HASH_BYTES>()
            .with_context(damaged)?;
        ensure!(
            blake3::hash(body) == blake3::Hash::from_bytes(*hash),
            damaged()
        );
        postcard::from_bytes(body).with_context(damaged)
    }
}

/// The weights of a run as `--checkpoint` names them.
pub(crate) fn pick(run: &Path, which: &str) -> Result<Checkpoint> {
    let store = Store {
        folder: run.join("checkpoints"),
    };
    let found = match which {
        "best" => store.best()?,
        "last" => store.latest()?,
        _ => bail!("{which:?} is no checkpoint: it is \"best\" or \"last\""),
    };
    found.with_context(|| format!("{}: the run has no checkpoint yet", run.display()))
}

mod named_tensors {
    use super::{Tensor, Weights};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(weights: &Weights, to: S) -> Result<S::Ok, S::Error> {
        let list: Vec<(&String, &Vec<usize>, &Vec<f32>)> = weights
            .iter()
            .map(|(name, tensor)| (name, &tensor.shape, &tensor.data))
            .collect();
        list.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Weights, D::Error> {
        let list: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::deserialize(from)?;
        Ok(list
            .into_iter()
            .map(|(name, shape, data)| (name, Tensor { shape, data }))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(epochs: u32, accuracy: Option<f64>) -> Checkpoint {
        let matrix = Tensor {
            shape: vec![2, 3],
            data: vec![1.0, -2.0, 0.5, 4.0, 0.25, -1.0],
        };
        let bias = Tensor {
            shape: vec![2],
            data: vec![0.5, -0.5],
        };
        Checkpoint {
            data_hash: "00".into(),
            epochs,
            steps: 7,
            weights: [("c.weight".to_owned(), matrix), ("c.bias".to_owned(), bias)].into(),
            average: Weights::new(),
            scaler: None,
            discriminant: None,
            optimizer: vec![1, 2, 3],
            history: vec![Epoch {
                epoch: epochs,
                stage: "head".into(),
                lr: 0.1,
                train_loss: 1.0,
                train_accuracy: 0.5,
                val_loss: accuracy.map(|_| 1.0),
                val_item_accuracy: accuracy,
                val_category_accuracy: accuracy,
                seconds: 2.0,
            }],
        }
    }

    #[test]
    fn a_file_holds_all_of_it_and_damage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.checkpoint");
        let saved = checkpoint(3, Some(0.5));
        saved.save(&path).unwrap();
        assert_eq!(Checkpoint::open(&path).unwrap(), saved);
        let bytes = fs::read(&path).unwrap();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 4;
            fs::write(&path, &damaged).unwrap();
            assert!(Checkpoint::open(&path).is_err(), "byte {place}");
            fs::write(&path, &bytes[..place]).unwrap();
            assert!(Checkpoint::open(&path).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn the_latest_are_kept_and_leftovers_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path()).unwrap();
        assert_eq!(store.latest().unwrap(), None);
        for epoch in [1, 2, 10] {
            store.save(&checkpoint(epoch, None), 2).unwrap();
        }
        let names = || {
            let files = fs::read_dir(folder.path().join("checkpoints")).unwrap();
            let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["epoch-0002.ckpt", "epoch-0010.ckpt"]);
        assert_eq!(store.latest().unwrap().unwrap().epochs, 10);
        assert_eq!(store.best().unwrap(), None);
        for (epoch, accuracy) in [(9, 0.5), (11, 0.95567), (12345, 1.0)] {
            let state = checkpoint(epoch, Some(accuracy));
            store.save(&state, 1).unwrap();
            store.save_best(&state).unwrap();
            assert_eq!(store.best().unwrap(), Some(state));
        }
        let latest = "epoch-12345-acc-1.0000.ckpt";
        assert_eq!(names(), [&format!("best-{latest}"), latest]);
        let leftover = folder.path().join("checkpoints/.epoch-0011.ckpt.tmp");
        fs::write(&leftover, "half").unwrap();
        Store::new(folder.path()).unwrap();
        assert!(!leftover.exists());
    }

    #[test]
    fn the_later_of_equally_good_ones_is_the_best() {
        let better = |later: Option<f64>, earlier: Option<f64>| {
            checkpoint(2, later).is_as_good_as(&checkpoint(1, earlier))
        };
        assert!(better(Some(0.9), Some(0.8)));
        assert!(better(Some(0.8), Some(0.8)));
        assert!(!better(Some(0.7), Some(0.8)));
        assert!(better(None, None));
    }

    #[test]
    fn a_classifier_of_scaled_features_is_one_of_unscaled_features() {
        let features = [3.0f32, -1.0, 0.5, 5.0, 1.0, 0.5, 4.0, 6.0, 0.5];
        let scaler = Scaler::measure(&features, 3);
        // The third feature never changes.
        assert_eq!((scaler.mean[2], scaler.deviation[2]), (0.5, 1.0));
        let weights = checkpoint(1, None).weights;
        let outputs = |weights: &Weights, row: &[f32]| -> Vec<f32> {
            let lines = weights["c.weight"]
                .data
                .chunks(3)
                .zip(&weights["c.bias"].data);
            lines
                .map(|(w, b)| b + w.iter().zip(row).map(|(w, x)| w * x).sum::<f32>())
                .collect()
        };
        let mut folded = weights.clone();
        scaler.fold_into(&mut folded, "c");
        let mut unfolded = folded.clone();
        scaler.unfold_from(&mut unfolded, "c");
        for row in features.chunks(3) {
            let mut scaled = row.to_vec();
            scaler.apply(&mut scaled);
            let expected = outputs(&weights, &scaled);
            for other in [outputs(&folded, row), outputs(&unfolded, &scaled)] {
                assert!(
                    expected
                        .iter()
                        .zip(&other)
                        .all(|(a, b)| (a - b).abs() < 1e-5)
                );
            }
        }
    }
}
