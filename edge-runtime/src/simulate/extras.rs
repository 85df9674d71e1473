//! What a simulation can write besides its report: annotated frames, and crops to train on.

use crate::capture::Frame;
use crate::capture::simulated::SimulatedCamera;
use crate::line::Command;
use crate::line::detect::Detection;
use crate::line::geometry::{Geometry, PixelBox};
use anyhow::Context;
use image::{Rgb, RgbImage, imageops};
use models::LabelSet;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The files to be written; nothing where nothing was asked for.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) frames: Option<FrameWriter>,
    pub(crate) crops: Option<CropWriter>,
}

impl Extras {
    pub(crate) fn commanded(&mut self, command: &Command) {
        if let (Some(frames), Command::Decided { track, verdict, .. }) = (&mut self.frames, command)
        {
            let note = frames.notes.entry(*track).or_default();
            note.verdict = Some(verdict.ok());
        }
    }

    pub(crate) fn classified(
        &mut self,
        track: u32,
        frame: &Frame,
        area: PixelBox,
        scores: &[f32],
        camera: &SimulatedCamera,
    ) -> anyhow::Result<()> {
        if let Some(frames) = &mut self.frames {
            let best = frames.best_category(scores);
            frames.notes.entry(track).or_default().best = best;
            frames.marks.push((track, area));
        }
        match &mut self.crops {
            Some(crops) => crops.write(frame, area, camera),
            None => Ok(()),
        }
    }

    pub(crate) fn framed(&mut self, frame: &Frame, detections: &[Detection]) -> anyhow::Result<()> {
        match &mut self.frames {
            Some(frames) => frames.write(frame, detections),
            None => Ok(()),
        }
    }

    /// Writes what is to be written at the end.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self.crops {
            Some(crops) => crops.finish(),
            None => Ok(()),
        }
    }
}

/// Writes every frame in which a view was classified, up to a number, with boxes and verdicts.
pub(crate) struct FrameWriter {
    folder: PathBuf,
    known: LabelSet,
    left: usize,
    notes: BTreeMap<u32, Note>,
    marks: Vec<(u32, PixelBox)>,
}

#[derive(Default)]
struct Note {
    /// Category and score of the last view.
    best: Option<(usize, f32)>,
    /// Once decided: the category, if any.
    verdict: Option<Option<usize>>,
}

const MOST_FRAMES: usize = 300;
const GREY: Rgb<u8> = Rgb([190, 190, 190]);
const COLOURS: [Rgb<u8>; 6] = [
    Rgb([255, 180, 40]),
    Rgb([90, 230, 90]),
    Rgb([80, 170, 255]),
    Rgb([255, 80, 80]),
    Rgb([230, 120, 255]),
    Rgb([240, 240, 90]),
];

impl FrameWriter {
    /// Makes the folder, and writes what the numbers in the frames mean.
    pub(crate) fn new(folder: &Path, known: &LabelSet) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot make this folder", folder.display()))?;
        let mut legend = String::from(
            "A grey box is a detection. A coloured one is a view that was classified; below it stand\n\
             the track, the category and its score in percent. The categories are:\n",
        );
        for (index, category) in known.categories().iter().enumerate() {
            let _ = writeln!(legend, "{index} {category}");
        }
        let file = folder.join("legend.txt");
        std::fs::write(&file, legend).with_context(|| file.display().to_string())?;
        Ok(Self {
            folder: folder.to_owned(),
            known: known.clone(),
            left: MOST_FRAMES,
            notes: BTreeMap::new(),
            marks: Vec::new(),
        })
    }

    fn best_category(&self, scores: &[f32]) -> Option<(usize, f32)> {
        let mut sums = vec![0.0; self.known.categories().len()];
        for (item, score) in scores.iter().enumerate() {
            sums[self.known.category_of(item)] += score;
        }
        let best = sums.into_iter().enumerate();
        best.filter(|_| !scores.is_empty())
            .reduce(|a, b| if b.1 > a.1 { b } else { a })
    }

    fn write(&mut self, frame: &Frame, detections: &[Detection]) -> anyhow::Result<()> {
        let marks = std::mem::take(&mut self.marks);
        if marks.is_empty() || self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let mut image = frame.image.clone();
        for detection in detections {
            outline(&mut image, detection.area, GREY);
        }
        for (track, area) in marks {
            let note = self.notes.entry(track).or_default();
            let (category, score) = note.best.unwrap_or((0, 0.0));
            let category = note.verdict.flatten().unwrap_or(category);
            let colour = COLOURS[category % COLOURS.len()];
            outline(&mut image, area, colour);
            let text = format!("{track} {category} {:.0}", score * 100.0);
            write_number(&mut image, (area.x0 + 2, area.y1 + 4), &text, colour);
        }
        let file = self.folder.join(format!("{:06}.png", frame.sequence));
        image
            .save(&file)
            .with_context(|| format!("{}: cannot write this picture", file.display()))
    }
}

