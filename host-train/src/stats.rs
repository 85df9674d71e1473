//! `host-train stats`: what is in a folder of photos, before anything is trained on it.

pub(crate) mod alike;
mod sizes;

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use dataset::Dataset;
use image::RgbImage;
use serde::Serialize;

use crate::checkpoint::write_atomically;
use crate::data::label_set;
use crate::evaluate::output::print;
use crate::loader::in_order;
use crate::progress::Progress;
use alike::{Fingerprint, Kin, kin};
use sizes::{SizeCount, Spread, size_counts};

/// The commonest sizes that are printed; the JSON file has all.
const SIZES_SHOWN: usize = 5;

/// Counts photos, measures colours and sizes, finds copies and files that are no photos.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  host-train stats --data photos --json stats.json

Copies have the same pixels. Photos are near copies where at most --near of the 64 bits of their perceptual
hashes differ and their colours are about the same; near copies in several splits make a validation look better than it is.")]
pub(crate) struct Args {
    /// Folder of the photos.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A label file (TOML) or huawei-40 [default: the labels that the data has].
    #[arg(long, value_name = "FILE")]
    labels: Option<String>,
    /// Write the figures, and the paths of all copies and faults.
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
    /// Bits of a perceptual hash by which near copies may differ.
    #[arg(long, value_name = "BITS", default_value_t = 6)]
    near: u32,
    /// Threads that decode [default: one per core].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// What was found.
#[derive(Serialize)]
struct Stats {
    photos: usize,
    /// Mean of each channel, 0 to 1, every photo counting the same.
    mean: [f64; 3],
    /// Mean over the photos of the standard deviation inside each.
    std: [f64; 3],
    /// Standard deviation over all pixels, every photo counting the same.
    std_overall: [f64; 3],
    width: Spread,
    height: Spread,
    /// The commonest size first.
    sizes: Vec<SizeCount>,
    splits: Vec<(String, usize)>,
    items: Vec<ItemCount>,
    /// Photos with the same pixels.
    copies: Vec<Kin>,
    /// Photos that look the same, copies included.
    near_copies: Vec<Kin>,
    faults: Vec<Unreadable>,
}

#[derive(Serialize)]
struct ItemCount {
    item: String,
    photos: usize,
}

#[derive(Serialize)]
struct Unreadable {
    path: PathBuf,
    error: String,
}

/// What is measured of one photo.
struct Measured {
    size: [u32; 2],
    mean: [f64; 3],
    /// Mean of the squares.
    square: [f64; 3],
    fingerprint: Fingerprint,
}

/// Prints the figures.
pub(crate) fn run(args: &Args) -> Result<()> {
    let labels = args.labels.as_deref().map(label_set).transpose()?;
    let data = dataset::read(&args.data, labels.as_ref())?;
    for warning in &data.warnings {
        eprintln!("warning: {warning}");
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let stats = Stats::of(&data, args.near, args.threads.unwrap_or(cores).max(1))?;
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&stats).context("the figures")?;
        write_atomically(path, json.as_bytes())?;
    }
    print(&stats.table())
}

impl Stats {
    fn of(data: &Dataset, near: u32, threads: usize) -> Result<Stats> {
        let progress = Progress::new("measuring", "photos", data.samples.len() as u64);
        let mut measured = Vec::new();
        let mut faults = Vec::new();
        let measure_one = |index: usize| {
            progress.advance(1);
            let photo = dataset::decode(&data.path(&data.samples[index]));
            Ok(photo.map(|photo| Measured::of(&photo)))
        };
        in_order(threads, data.samples.len(), measure_one, |index, found| {
            match found {
                Ok(photo) => measured.push((index, photo)),
                Err(error) => faults.push(Unreadable {
                    path: data.samples[index].path.clone(),
                    error: error.to_string(),
                }),
            }
            Ok(())
        })?;
        progress.finish();
        let photos: Vec<&Measured> = measured.iter().map(|(_, photo)| photo).collect();
        let mean = |value: &dyn Fn(&Measured) -> f64| {
            photos.iter().map(|photo| value(photo)).sum::<f64>() / photos.len().max(1) as f64
        };
        let channels = [0, 1, 2];
        let means = channels.map(|c| mean(&|photo| photo.mean[c]));
        let squares = channels.map(|c| mean(&|photo| photo.square[c]));
        let fingerprints: Vec<(usize, Fingerprint)> = measured
            .iter()
            .map(|(index, photo)| (*index, photo.fingerprint))
            .collect();
        let names = (0..data.labels.len()).zip(data.counts());
        Ok(Stats {
            photos: data.samples.len(),
            mean: means,
            std: channels.map(|c| mean(&|photo| photo.deviation(c))),
            std_overall: channels.map(|c| (squares[c] - means[c] * means[c]).max(0.0).sqrt()),
            width: Spread::of(photos.iter().map(|photo| photo.size[0])),
            height: Spread::of(photos.iter().map(|photo| photo.size[1])),
            sizes: size_counts(photos.iter().map(|photo| photo.size)),
            splits: data.splits(),
            items: names
                .map(|(item, photos)| ItemCount {
                    item: data.labels.path(item),
                    photos,
                })
                .collect(),
            copies: kin(data, &fingerprints, |a, b| a.pixels == b.pixels),
            near_copies: kin(data, &fingerprints, |a, b| a.is_near(b, near)),
            faults,
        })
    }

    fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, value: String| {
            let _ = writeln!(text, "{what:<14} {value}");
        };
        let three = |values: [f64; 3]| values.map(|value| format!("{value:.8}")).join(" ");
        line("photos", self.photos.to_string());
        for (split, count) in &self.splits {
            line("", format!("{count} in {split}"));
        }
        line("mean", three(self.mean));
        line(
            "std",
            format!(
                "{} inside a photo, {} over all",
                three(self.std),
                three(self.std_overall)
            ),
        );
        line("width", self.width.to_string());
        line("height", self.height.to_string());
        let shown = self.sizes.iter().take(SIZES_SHOWN);
        for (index, size) in shown.enumerate() {
            let what = if index == 0 { "sizes" } else { "" };
            line(
                what,
                format!("{:>6}  {} x {}", size.photos, size.width, size.height),
            );
        }
        if self.sizes.len() > SIZES_SHOWN {
            line("", format!("and {} others", self.sizes.len() - SIZES_SHOWN));
        }
        for (what, groups) in [("copies", &self.copies), ("near copies", &self.near_copies)] {
            let several = groups.iter().filter(|group| group.splits.len() > 1).count();
            let disputed = groups.iter().filter(|group| group.items.len() > 1).count();
            line(
                what,
                format!(
                    "{} groups with {} photos; {several} groups in several splits, {disputed} of several \
                     items",
                    groups.len(),
                    groups.iter().map(|group| group.paths.len()).sum::<usize>()
                ),
            );
            let notable = groups
                .iter()
                .filter(|group| group.splits.len() > 1 || group.items.len() > 1);
            for group in notable.take(5) {
                let paths: Vec<String> = group
                    .paths
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                line("", paths.join(" "));
            }
        }
        line("unreadable", self.faults.len().to_string());
        for fault in self.faults.iter().take(20) {
            line("", format!("{}: {}", fault.path.display(), fault.error));
        }
        for count in &self.items {
            line("", format!("{:>6}  {}", count.photos, count.item));
        }
        text
    }
}

impl Measured {
    fn of(photo: &RgbImage) -> Measured {
        let (mut sums, mut squares) = ([0u64; 3], [0u64; 3]);
        for pixel in photo.as_raw().as_chunks::<3>().0 {
            for channel in 0..3 {
                let value = u64::from(pixel[channel]);
                sums[channel] += value;
                squares[channel] += value * value;
            }
        }
        let pixels = (photo.as_raw().len() / 3).max(1) as f64;
        Measured {
            size: [photo.width(), photo.height()],
            mean: sums.map(|sum| sum as f64 / pixels / 255.0),
            square: squares.map(|sum| sum as f64 / pixels / (255.0 * 255.0)),
            fingerprint: Fingerprint::of(photo),
        }
    }

    fn deviation(&self, channel: usize) -> f64 {
        let mean = self.mean[channel];
        (self.square[channel] - mean * mean).max(0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn figures_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let save = |item: &str, name: &str, photo: &RgbImage| {
            let folder = folder.path().join(item);
            std::fs::create_dir_all(&folder).unwrap();
            photo.save(folder.join(name)).unwrap();
        };
        let halves = RgbImage::from_fn(10, 4, |x, _| match x < 5 {
            true => Rgb([255, 0, 51]),
            false => Rgb([0, 0, 51]),
        });
        save("a", "1.png", &halves);
        save("b", "copy.png", &halves);
        save(
            "b",
            "2.png",
            &RgbImage::from_pixel(6, 8, Rgb([255, 255, 255])),
        );
        std::fs::write(folder.path().join("a/broken.png"), b"\x89PNG\r\n\x1a\n").unwrap();
        let data = dataset::read(folder.path(), None).unwrap();
        let stats = Stats::of(&data, 0, 2).unwrap();
        let close = |found: [f64; 3], expected: [f64; 3]| {
            let apart = (0..3).map(|c| (found[c] - expected[c]).abs());
            assert!(apart.fold(0.0, f64::max) < 1e-9, "{found:?} {expected:?}");
        };
        close(stats.mean, [2.0 / 3.0, 1.0 / 3.0, 1.4 / 3.0]);
        close(stats.std, [1.0 / 3.0, 0.0, 0.0]);
        let overall = |values: [f64; 3]| {
            let mean = values.iter().sum::<f64>() / 3.0;
            (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 3.0).sqrt()
        };
        let red = (2.0f64 / 3.0 - 4.0 / 9.0).sqrt();
        close(
            stats.std_overall,
            [red, overall([0.0, 0.0, 1.0]), overall([0.2, 0.2, 1.0])],
        );
        let span = |spread: Spread| [spread.least, spread.median, spread.most];
        assert_eq!(span(stats.width), [6, 10, 10]);
        assert_eq!(span(stats.height), [4, 4, 8]);
        assert_eq!(stats.copies.len(), 1);
        assert_eq!(stats.copies[0].items, ["a/a", "b/b"]);
        assert_eq!(stats.faults.len(), 1);
        assert!(stats.table().contains("broken.png"));
    }
}
