//! `host-train augment-preview`: what training will see, as one picture.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use image::{ImageFormat, RgbImage, imageops};
use models::{Preprocessor, zoo};
use toml::Table;

use crate::augment::Augmentation;
use crate::checkpoint::write_atomically;
use crate::config::{Settings, TrainConfig, merge};
use crate::data;
use crate::loader::{Photos, square_len};
use crate::random::{Purpose, generator, shuffle};

/// Pixels between the pictures of a sheet.
const GAP: u32 = 4;

/// Writes a sheet of photos as they are and as training changes them.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  host-train augment-preview --data photos --out sheet.png --augment-rotation 0.5 --augment-belt 0.5

Every row is a photo: first as the network sees it at the belt, then as in the first epochs of a training
of the whole network with these settings. What mixup and cutmix do to a batch is not shown.")]
pub(crate) struct Args {
    /// Folder of the photos.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The picture to write.
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    /// Settings as a TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Label file, where the data needs one.
    #[arg(long, value_name = "FILE")]
    labels: Option<String>,
    /// Photos, drawn by the seed.
    #[arg(long, value_name = "N", default_value_t = 6)]
    photos: usize,
    /// Changed views of each.
    #[arg(long, value_name = "N", default_value_t = 7)]
    views: usize,
    /// Side of a picture in pixels [default: the network's].
    #[arg(long, value_name = "PIXELS")]
    input_size: Option<u32>,
    /// Seed of the training.
    #[arg(long)]
    seed: Option<u32>,
    #[command(flatten)]
    settings: Settings,
}

/// Writes the sheet.
pub(crate) fn run(args: &Args) -> Result<()> {
    let config = args.training()?;
    ensure!(
        (1..=100).contains(&args.photos) && (1..=100).contains(&args.views),
        "--photos and --views must be in 1..=100"
    );
    let labels = config.labels.as_deref().map(data::label_set).transpose()?;
    let all = dataset::read(&config.data, labels.as_ref())?;
    let (train, _) = data::split(&config, &all)?;
    ensure!(!train.samples.is_empty(), "no photos to train on");
    let sheet = sheet(&config, &Photos::new(&train, 0), args.photos, args.views)?;
    let mut png = std::io::Cursor::new(Vec::new());
    sheet
        .write_to(&mut png, ImageFormat::Png)
        .context("the sheet cannot be encoded")?;
    write_atomically(&args.out, png.get_ref())?;
    say!("{}", args.out.display());
    Ok(())
}

impl Args {
    fn training(&self) -> Result<TrainConfig> {
        let mut table = match &self.config {
            Some(path) => TrainConfig::read_table(path)?,
            None => Table::new(),
        };
        if let Some(data) = &self.data {
            let data = data.to_str().context("--data is not UTF-8")?;
            table.insert("data".into(), data.into());
        }
        if let Some(labels) = &self.labels {
            table.insert("labels".into(), labels.as_str().into());
        }
        for (key, value) in [("input_size", self.input_size), ("seed", self.seed)] {
            if let Some(value) = value {
                table.insert(key.into(), i64::from(value).into());
            }
        }
        merge(&mut table, self.settings.0.clone());
        table
            .entry("network")
            .or_insert_with(|| "mobilenet-v2".into());
        TrainConfig::from_table(table)
    }
}

/// A row per photo: as it is, then as in epochs 0, 1, ...
fn sheet(config: &TrainConfig, photos: &Photos, rows: usize, views: usize) -> Result<RgbImage> {
    let spec = zoo::preprocess(&config.network, Some(config.input_size))?;
    let mut preprocessor = Preprocessor::new(spec)?;
    let mut order: Vec<usize> = (0..photos.len()).collect();
    shuffle(
        &mut generator(config.seed, Purpose::Order, [0; 3]),
        &mut order,
    );
    order.truncate(rows);
    let pitch = spec.size + GAP;
    let sides = [views as u32 + 1, order.len() as u32].map(|count| count * pitch - GAP);
    let mut sheet = RgbImage::from_pixel(sides[0], sides[1], image::Rgb([255; 3]));
    for (row, &photo) in order.iter().enumerate() {
        for column in 0..=views {
            let change = |width, height| match column.checked_sub(1) {
                None => Augmentation::NONE,
                Some(epoch) => {
                    let position = [epoch as u64, photo as u64, 0];
                    let mut rng = generator(config.seed, Purpose::Augment, position);
                    Augmentation::draw(&config.augment, &mut rng, width, height)
                }
            };
            let mut pixels = vec![0; square_len(&spec)];
            photos.square(photo, &mut preprocessor, change, &mut pixels)?;
            let square = RgbImage::from_raw(spec.size, spec.size, pixels)
                .context("a square has another size than its preprocessing says")?;
            let place = [column, row].map(|n| n as i64 * i64::from(pitch));
            imageops::replace(&mut sheet, &square, place[0], place[1]);
        }
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Freeze;

    #[test]
    fn the_first_column_is_the_photo_and_the_sheet_follows_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        for item in ["a", "b"] {
            std::fs::create_dir(folder.path().join(item)).unwrap();
            let colour = if item == "a" {
                [200, 30, 30]
            } else {
                [30, 30, 200]
            };
            let photo = RgbImage::from_pixel(40, 40, image::Rgb(colour));
            photo.save(folder.path().join(item).join("1.png")).unwrap();
        }
        let data = dataset::read(folder.path(), None).unwrap();
        let photos = Photos::new(&data, 0);
        let sheet_of = |seed| {
            let mut config =
                TrainConfig::defaults("mobilenet-v2".into(), 32, ".".into(), Freeze::None);
            config.seed = seed;
            sheet(&config, &photos, 2, 3).unwrap()
        };
        let first = sheet_of(1);
        assert_eq!(first.dimensions(), (4 * 36 - 4, 2 * 36 - 4));
        assert_eq!(first, sheet_of(1));
        assert_ne!(first, sheet_of(2));
        let corner = first.get_pixel(0, 0).0;
        assert!(corner == [200, 30, 30] || corner == [30, 30, 200]);
    }
}
