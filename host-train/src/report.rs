//! `host-train report`: a run as one page.

pub(crate) mod page;
mod trust;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use image::ImageFormat;
use image::codecs::jpeg::JpegEncoder;
use models::{LabelSet, Preprocessor, RgbView};

use crate::calibrate::category_scores;
use crate::chart::{Line, escape, svg, svg_between};
use crate::checkpoint::{self, Epoch, write_atomically};
use crate::export::{RunPhotos, Trained};
use crate::loader::square_len;
use crate::step::highest;
use page::{Page, base64, matrix};
use trust::{purity, reliability};

/// Wrong photos that are shown.
const MISTAKES: usize = 24;
/// Side of a thumbnail, in pixels.
const THUMBNAIL: u32 = 112;

/// Writes a page about a run: RUN/report.html, which needs no other file.
#[derive(clap::Args)]
#[command(after_help = "Example: host-train report --run runs/first")]
pub(crate) struct Args {
    /// Folder of the run.
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    /// Which state: best (on validation) or last.
    #[arg(long, default_value = "best")]
    checkpoint: String,
    /// The photos, if they are no longer where they were.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where else to write the page.
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
}

/// A photo and what the network said about it.
struct Judged {
    photo: usize,
    item: usize,
    scores: Vec<f32>,
}

/// Writes the page.
pub(crate) fn run(args: &Args) -> Result<()> {
    let trained = Trained::open(&args.run, &args.checkpoint)?;
    let last = checkpoint::pick(&args.run, "last")?;
    let mut page = Page::new(&format!("{} on {}", trained.graph.name, args.run.display()));
    curves(&mut page, &last.history);
    match trained.photos(args.data.as_deref()) {
        Some(photos) => judged_photos(&mut page, &trained, &photos)?,
        None => page.paragraph("The photos are gone, so nothing could be measured."),
    }
    page.heading("Settings");
    page.preformatted(&trained.config.without_folders().to_toml()?);
    page.heading("Provenance");
    page.preformatted(&provenance(&trained, &last.history)?);
    let default = args.run.join("report.html");
    let path = args.out.as_ref().unwrap_or(&default);
    write_atomically(path, page.finish().as_bytes())?;
    say!("{}", path.display());
    Ok(())
}

/// Where the weights come from.
fn provenance(trained: &Trained, history: &[Epoch]) -> Result<String> {
    let graph = &trained.graph;
    let seconds: f64 = history.iter().map(|epoch| epoch.seconds).sum();
    Ok(format!(
        "network           {}, {} parameters, {} multiply-adds\n\
         state             after epoch {} of {}\n\
         time              {seconds:.0} s, without reading photos and storing features\n\
         hash of the data  {}\n\
         seed              {}\n\
         program           {} {}",
        graph.name,
        graph.parameter_count()?,
        graph.macs()?,
        trained.state.history.last().map_or(0, |epoch| epoch.epoch),
        history.len(),
        trained.state.data_hash,
        trained.config.seed,
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION")
    ))
}

/// Loss, accuracy and learning rate over the epochs.
fn curves(page: &mut Page, history: &[Epoch]) {
    let line = |name: &str, value: &dyn Fn(&Epoch) -> Option<f64>| {
        let point = |epoch: &Epoch| Some([f64::from(epoch.epoch), value(epoch)?]);
        Line {
            name: name.to_owned(),
            points: history.iter().filter_map(point).collect(),
        }
    };
    page.heading("Training");
    let losses = [
        line("training", &|epoch| Some(epoch.train_loss)),
        line("validation", &|epoch| epoch.val_loss),
    ];
    page.raw(&svg("epoch", "loss", &losses));
    let accuracies = [
        line("training", &|epoch| Some(epoch.train_accuracy)),
        line("items, validation", &|epoch| epoch.val_item_accuracy),
        line("categories, validation", &|epoch| {
            epoch.val_category_accuracy
        }),
    ];
    let points = accuracies.iter().flat_map(|line| &line.points);
    let lowest = points.map(|[_, accuracy]| *accuracy).fold(0.9, f64::min);
    let range = [(lowest * 10.0).floor() / 10.0, 1.0];
    page.raw(&svg_between("epoch", "accuracy", &accuracies, range));
    let rate = [line("at the end of the epoch", &|epoch| Some(epoch.lr))];
    page.raw(&svg("epoch", "learning rate", &rate));
}

