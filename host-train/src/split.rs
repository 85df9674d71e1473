//! `host-train split`: which photos are trained on, validated on and kept apart.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use dataset::{Dataset, Sample};

use crate::checkpoint::write_atomically;
use crate::data::label_set;
use crate::loader::in_order;
use crate::progress::Progress;
use crate::stats::alike::{Fingerprint, linked};

/// Divides photos into splits, by item and without separating near copies, and writes a manifest.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  host-train split --data photos --out photos/manifest.csv --parts train=0.7,val=0.15,test=0.15

Photos of one group of the data stay together, and so do photos that look the same (see host-train stats).
The same photos, parts and seed give the same splits. Where the data has a manifest, write another file and
put it in its place.")]
pub(crate) struct Args {
    /// Folder of the photos.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A label file (TOML) or huawei-40 [default: the labels that the data has].
    #[arg(long, value_name = "FILE")]
    labels: Option<String>,
    /// The manifest to write; must not exist yet.
    #[arg(long, value_name = "FILE.csv")]
    out: PathBuf,
    /// Splits and their parts of the photos, which make 1 together.
    #[arg(
        long,
        default_value = "train=0.8,val=0.2",
        value_name = "NAME=PART,..."
    )]
    parts: String,
    /// Which of the possible splits.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bits of a perceptual hash by which near copies may differ.
    #[arg(long, value_name = "BITS", default_value_t = 6)]
    near: u32,
    /// Leave it to the groups of the data which photos stay together.
    #[arg(long)]
    no_near: bool,
}

/// Writes the manifest.
pub(crate) fn run(args: &Args) -> Result<()> {
    let shown = args.out.display();
    ensure!(
        !args.out.exists(),
        "{shown}: is there already; remove it or name another file"
    );
    let parts = parse_parts(&args.parts)?;
    let labels = args.labels.as_deref().map(label_set).transpose()?;
    let mut data = dataset::read(&args.data, labels.as_ref())?;
    if !args.no_near {
        join_near_copies(&mut data, args.near)?;
    }
    let splits = divide(data, &parts, args.seed)?;
    write_atomically(&args.out, &manifest(&splits)?)?;
    for (name, split) in &splits {
        say!("{:>7} in {name}", split.samples.len());
    }
    say!("{shown}");
    Ok(())
}

/// Names and parts, which must make 1.
fn parse_parts(text: &str) -> Result<Vec<(String, f64)>> {
    let part = |pair: &str| -> Result<(String, f64)> {
        let (name, part) = pair
            .split_once('=')
            .with_context(|| format!("{pair:?} is not NAME=PART"))?;
        let part: f64 = part.trim().parse().with_context(|| format!("{pair:?}"))?;
        ensure!(
            part > 0.0 && part <= 1.0,
            "{pair:?}: a part is above 0 and at most 1"
        );
        Ok((name.trim().to_owned(), part))
    };
    let parts: Vec<(String, f64)> = text.split(',').map(part).collect::<Result<_>>()?;
    let sum: f64 = parts.iter().map(|(_, part)| part).sum();
    ensure!((sum - 1.0).abs() < 1e-6, "the parts make {sum}, not 1");
    for (index, (name, _)) in parts.iter().enumerate() {
        let twice = parts[..index].iter().any(|(other, _)| other == name);
        if twice || name.is_empty() {
            bail!("{name:?} is no name for a split, or one of two splits");
        }
    }
    Ok(parts)
}

/// Puts photos that look the same into one group, with all of the groups that they were in.
fn join_near_copies(data: &mut Dataset, near: u32) -> Result<()> {
    let progress = Progress::new("comparing", "photos", data.samples.len() as u64);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let look = |index: usize| {
        let path = data.path(&data.samples[index]);
        let photo = dataset::decode(&path).with_context(|| path.display().to_string())?;
        progress.advance(1);
        Ok(Fingerprint::of(&photo))
    };
    let mut looks = Vec::new();
    in_order(threads, data.samples.len(), look, |_, look| {
        looks.push(look);
        Ok(())
    })?;
    progress.finish();
    let samples = &data.samples;
    let together = |a: usize, b: usize| {
        let same_group = samples[a].group.is_some() && samples[a].group == samples[b].group;
        same_group || looks[a].is_near(&looks[b], near)
    };
    for (number, members) in linked(samples.len(), together).into_iter().enumerate() {
        for member in members {
            data.samples[member].group = Some(number.to_string());
        }
    }
    Ok(())
}

