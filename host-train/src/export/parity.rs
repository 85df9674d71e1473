//! The proof that an exported network computes what was trained.
//!
//! burn and tract add up in different orders, so that their logits differ by rounding. Where they differ by
//! more than is usual, one photo is computed exactly: a fault shows in one of the two, rounding in both.

use std::ops::Range;

use anyhow::{Result, bail, ensure};
use dataset::Dataset;
use models::reference;
use tract_onnx::prelude::*;

use super::Trained;
use crate::augment::Augmentation;
use crate::loader::{Photos, in_order, normalize, square_len};
use crate::network::Network;
use crate::random::{Purpose, generator};
use crate::step::{highest, predict};
use crate::trainer::device;

/// Images that both sides compute.
const IMAGES: usize = 64;
/// Images that go through burn together.
const BATCH: usize = 8;
/// Largest difference of two logits that rounding explains in any network, relative to the largest logit
/// (or 1).
const USUAL: f32 = 1e-3;
/// How far from exact logits rounding may take those of a network that is of use, relative likewise.
const TOLERABLE: f32 = 1e-2;
/// Rounding takes burn and tract so much further from exact logits than the other at most.
const LOPSIDED: f32 = 10.0;

impl Trained {
    /// Compares burn's outputs with those of the exported network in tract.
    pub(super) fn prove_parity(&self, onnx: &[u8], photos: Option<&Dataset>) -> Result<()> {
        let pixels = match photos {
            Some(data) => self.spread(data)?,
            None => self.noise(),
        };
        let numbers = normalize(&self.spec, &pixels)?;
        let count = numbers.len() / square_len(&self.spec);
        let ours = self.burn_outputs(&numbers, count)?;
        let theirs = self.tract_outputs(onnx, &numbers)?;
        let classes = self.labels.len();
        let rows = || ours.chunks_exact(classes).zip(theirs.chunks_exact(classes));
        let distances: Vec<f32> = rows().map(|(ours, theirs)| apart(ours, theirs)).collect();
        let (worst, largest) = distances
            .iter()
            .copied()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or_default();
        let scale = ours.iter().fold(1.0f32, |most, x| most.max(x.abs()));
        let same = rows().filter(|(ours, theirs)| highest(ours) == highest(theirs));
        say!(
            "parity of burn and the exported network in tract on {count} {}: largest difference of \
             two logits {largest:.2e} (largest logit {scale:.1}), same item on {} of {count}",
            if photos.is_some() {
                "photos"
            } else {
                "random images (the photos are gone)"
            },
            same.count()
        );
        if largest <= USUAL * scale {
            return Ok(());
        }
        let image = &numbers[worst * square_len(&self.spec)..][..square_len(&self.spec)];
        let exact = reference::run(&self.graph, &self.weights, image)?;
        let row = worst * classes..(worst + 1) * classes;
        let far = [&ours[row.clone()], &theirs[row]].map(|row| apart(row, &exact));
        say!(
            "against exact logits of that image: burn {:.2e}, tract {:.2e}",
            far[0],
            far[1]
        );
        judge(far, scale)
    }

    /// Some photos from all over the data, preprocessed.
    fn spread(&self, data: &Dataset) -> Result<Vec<u8>> {
        let photos = Photos::new(data, 0);
        let count = photos.len().min(IMAGES);
        let indices: Vec<usize> = (0..count).map(|n| n * photos.len() / count).collect();
        Ok(photos
            .batch(&indices, &self.spec, |_, _, _| Augmentation::NONE)?
            .pixels)
    }

    fn noise(&self) -> Vec<u8> {
        let mut pixels = vec![0; IMAGES * square_len(&self.spec)];
        for (index, square) in pixels.chunks_exact_mut(square_len(&self.spec)).enumerate() {
            let position = [index as u64, 0, 0];
            let mut rng = generator(self.config.seed, Purpose::Parity, position);
            rand::Rng::fill_bytes(&mut rng, square);
        }
        pixels
    }

    fn burn_outputs(&self, numbers: &[f32], count: usize) -> Result<Vec<f32>> {
        let device = device(self.config.backend);
        let network = Network::new(self.graph.clone(), &self.weights, &device)?;
        let size = square_len(&self.spec);
        let rows = |range: Range<usize>| Ok(numbers[range.start * size..range.end * size].to_vec());
        let ends = [0, self.graph.nodes.len() - 1];
        predict(
            &network,
            &device,
            ends,
            self.config.threads,
            count,
            BATCH,
            rows,
        )
    }

    fn tract_outputs(&self, onnx: &[u8], numbers: &[f32]) -> Result<Vec<f32>> {
        let side = self.spec.size as usize;
        let mut bytes = onnx;
        let model = tract_onnx::onnx()
            .model_for_read(&mut bytes)?
            .with_input_fact(0, f32::fact([1, 3, side, side]).into())?
            .into_optimized()?
            .into_runnable()?;
        let images: Vec<&[f32]> = numbers.chunks_exact(square_len(&self.spec)).collect();
        let mut outputs = Vec::new();
        let compute = |index: usize| {
            let input = Tensor::from_shape(&[1, 3, side, side], images[index])?;
            let output = model.run(tvec!(input.into_tvalue()))?;
            let view = output[0].to_plain_array_view::<f32>()?;
            Ok(view.iter().copied().collect::<Vec<f32>>())
        };
        in_order(self.config.threads, images.len(), compute, |_, row| {
            outputs.extend(row);
            Ok(())
        })?;
        Ok(outputs)
    }
}

/// The largest difference of two logits; infinite where one is no number.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    let distance = |(a, b): (&f32, &f32)| match (a - b).abs() {
        distance if distance.is_nan() => f32::INFINITY,
        distance => distance,
    };
    a.iter().zip(b).map(distance).fold(0.0, f32::max)
}

/// Whether rounding alone explains how far from exact logits those of burn and of tract are, and can be
/// lived with.
fn judge([burn, tract]: [f32; 2], scale: f32) -> Result<()> {
    let usual = USUAL * scale;
    ensure!(
        tract <= LOPSIDED * burn.max(usual),
        "the exported network does not compute what was trained; no bundle is written"
    );
    ensure!(
        burn <= LOPSIDED * tract.max(usual),
        "training computes something else than the network says, and the exported network does not; no bundle \
         is written"
    );
    let most = burn.max(tract);
    if most > TOLERABLE * scale {
        bail!(
            "this network enlarges rounding until its logits are wrong by {most:.2e} (largest logit \
             {scale:.1}) in f32, in training as in what is exported: its weights are random, or its norms do \
             not fit such photos. No bundle is written"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(far: [f32; 2], scale: f32, expect: &str) {
        let error = judge(far, scale).err().map(|error| error.to_string());
        let found = error.as_deref().unwrap_or_default();
        assert!(
            found.starts_with(expect) && found.is_empty() == expect.is_empty(),
            "{found}"
        );
    }

    #[test]
    fn a_fault_is_in_one_and_rounding_in_both() {
        check([0.03, 0.05], 10.0, "");
        check([0.001, 0.5], 10.0, "the exported network");
        check([0.5, 0.001], 10.0, "training computes");
        check([3.0, 5.0], 10.0, "this network enlarges rounding");
        check([f32::INFINITY, f32::INFINITY], 10.0, "this network");
        check([0.001, f32::INFINITY], 10.0, "the exported network");
    }

    #[test]
    fn what_is_no_number_is_far_from_everything() {
        assert_eq!(apart(&[1.0, f32::NAN], &[1.0, 2.0]), f32::INFINITY);
        assert_eq!(apart(&[1.0, 3.0], &[1.5, 2.0]), 1.0);
    }
}