fn judged_photos(page: &mut Page, trained: &Trained, photos: &RunPhotos) -> Result<()> {
    let bundle = trained.bundle()?;
    let data = &photos.data;
    let scores = trained.scores(&bundle, &trained.squares(data)?)?;
    ensure!(!scores.is_empty(), "there are no photos to measure");
    let items = data.samples.iter().map(|sample| sample.item);
    let judged: Vec<Judged> = scores
        .into_iter()
        .zip(items)
        .enumerate()
        .map(|(photo, (scores, item))| Judged {
            photo,
            item,
            scores,
        })
        .collect();
    let labels = &trained.labels;
    let what = match photos.unseen {
        true => "photos that were not trained on",
        false => "photos that were trained on: there are no others",
    };
    page.heading("Measured");
    let right = judged
        .iter()
        .filter(|j| highest(&j.scores) == j.item)
        .count();
    let right_categories = judged
        .iter()
        .filter(|j| j.category(labels).0 == labels.category_of(j.item))
        .count();
    let share = |n: usize| format!("{:.2}%", 100.0 * n as f64 / judged.len() as f64);
    page.paragraph(&format!(
        "{} {what}: {} of items right, {} of categories. Each as the sorting program sees it.",
        judged.len(),
        share(right),
        share(right_categories)
    ));
    let item_names: Vec<String> = (0..labels.len()).map(|item| labels.path(item)).collect();
    let by_item = judged.iter().map(|j| (j.item, highest(&j.scores)));
    classes(page, "Items", &item_names, by_item.collect());
    let by_category = judged
        .iter()
        .map(|j| (labels.category_of(j.item), j.category(labels).0));
    classes(
        page,
        "Categories",
        labels.categories(),
        by_category.collect(),
    );
    let scores: Vec<Vec<f32>> = judged.iter().map(|j| j.scores.clone()).collect();
    let items: Vec<usize> = judged.iter().map(|j| j.item).collect();
    let calibrated = reliability(page, &scores, &items);
    purity(page, &calibrated, &items, labels);
    mistakes(page, &judged, trained, photos)
}

impl Judged {
    /// The category with the highest sum of scores, and the sum.
    fn category(&self, labels: &LabelSet) -> (usize, f32) {
        let sums = category_scores(&self.scores, labels);
        let best = highest(&sums);
        (best, sums[best])
    }
}

/// Confusion matrix, precision and recall; `pairs`: what it was and what was said.
fn classes(page: &mut Page, title: &str, names: &[String], pairs: Vec<(usize, usize)>) {
    page.heading(title);
    let mut counts = vec![vec![0usize; names.len()]; names.len()];
    for (was, said) in pairs {
        counts[was][said] += 1;
    }
    page.raw(&matrix(names, &counts));
    let part = |right: usize, all: usize| match all {
        0 => "–".to_owned(),
        all => format!("{:.1}%", 100.0 * right as f64 / all as f64),
    };
    let rows = (0..names.len()).map(|class| {
        let right = counts[class][class];
        let was: usize = counts[class].iter().sum();
        let said: usize = counts.iter().map(|row| row[class]).sum();
        let (precision, recall) = (part(right, said), part(right, was));
        vec![names[class].clone(), was.to_string(), precision, recall]
    });
    page.table(&["", "photos", "precision", "recall"], rows.collect());
}

/// The wrong photos of which the network was surest.
fn mistakes(
    page: &mut Page,
    judged: &[Judged],
    trained: &Trained,
    photos: &RunPhotos,
) -> Result<()> {
    let mut wrong: Vec<&Judged> = judged
        .iter()
        .filter(|j| highest(&j.scores) != j.item)
        .collect();
    let score = |j: &Judged| j.scores[highest(&j.scores)];
    wrong.sort_by(|a, b| score(b).total_cmp(&score(a)));
    page.heading("Surest mistakes");
    let mut spec = trained.spec;
    spec.size = THUMBNAIL;
    let mut preprocessor = Preprocessor::new(spec)?;
    for photo in wrong.into_iter().take(MISTAKES) {
        let sample = &photos.data.samples[photo.photo];
        let path = photos.data.path(sample);
        let name = || path.display().to_string();
        let pixels = dataset::decode(&path).with_context(name)?;
        let view = RgbView::new(pixels.as_raw(), pixels.width(), pixels.height())?;
        let square = preprocessor.square(view, None)?;
        debug_assert_eq!(square.len(), square_len(&spec));
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 80)
            .encode(square, THUMBNAIL, THUMBNAIL, image::ExtendedColorType::Rgb8)
            .with_context(name)?;
        page.raw(&format!(
            "<figure><img alt=\"\" src=\"data:{};base64,{}\"><figcaption>{}<br>is {}<br>said {} \
             ({:.2})</figcaption></figure>",
            ImageFormat::Jpeg.to_mime_type(),
            base64(&jpeg),
            escape(&sample.path.display().to_string()),
            escape(&trained.labels.path(photo.item)),
            escape(&trained.labels.path(highest(&photo.scores))),
            score(photo)
        ));
    }
    Ok(())
}
