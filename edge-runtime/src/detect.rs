//! `edge-runtime detect`: what the detector sees on recorded frames, and how well.

mod picture;
mod score;
mod truth;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use boards::{Direction, Profile};
use clap::ValueEnum;
use image::RgbImage;
use models::RgbView;
use serde::Serialize;

use crate::capture::CaptureError;
use crate::capture::recording::{Recording, pictures};
use crate::line::detect::{Detection, Detector, DetectorConfig};
use crate::line::geometry::PixelBox;
use crate::run::say;
use score::{Counts, MIN_IOU, Score};
use truth::Truth;

/// Show recorded frames to the detector that sorts, and measure what it finds.
///
/// Learns the belt from the frames themselves (or those of --learn), shown once before; then shows
/// them again in their order. With --truth, items and detections are paired one to one,
/// the best first; a pair counts from an intersection over union of 0.5.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edge-runtime detect --frames recorded/ --board boards/profiles/raspberry-pi-4.toml
  edge-runtime detect --frames belt.y4m --mm-per-px 0.5 --save-pictures seen/
  edge-runtime detect --frames belt/ --truth belt/via_region_data.json --mm-per-px 0.45 \\
      --belt-runs vertical --belt-area 190,0,1560,1080 --min-area-mm2 4000 \\
      --shadow-share 0.8 --neck-share 0.9 --save-pictures seen/ --json seen.json")]
pub(crate) struct Args {
    /// Recorded frames of one size: a folder of PNG, JPEG, BMP or WebP, in the order of their names, or a video
    /// (Y4M, Motion JPEG as AVI or as it is; `ffmpeg -i FILE out.y4m` makes one of any other)
    #[arg(long, value_name = "DIR|FILE")]
    frames: PathBuf,
    /// Polygons around the items in a folder's frames, as the VGG Image Annotator exports them
    #[arg(long, value_name = "FILE.json")]
    truth: Option<PathBuf>,
    /// Learn the belt from these frames instead
    #[arg(long, value_name = "DIR|FILE", conflicts_with = "no_learn")]
    learn: Option<PathBuf>,
    /// Start as the line does, knowing nothing: the first frames find nothing
    #[arg(long)]
    no_learn: bool,
    /// The board profile: gives the scale and the belt's direction
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["mm_per_px", "belt_runs"])]
    board: Option<PathBuf>,
    /// Millimetres per pixel
    #[arg(long, value_name = "MM", required_unless_present = "board", value_parser = positive)]
    mm_per_px: Option<f64>,
    /// How the belt runs in the frame
    #[arg(long, default_value = "horizontal")]
    belt_runs: Runs,
    /// The belt in the frame, in pixels; nothing is looked for outside
    #[arg(long, value_name = "X0,Y0,X1,Y1", value_parser = area)]
    belt_area: Option<PixelBox>,
    /// What is smaller is dirt
    #[arg(long, value_name = "MM2", value_parser = positive)]
    min_area_mm2: Option<f64>,
    /// Gaps up to this within an item are closed
    #[arg(long, value_name = "MM", value_parser = positive)]
    close_mm: Option<f64>,
    /// What is thinner is dirt
    #[arg(long, value_name = "MM", value_parser = positive)]
    open_mm: Option<f64>,
    /// Standard deviations of the belt's dirt beyond which brighter is not belt
    #[arg(long, value_name = "N", value_parser = positive)]
    deviations: Option<f64>,
    /// Share of the light that shadows take at the most, 0 to 1; what is darker is an item
    #[arg(long, value_name = "SHARE", value_parser = positive)]
    shadow_share: Option<f64>,
    /// Cut a region in two at a neck narrower than this share of the smaller part, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = positive)]
    neck_share: Option<f64>,
    /// Write the frames with what was found drawn on them
    #[arg(long, value_name = "DIR")]
    save_pictures: Option<PathBuf>,
    /// Write everything as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Runs {
    Horizontal,
    Vertical,
}

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let valid = value.is_finite() && value > 0.0;
    valid.then_some(value).ok_or("must be above 0".to_owned())
}

fn area(text: &str) -> Result<PixelBox, String> {
    let numbers: Vec<u32> = text.split(',').flat_map(|n| n.trim().parse()).collect();
    match (numbers.as_slice(), text.split(',').count()) {
        (&[x0, y0, x1, y1], 4) if x0 < x1 && y0 < y1 => Ok(PixelBox { x0, y0, x1, y1 }),
        _ => Err("four whole numbers x0,y0,x1,y1 with x0 < x1 and y0 < y1 are needed".to_owned()),
    }
}

