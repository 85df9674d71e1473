//! From a folder of photos to what is trained and what is validated on.

use std::path::Path;

use anyhow::{Context, Result};
use dataset::Dataset;
use models::{LabelSet, labels};

use crate::config::TrainConfig;
use crate::progress::Progress;

/// The photos of a run.
pub(crate) struct Data {
    pub(crate) train: Dataset,
    /// Empty where nothing is put aside.
    pub(crate) validation: Dataset,
    /// Hash of both.
    pub(crate) hash: String,
}

/// A label set from a file or by the name of a built-in one.
pub(crate) fn label_set(name: &str) -> Result<LabelSet> {
    if labels::builtin_names().contains(&name) {
        return Ok(LabelSet::builtin(name)?);
    }
    let text = std::fs::read_to_string(name).with_context(|| {
        format!(
            "{name}: no such label file, and no built-in label set ({}) has that name",
            labels::builtin_names().join(", ")
        )
    })?;
    LabelSet::from_toml(&text).with_context(|| name.to_owned())
}

/// Reads, splits and checks the photos; everything that is wrong is reported at once.
pub(crate) fn read(config: &TrainConfig) -> Result<Data> {
    let labels = config.labels.as_deref().map(label_set).transpose()?;
    let all = dataset::read(&config.data, labels.as_ref())?;
    all.warnings
        .iter()
        .for_each(|warning| eprintln!("warning: {warning}"));
    let (train, validation) = split(config, &all)?;
    let mut both = train.clone();
    both.samples.extend_from_slice(&validation.samples);
    let progress = Progress::new("checking", "photos", both.samples.len() as u64);
    if !both.samples.is_empty() {
        both.check_images(|| progress.advance(1))?;
    }
    progress.finish();
    let hash_of = |data: &Dataset| match data.samples.is_empty() {
        true => Ok(String::new()),
        false => data.content_hash(),
    };
    let hashes = [hash_of(&train)?, hash_of(&validation)?];
    warn_of_gaps(&train);
    let hash = blake3::hash(hashes.join(" ").as_bytes())
        .to_hex()
        .to_string();
    Ok(Data {
        train,
        validation,
        hash,
    })
}

/// The splits that the settings name; else those called `train` and `val`; else a seeded one.
pub(crate) fn split(config: &TrainConfig, all: &Dataset) -> Result<(Dataset, Dataset)> {
    let splits = all.splits();
    let usual = |name: &str| {
        let known = splits.iter().any(|(split, _)| split == name);
        known.then(|| name.to_owned())
    };
    let chosen = config.split.clone().or_else(|| usual("train"));
    let names: Vec<&str> = chosen
        .iter()
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .collect();
    let mut train = match names.split_first() {
        Some((first, _)) => all.subset(first)?,
        None => all.clone(),
    };
    for name in names.iter().skip(1) {
        train.samples.extend(all.subset(name)?.samples);
    }
    let validation = config.val_split.clone().or_else(|| usual("val"));
    match validation.filter(|name| !names.contains(&name.as_str())) {
        Some(name) => {
            if names.is_empty() {
                // Nothing was chosen to train on: all but what is validated on.
                train
                    .samples
                    .retain(|sample| sample.split.as_deref() != Some(&name));
            }
            Ok((train, all.subset(&name)?))
        }
        None if config.val_fraction > 0.0 => Ok(train.split(config.seed, config.val_fraction)?),
        None => {
            let mut nothing = train.clone();
            nothing.samples.clear();
            Ok((train, nothing))
        }
    }
}

fn warn_of_gaps(train: &Dataset) {
    let missing: Vec<String> = (0..train.labels.len())
        .zip(train.counts())
        .filter(|(_, count)| *count == 0)
        .map(|(item, _)| train.labels.path(item))
        .collect();
    if !missing.is_empty() {
        let list = missing.join(", ");
        eprintln!(
            "warning: no photo to train on for {} items: {list}",
            missing.len()
        );
    }
}