fn outline(image: &mut RgbImage, area: PixelBox, colour: Rgb<u8>) {
    let (right, bottom) = (area.x1.saturating_sub(1), area.y1.saturating_sub(1));
    for x in area.x0..area.x1 {
        dot(image, x, area.y0, colour);
        dot(image, x, bottom, colour);
    }
    for y in area.y0..area.y1 {
        dot(image, area.x0, y, colour);
        dot(image, right, y, colour);
    }
}

fn dot(image: &mut RgbImage, x: u32, y: u32, colour: Rgb<u8>) {
    if let Some(pixel) = image.get_pixel_mut_checked(x, y) {
        *pixel = colour;
    }
}

/// Digits on 3 by 5 dots, a row in each octal digit from the top.
const DIGITS: [u16; 10] = [
    0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71122, 0o75757, 0o75717,
];
const DOT_PX: u32 = 2;

fn write_number(image: &mut RgbImage, (mut x, y): (u32, u32), text: &str, colour: Rgb<u8>) {
    for symbol in text.chars() {
        if let Some(digit) = symbol.to_digit(10) {
            let bits = DIGITS[digit as usize];
            for cell in 0..15u32 {
                if bits >> (14 - cell) & 1 == 1 {
                    for part in 0..DOT_PX * DOT_PX {
                        let px = x + cell % 3 * DOT_PX + part % DOT_PX;
                        dot(image, px, y + cell / 3 * DOT_PX + part / DOT_PX, colour);
                    }
                }
            }
        }
        x += 4 * DOT_PX;
    }
}

/// Writes views as the classifier gets them, in the form that `host-train` reads.
pub(crate) struct CropWriter {
    folder: PathBuf,
    labels: LabelSet,
    geometry: Geometry,
    per_item: u32,
    /// Views seen and written of each item.
    done: BTreeMap<usize, (u32, u32)>,
    rows: String,
}

/// Every so manieth view of an item is written: neighbouring views are nearly the same.
const EVERY: u32 = 2;
/// A view belongs to an item whose centre is this close to its own.
const SAME_ITEM_MM: f64 = 40.0;

impl CropWriter {
    pub(crate) fn new(folder: &Path, labels: LabelSet, geometry: Geometry, per_item: u32) -> Self {
        Self {
            folder: folder.to_owned(),
            labels,
            geometry,
            per_item,
            done: BTreeMap::new(),
            rows: String::from("path,item,category,group\n"),
        }
    }

    fn write(
        &mut self,
        frame: &Frame,
        area: PixelBox,
        camera: &SimulatedCamera,
    ) -> anyhow::Result<()> {
        let span = self.geometry.span(area);
        let x_mm = (span.seen_mm[0] + span.seen_mm[1]) / 2.0;
        let t_us = frame.captured_us - camera.epoch_us();
        let item = camera.world.item_at(t_us, x_mm, SAME_ITEM_MM);
        let Some(item) = item else { return Ok(()) };
        let (seen, written) = self.done.entry(item).or_default();
        *seen += 1;
        if *written >= self.per_item || (*seen - 1) % EVERY != 0 {
            return Ok(());
        }
        *written += 1;
        let kind = camera.world.items()[item].kind;
        let path = format!("{}/{item:06}-{written}.png", self.labels.path(kind));
        let name = &self.labels.items()[kind].name;
        let category = &self.labels.categories()[self.labels.category_of(kind)];
        let _ = writeln!(self.rows, "{path},{name},{category},{item}");
        let file = self.folder.join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("{}: cannot make this folder", folder.display()))?;
        }
        let (width, height) = (area.x1 - area.x0, area.y1 - area.y0);
        imageops::crop_imm(&frame.image, area.x0, area.y0, width, height)
            .to_image()
            .save(&file)
            .with_context(|| format!("{}: cannot write this picture", file.display()))
    }

    /// The manifest, which keeps views of one item in one group.
    fn finish(self) -> anyhow::Result<()> {
        let file = self.folder.join("manifest.csv");
        std::fs::write(&file, self.rows)
            .with_context(|| format!("{}: cannot write this file", file.display()))
    }
}