/// What is said about one frame.
#[derive(Serialize)]
struct FrameReport {
    file: String,
    ms: f64,
    detections: Vec<Detection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<Score>,
}

#[derive(Serialize)]
struct Report {
    min_iou: f64,
    total: Option<Score>,
    frames: Vec<FrameReport>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut recording = Recording::open(&args.frames)?;
    let truth = args
        .truth
        .as_deref()
        .map(|path| truth_of(&args.frames, path));
    let truth = truth.transpose()?;
    if let Some(folder) = &args.save_pictures {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot make this folder", folder.display()))?;
    }
    let mut viewer = Viewer::new(args, recording.size())?;
    if !args.no_learn {
        viewer.learn(args.learn.as_ref().unwrap_or(&args.frames))?;
    }
    let mut frames = Vec::new();
    let mut image = RgbImage::default();
    while let Some(number) = next(&mut recording, &mut image)? {
        let name = recording.picture_name(number);
        frames.push(viewer.measure(name, &mut image, args, truth.as_ref())?);
    }
    let mut total = truth.is_some().then(Score::default);
    for score in frames.iter().filter_map(|f| f.score) {
        total = total.map(|mut sum| {
            sum += score;
            sum
        });
    }
    let report = Report {
        min_iou: MIN_IOU,
        total,
        frames,
    };
    print(&report);
    if let Some(folder) = &args.save_pictures {
        say(&format!("{}: {}", folder.display(), picture::LEGEND));
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("{}: cannot write it", path.display()))?;
    }
    Ok(())
}

/// A detector and the frames that it is shown.
struct Viewer {
    detector: Detector,
    found: Vec<Detection>,
    size: (u32, u32),
}

impl Viewer {
    fn new(args: &Args, size: (u32, u32)) -> Result<Self> {
        if let Some(area) = args.belt_area {
            ensure!(
                area.x1 <= size.0 && area.y1 <= size.1,
                "--belt-area reaches beyond the frames, which are {}x{}",
                size.0,
                size.1
            );
        }
        Ok(Self {
            detector: Detector::new(config(args, size)?),
            found: Vec::new(),
            size,
        })
    }

    fn learn(&mut self, frames: &Path) -> Result<()> {
        let mut recording = Recording::open(frames)?;
        ensure!(
            recording.size() == self.size,
            "{}: is not of the size of the frames, which is {}x{}",
            frames.display(),
            self.size.0,
            self.size.1
        );
        let mut image = RgbImage::default();
        while next(&mut recording, &mut image)?.is_some() {
            self.detect(&image)?;
        }
        Ok(())
    }

    fn measure(
        &mut self,
        name: String,
        image: &mut RgbImage,
        args: &Args,
        truth: Option<&Truth>,
    ) -> Result<FrameReport> {
        let bytes = || std::fs::metadata(args.frames.join(&name)).map(|file| file.len());
        let items = truth.map(|t| t.items(&name, bytes()?)).transpose()?;
        let ms = self.detect(image)?;
        let at_pixel = |x, y| self.detector.at_pixel(x, y);
        let score = items.map(|items| score::score(items, &self.found, self.size, at_pixel));
        if let Some(folder) = &args.save_pictures {
            picture::draw(image, &self.found, items.unwrap_or_default(), at_pixel);
            let target = folder.join(&name);
            image
                .save(&target)
                .with_context(|| format!("{}: cannot write this picture", target.display()))?;
        }
        Ok(FrameReport {
            file: name,
            ms,
            detections: self.found.clone(),
            items: items.map(<[_]>::len),
            score,
        })
    }

