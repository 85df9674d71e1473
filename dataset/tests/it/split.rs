//! The laws of splitting.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dataset::{Dataset, DatasetError, Sample};
use proptest::prelude::*;

use crate::labels;

/// A dataset from `(item, group)` pairs; the photos need not exist to be split.
fn made(photos: &[(usize, Option<u8>)]) -> Dataset {
    let samples = photos
        .iter()
        .enumerate()
        .map(|(i, (item, group))| Sample {
            path: PathBuf::from(format!("{i}.jpg")),
            item: *item,
            group: group.map(|g| g.to_string()),
            split: None,
        })
        .collect();
    let root = PathBuf::from("made");
    Dataset {
        root,
        labels: labels(),
        samples,
        warnings: Vec::new(),
    }
}

fn paths(data: &Dataset) -> BTreeSet<PathBuf> {
    data.samples.iter().map(|s| s.path.clone()).collect()
}

/// The groups of each item; a photo without a group is one of its own.
fn groups(data: &Dataset) -> BTreeMap<usize, BTreeSet<String>> {
    let mut groups = BTreeMap::<usize, BTreeSet<String>>::new();
    for sample in &data.samples {
        let own = || format!("alone {}", sample.path.display());
        groups
            .entry(sample.item)
            .or_default()
            .insert(sample.group.clone().unwrap_or_else(own));
    }
    groups
}

proptest! {
    #[test]
    fn laws(
        photos in prop::collection::vec((0..4_usize, prop::option::of(0..30_u8)), 0..120),
        seed: u64,
        val_fraction in 0.0..0.99,
        turn: prop::sample::Index,
    ) {
        let data = made(&photos);
        let (train, val) = data.split(seed, val_fraction).unwrap();

        let (in_train, in_val) = (paths(&train), paths(&val));
        prop_assert!(in_train.is_disjoint(&in_val));
        prop_assert_eq!(in_train.union(&in_val).cloned().collect::<BTreeSet<_>>(), paths(&data));
        prop_assert_eq!(train.samples.len() + val.samples.len(), data.samples.len());

        let named = |d: &Dataset| -> BTreeSet<String> {
            d.samples.iter().filter_map(|s| s.group.clone()).collect()
        };
        prop_assert!(named(&train).is_disjoint(&named(&val)), "a group is cut");

        let counts = data.counts();
        for item in groups(&data).keys() {
            prop_assert!(train.counts()[*item] > 0, "item {} is not in train", item);
        }
        // Where no photo has a group, the shares are exact.
        if data.samples.iter().all(|s| s.group.is_none()) {
            for (count, in_val) in counts.iter().zip(val.counts()) {
                let share = (*count as f64 * val_fraction).round() as usize;
                let least = usize::from(*count >= 2 && val_fraction > 0.0);
                prop_assert_eq!(in_val, share.max(least).min(count.saturating_sub(1)));
            }
        }

        let mut turned = data.clone();
        if !turned.samples.is_empty() {
            turned.samples.rotate_left(turn.index(photos.len()));
        }
        let again = turned.split(seed, val_fraction).unwrap();
        prop_assert_eq!(again.0.samples, train.samples);
        prop_assert_eq!(again.1.samples, val.samples);
    }

    #[test]
    fn an_item_with_two_groups_of_its_own_is_on_both_sides(
        sizes in prop::collection::vec((0..4_usize, 1..9_usize), 1..30),
        seed: u64,
        val_fraction in 0.01..0.99,
    ) {
        let photos: Vec<(usize, Option<u8>)> = (0_u8..)
            .zip(&sizes)
            .flat_map(|(group, (item, size))| vec![(*item, Some(group)); *size])
            .collect();
        let data = made(&photos);
        let (train, val) = data.split(seed, val_fraction).unwrap();
        for (item, groups) in groups(&data) {
            prop_assert!(train.counts()[item] > 0);
            prop_assert_eq!(val.counts()[item] > 0, groups.len() >= 2, "item {}", item);
        }
    }
}

#[test]
fn the_seed_decides_and_keeps_its_meaning() {
    let data = made(&[(0, None); 12]);
    let val = |seed| paths(&data.split(seed, 0.25).unwrap().1);
    assert_ne!(val(1), val(2));
    // Value-stable: a change here would silently move photos between train and validation.
    let names: Vec<String> = val(1).iter().map(|p| p.display().to_string()).collect();
    assert_eq!(names, ["1.jpg", "3.jpg", "9.jpg"]);
}

#[test]
fn the_fraction_must_be_one() {
    for bad in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        let error = made(&[(0, None)]).split(0, bad).unwrap_err();
        assert_eq!(error, DatasetError::BadFraction(bad.to_string()));
    }
}