/// The label file of a set.
pub(crate) fn labels_toml(labels: &LabelSet) -> Result<String> {
    #[derive(serde::Serialize)]
    struct File<'a> {
        name: &'a str,
        items: Vec<Entry<'a>>,
    }
    #[derive(serde::Serialize)]
    struct Entry<'a> {
        id: usize,
        category: &'a str,
        item: &'a str,
    }
    let items = labels.items().iter().enumerate().map(|(id, item)| Entry {
        id,
        category: &labels.categories()[item.category],
        item: &item.name,
    });
    let file = File {
        name: labels.name(),
        items: items.collect(),
    };
    toml::to_string(&file).context("the labels cannot be written as TOML")
}

/// The labels of a run.
pub(crate) fn read_labels(path: &Path) -> Result<LabelSet> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(name)?;
    LabelSet::from_toml(&text).with_context(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Freeze;

    #[test]
    fn a_label_set_survives_its_file() {
        for name in labels::builtin_names() {
            let labels = LabelSet::builtin(name).unwrap();
            assert_eq!(
                LabelSet::from_toml(&labels_toml(&labels).unwrap()).unwrap(),
                labels
            );
        }
    }

    #[test]
    fn an_unknown_label_file_is_named() {
        let error = label_set("no-such-labels").unwrap_err().to_string();
        assert!(
            error.contains("no-such-labels") && error.contains("huawei-40"),
            "{error}"
        );
    }

    /// Photos `n.png` of one item, each in the split named with it.
    fn dataset(splits: &[Option<&str>]) -> Dataset {
        let items = vec![("metal".to_owned(), "can".to_owned())];
        let sample = |(n, split): (usize, &Option<&str>)| dataset::Sample {
            path: format!("{n}.png").into(),
            item: 0,
            group: None,
            split: split.map(str::to_owned),
        };
        Dataset {
            root: "photos".into(),
            labels: LabelSet::new("one", items).unwrap(),
            samples: splits.iter().enumerate().map(sample).collect(),
            warnings: Vec::new(),
        }
    }

    /// The numbers of photos to train and to validate on.
    #[track_caller]
    fn check_split(
        splits: &[Option<&str>],
        [train, val]: [Option<&str>; 2],
        val_fraction: f64,
        expect: [usize; 2],
    ) {
        let mut config = crate::config::tests::config(Freeze::None);
        config.split = train.map(str::to_owned);
        config.val_split = val.map(str::to_owned);
        config.val_fraction = val_fraction;
        let (train, validation) = split(&config, &dataset(splits)).unwrap();
        assert_eq!([train.samples.len(), validation.samples.len()], expect);
        assert!(
            train
                .samples
                .iter()
                .all(|sample| !validation.samples.contains(sample))
        );
    }

    #[test]
    fn splits_are_those_named_or_the_usual_ones_or_made() {
        let named = [Some("train"), Some("train"), Some("val"), Some("test")];
        check_split(&named, [None, None], 0.2, [2, 1]);
        check_split(&named, [None, Some("test")], 0.2, [2, 1]);
        check_split(&named, [Some("train,val"), None], 0.0, [3, 0]);
        check_split(&named, [Some("train, val"), Some("test")], 0.0, [3, 1]);
        check_split(&named, [Some("test"), None], 0.5, [1, 1]);
        check_split(
            &[Some("val"), Some("a"), Some("b"), None],
            [None, None],
            0.2,
            [3, 1],
        );
        check_split(&[None; 10], [None, None], 0.2, [8, 2]);
        check_split(&[None; 10], [None, None], 0.0, [10, 0]);
    }

    #[test]
    fn an_unknown_split_is_an_error() {
        let mut config = crate::config::tests::config(Freeze::None);
        config.split = Some("nowhere".into());
        assert!(split(&config, &dataset(&[Some("train")])).is_err());
    }
}