    /// Milliseconds that the detector took.
    fn detect(&mut self, image: &RgbImage) -> Result<f64> {
        let view = RgbView::new(image, image.width(), image.height())?;
        let start = Instant::now();
        self.detector.detect(&view, &mut self.found);
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

/// The next picture's number; `None` after the last.
fn next(recording: &mut Recording, image: &mut RgbImage) -> Result<Option<u64>, CaptureError> {
    match recording.next(image) {
        Ok(number) => Ok(Some(number)),
        Err(CaptureError::Finished) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The annotations of the pictures in a folder.
fn truth_of(frames: &Path, truth: &Path) -> Result<Truth> {
    ensure!(
        frames.is_dir(),
        "{}: --truth needs a folder of pictures, of whose files it has the names",
        frames.display()
    );
    let files = pictures(frames).map_err(anyhow::Error::msg)?;
    let name = |file: &PathBuf| Some(file.file_name()?.to_string_lossy().into_owned());
    Truth::open(truth, &files.iter().filter_map(name).collect())
}

fn config(args: &Args, size: (u32, u32)) -> Result<DetectorConfig> {
    let default = match (&args.board, args.mm_per_px) {
        (Some(path), _) => {
            let board = Profile::open(path)?;
            let camera = board.camera();
            let board_size = (camera.width_px, camera.height_px);
            if board_size != size {
                bail!(
                    "{}: its camera gives {}x{}, and the frames are {}x{}",
                    path.display(),
                    board_size.0,
                    board_size.1,
                    size.0,
                    size.1
                );
            }
            DetectorConfig::of_board(&board)
        }
        (None, Some(mm)) => {
            let direction = match args.belt_runs {
                Runs::Horizontal => Direction::LeftToRight,
                Runs::Vertical => Direction::TopToBottom,
            };
            DetectorConfig::new([mm; 2], direction)
        }
        (None, None) => bail!("--board or --mm-per-px is needed"),
    };
    Ok(DetectorConfig {
        belt: args.belt_area.or(default.belt),
        min_area_mm2: args.min_area_mm2.unwrap_or(default.min_area_mm2),
        close_mm: args.close_mm.unwrap_or(default.close_mm),
        open_mm: args.open_mm.unwrap_or(default.open_mm),
        deviations: args.deviations.map_or(default.deviations, |v| v as f32),
        shadow_share: args.shadow_share.map_or(default.shadow_share, |v| v as f32),
        neck_share: args.neck_share.map_or(default.neck_share, |v| v as f32),
        ..default
    })
}

fn print(report: &Report) {
    let detections: usize = report.frames.iter().map(|f| f.detections.len()).sum();
    let crowded = |f: &FrameReport| f.detections.iter().filter(|d| d.crowded).count();
    let crowded: usize = report.frames.iter().map(crowded).sum();
    say(&format!(
        "{} frames, {detections} detections, {crowded} of them maybe more than one item",
        report.frames.len()
    ));
    let mut ms: Vec<f64> = report.frames.iter().map(|f| f.ms).collect();
    ms.sort_by(f64::total_cmp);
    let rank = |share: f64| ms[((ms.len() - 1) as f64 * share).round() as usize];
    say(&format!(
        "detecting: median {:.2} ms, p95 {:.2} ms a frame",
        rank(0.5),
        rank(0.95)
    ));
    let Some(total) = report.total else {
        return;
    };
    let items: usize = report.frames.iter().filter_map(|f| f.items).sum();
    say(&format!("\n{items} annotated items, IoU from {MIN_IOU}"));
    say("        recall  precision  found  missed  false");
    for (name, counts) in [("masks", total.masks), ("boxes", total.boxes)] {
        say(&format!(
            "{name}  {:7.1}%  {:8.1}%  {:5}  {:6}  {:5}",
            100.0 * counts.recall(),
            100.0 * counts.precision(),
            counts.found,
            counts.missed,
            counts.false_alarms
        ));
    }
    say(&format!(
        "touching: {} times two items in one detection, {} times one item in two",
        total.merged, total.cut_up
    ));
    print_faults(&report.frames);
}

fn print_faults(frames: &[FrameReport]) {
    let is_fault = |counts: &Counts| counts.missed + counts.false_alarms > 0;
    let mut header = Some("\nby masks, in these files:");
    for frame in frames {
        let Some(counts) = frame.score.map(|s| s.masks).filter(is_fault) else {
            continue;
        };
        header.take().into_iter().for_each(say);
        say(&format!(
            "  {}: {} of {} missed, {} false",
            frame.file,
            counts.missed,
            frame.items.unwrap_or(0),
            counts.false_alarms
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_is_four_numbers_in_order() {
        let expect = PixelBox {
            x0: 1,
            y0: 2,
            x1: 30,
            y1: 40,
        };
        assert_eq!(area("1,2,30, 40"), Ok(expect));
        for wrong in ["", "1,2,3", "1,2,3,4,5", "1,2,x,4,5", "5,0,4,9", "0,-1,4,9"] {
            assert!(area(wrong).is_err(), "{wrong}");
        }
    }
}