/// Takes one split after the other off what is left; the first gets the rest.
fn divide(data: Dataset, parts: &[(String, f64)], seed: u64) -> Result<Vec<(String, Dataset)>> {
    let (mut rest, mut left) = (data, 1.0);
    let mut splits = Vec::new();
    for (name, part) in parts.iter().skip(1).rev() {
        let (others, taken) = rest.split(seed, part / left)?;
        splits.push((name.clone(), taken));
        rest = others;
        left -= part;
    }
    let first = parts.first().map_or("", |(name, _)| name);
    splits.push((first.to_owned(), rest));
    splits.reverse();
    Ok(splits)
}

/// `manifest.csv`, sorted by path.
fn manifest(splits: &[(String, Dataset)]) -> Result<Vec<u8>> {
    let mut rows: Vec<(&Path, [String; 5])> = Vec::new();
    for (name, data) in splits {
        for Sample {
            path, item, group, ..
        } in &data.samples
        {
            let labels = &data.labels;
            let item_name = labels.items()[*item].name.clone();
            let category = labels.categories()[labels.category_of(*item)].clone();
            let file = path.to_str().with_context(|| {
                format!(
                    "{}: a manifest cannot hold a name that is not UTF-8",
                    path.display()
                )
            })?;
            let group = group.clone().unwrap_or_default();
            let row = [file.to_owned(), item_name, category, group, name.clone()];
            rows.push((path, row));
        }
    }
    rows.sort();
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["path", "item", "category", "group", "split"])?;
    for (_, row) in &rows {
        csv.write_record(row)?;
    }
    csv.into_inner().context("the manifest cannot be encoded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    /// Photos of two items; every third is a copy of the one before it.
    fn photos(folder: &Path) {
        for item in 0..2u32 {
            let folder = folder.join(format!("c/{item}"));
            std::fs::create_dir_all(&folder).unwrap();
            for n in 0..30u32 {
                let source = if n % 3 == 2 { n - 1 } else { n };
                let photo = RgbImage::from_fn(24, 24, |x, y| {
                    let place = u64::from(x / 3 * 8 + y / 3 + 64 * source + 4096 * item);
                    let noise = place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                    Rgb([noise as u8, (noise >> 8) as u8, (noise >> 16) as u8])
                });
                photo.save(folder.join(format!("{n:02}.png"))).unwrap();
            }
        }
    }

    fn args(folder: &Path, seed: u64) -> Args {
        Args {
            data: folder.to_owned(),
            labels: None,
            out: folder.join("manifest.csv"),
            parts: "train=0.6,val=0.2,test=0.2".to_owned(),
            seed,
            near: 6,
            no_near: false,
        }
    }

    #[test]
    fn copies_stay_together_and_parts_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        photos(folder.path());
        run(&args(folder.path(), 1)).unwrap();
        let first = std::fs::read_to_string(folder.path().join("manifest.csv")).unwrap();
        let data = dataset::read(folder.path(), None).unwrap();
        assert_eq!(data.samples.len(), 60);
        let split_of = |item: u32, n: u32| {
            let path = PathBuf::from(format!("c/{item}/{n:02}.png"));
            let sample = data.samples.iter().find(|sample| sample.path == path);
            sample.unwrap().split.clone()
        };
        for item in 0..2 {
            for n in (2..30).step_by(3) {
                assert_eq!(split_of(item, n), split_of(item, n - 1));
            }
        }
        for (name, count) in data.splits() {
            let wanted = if name == "train" { 36 } else { 12 };
            assert!(count.abs_diff(wanted) <= 4, "{name}: {count}");
        }
        assert!(
            run(&args(folder.path(), 1)).is_err(),
            "the manifest is there"
        );
        let again = |seed| {
            std::fs::remove_file(folder.path().join("manifest.csv")).unwrap();
            run(&args(folder.path(), seed)).unwrap();
            std::fs::read_to_string(folder.path().join("manifest.csv")).unwrap()
        };
        assert_eq!(again(1), first);
        assert_ne!(again(2), first);
    }

    #[test]
    fn parts_without_sense_are_named() {
        for (text, named) in [
            ("train", "NAME=PART"),
            ("train=x", "train=x"),
            ("train=0.5,val=0.4", "0.9"),
            ("train=0.5,train=0.5", "train"),
            ("train=1.5", "train=1.5"),
        ] {
            let error = format!("{:#}", parse_parts(text).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
