//! The calibration photos, and whether they are good for it.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use dataset::Dataset;
use models::Bundle;

use super::bench::Bench;
use crate::export::Trained;
use crate::loader::{Photos, in_order};
use crate::progress::Progress;
use crate::squares::Squares;

/// Fewer photos hardly show what comes.
const FEW: usize = 32;
/// Points of item accuracy by which calibration photos may be worse than validation photos.
const LABELS_OFF: f64 = 20.0;
/// Brightness by which the pixels of a photo of one colour differ, for example by its compression.
const ONE_COLOUR: u8 = 4;

/// At most `count` photos of a folder, from all over it: of its split `train`, if it has one.
pub(super) fn calibration(trained: &Trained, folder: &Path, count: usize) -> Result<Squares> {
    ensure!(count > 0, "--calibration-photos must be at least 1");
    let mut data = dataset::read(folder, Some(&trained.labels))?;
    let has_train = data.splits().iter().any(|(split, _)| split == "train");
    if has_train {
        data = data.subset("train")?;
    }
    spread(&mut data, count);
    let (used, name) = (data.samples.len(), folder.display());
    let split = if has_train { ", split train" } else { "" };
    say!("calibration on {used} photos of {name}{split}");
    if used < FEW {
        eprintln!(
            "warning: {used} calibration photos hardly show what comes; {FEW} or more do, 128 are usual"
        );
    }
    look_at_colours(&data, trained.config.threads)?;
    trained.squares(&data)
}

/// Keeps every so many-th photo.
fn spread(data: &mut Dataset, count: usize) {
    let all = data.samples.len();
    let count = count.min(all);
    let kept = (0..count).map(|n| data.samples[n * all / count].clone());
    data.samples = kept.collect();
}

/// Photos of one colour (the lens cap, a broken camera) say nothing about ranges.
fn look_at_colours(data: &Dataset, threads: usize) -> Result<()> {
    let photos = Photos::new(data, 0);
    let plain = |photo: usize| {
        let pixels = photos.decode(photo)?;
        Ok((0..3).all(|channel| {
            let values = || pixels.as_raw().iter().skip(channel).step_by(3);
            let [low, high] = [values().min(), values().max()].map(|end| *end.unwrap_or(&0));
            high - low <= ONE_COLOUR
        }))
    };
    let mut count = 0;
    in_order(threads, photos.len(), plain, |_, plain| {
        count += usize::from(plain);
        Ok(())
    })?;
    if count == photos.len() {
        bail!(
            "{}: all {count} calibration photos are of one colour; ranges need photos like those that \
             will be sorted",
            data.root.display()
        );
    }
    if count > 0 {
        eprintln!(
            "warning: {count} of {} calibration photos are of one colour",
            photos.len()
        );
    }
    Ok(())
}

/// Warns where the f32 network does not recognise the calibration photos: their labels are wrong, or
/// they show something else.
pub(super) fn look_at_labels(
    bench: &Bench<'_>,
    float: &Bundle,
    proof: &Squares,
    scores: &[Vec<f32>],
) -> Result<()> {
    let photos = &bench.calibration;
    let progress = Progress::new("recognising", "photos", photos.len() as u64);
    let said = photos.scores(float, &progress)?;
    progress.finish();
    let percent = |photos: &Squares, scores: &[Vec<f32>]| {
        let [items, _] = photos.right(scores, &bench.trained.labels);
        100.0 * items as f64 / photos.len() as f64
    };
    let right = [percent(photos, &said), percent(proof, scores)];
    if let Some(warning) = label_warning(right) {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

/// What is said where the f32 network is right on so many percent of the calibration photos and of the
/// validation photos.
fn label_warning([found, usual]: [f64; 2]) -> Option<String> {
    (found < usual - LABELS_OFF).then(|| {
        format!(
            "the f32 network names the item of {found:.1}% of the calibration photos, and of {usual:.1}% of \
             the validation photos: their labels are wrong, or they show something else"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_hardly_agree_are_told_with_both_figures() {
        let warning = label_warning([8.25, 95.5]).unwrap();
        assert!(
            warning.contains("8.2%") && warning.contains("95.5%"),
            "{warning}"
        );
        assert_eq!(label_warning([80.0, 95.0]), None);
        assert_eq!(label_warning([99.0, 95.0]), None);
    }
}
