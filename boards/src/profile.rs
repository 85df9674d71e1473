//! The resolved profile.

use crate::error::ProfileError;
use crate::gate::{Gate, Pin};
use crate::raw::RawProfile;
use crate::reader::Faults;
use crate::resolve::resolve;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::Path;

/// The camera device that stands for the simulator's.
pub const SIMULATED: &str = "simulated";

/// A board that can only be valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) camera: Camera,
    pub(crate) belt: Belt,
    pub(crate) detection: Detection,
    pub(crate) encoder: Option<Encoder>,
    pub(crate) photo_eyes: Vec<PhotoEye>,
    pub(crate) emergency_stop: Option<Pin>,
    pub(crate) belt_run: Option<Pin>,
    pub(crate) gates: Vec<Gate>,
    pub(crate) routes: Vec<(String, Destination)>,
    pub(crate) reject: Destination,
}

/// Pixel formats of cameras, by the four characters that V4L2 gives them.
pub const PIXEL_FORMATS: [&str; 6] = ["RGB3", "BGR3", "YUYV", "NV12", "MJPG", "GREY"];

/// The camera and what it sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Camera {
    /// A stable device name (for example a path below `/dev/v4l/by-id`), or [`SIMULATED`].
    pub device: String,
    /// Picture size.
    pub width_px: u32,
    /// Picture size.
    pub height_px: u32,
    /// Frames per second asked for.
    pub rate_hz: f64,
    /// The only pixel format that is taken, one of [`PIXEL_FORMATS`]; else whichever suits best.
    pub format: Option<String>,
    /// Belt seen in a picture: along its width, along its height.
    pub view_mm: [f64; 2],
    /// Without a picture for longer than this, everything stops.
    pub max_loss_ms: f64,
    /// A view with edges softer than this does not vote; 1 is as sharp as pixels allow, 0.25 blurred.
    pub min_sharpness: f64,
    /// A view of which a larger share is black or white for certain does not vote.
    pub max_clipped: f64,
    /// The camera's own settings (exposure, gain, focus), by the names that its driver gives them.
    pub controls: Vec<(String, i64)>,
}

/// The belt.
#[derive(Debug, Clone, PartialEq)]
pub struct Belt {
    /// Nominal speed.
    pub speed_mm_s: f64,
    /// Beyond this speed nothing is sorted.
    pub max_speed_mm_s: f64,
    /// The shortest time in which it comes from standing still to its nominal speed, or back.
    pub ramp_ms: f64,
    /// How its motion is known.
    pub motion: MotionSource,
    /// Which way items travel in the picture.
    pub direction: Direction,
    /// Where the decision about an item falls, seen from the centre of the view.
    pub decision_mm: f64,
}

/// How items are told from the belt, where that differs from the detector's own defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detection {
    /// The belt in the picture as left, top, right and bottom; nothing is looked for outside. The
    /// whole picture where there is none.
    pub belt_px: Option<[u32; 4]>,
    /// What is smaller is dirt.
    pub min_area_mm2: Option<f64>,
    /// Share of the belt's light that a shadow takes at the most, 0 to 1; what is darker is an item.
    pub shadow_share: Option<f64>,
    /// A region is cut in two at a neck narrower than this share of the smaller part, 0 to 1.
    pub neck_share: Option<f64>,
}

/// How the belt's motion is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MotionSource {
    /// It always runs at its nominal speed.
    Fixed,
    /// From the pulses of the [`Encoder`].
    Encoder,
    /// From how items move through the camera's view; the nominal speed is where that starts.
    Camera,
}

impl MotionSource {
    pub(crate) const NAMES: &'static str = "\"fixed\", \"encoder\" or \"camera\"";

    /// The source with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Fixed, Self::Encoder, Self::Camera];
        all.into_iter().find(|source| source.name() == name)
    }

    /// Its name in profiles.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Encoder => "encoder",
            Self::Camera => "camera",
        }
    }
}

/// A wheel or roller that gives pulses as the belt moves.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoder {
    /// The input that gets them.
    pub line: Pin,
    /// Travel of the belt per pulse.
    pub mm_per_pulse: f64,
}

/// A light barrier across the belt.
#[derive(Debug, Clone, PartialEq)]
pub struct PhotoEye {
    /// Its name in reports.
    pub name: String,
    /// The input that is active while the beam is blocked.
    pub line: Pin,
    /// Distance from the centre of the camera's view.
    pub position_mm: f64,
    /// Blocked while the belt travels further than this, it means a jam.
    pub jam_mm: f64,
}

/// Which way items travel in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Towards larger x.
    LeftToRight,
    /// Towards smaller x.
    RightToLeft,
    /// Towards larger y.
    TopToBottom,
    /// Towards smaller y.
    BottomToTop,
}

impl Direction {
    pub(crate) const NAMES: &'static str =
        "\"left-to-right\", \"right-to-left\", \"top-to-bottom\" or \"bottom-to-top\"";

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "left-to-right" => Self::LeftToRight,
            "right-to-left" => Self::RightToLeft,
            "top-to-bottom" => Self::TopToBottom,
            "bottom-to-top" => Self::BottomToTop,
            _ => return None,
        })
    }

    /// Whether items travel along the picture's width.
    pub fn is_horizontal(self) -> bool {
        matches!(self, Self::LeftToRight | Self::RightToLeft)
    }
}

/// Where an item goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// Through the gate with this index in [`Profile::gates`].
    Gate(usize),
    /// To the end of the belt.
    PassThrough,
}

/// What routes may be for: the categories of a bundle, and its items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Names of categories.
    pub categories: Vec<String>,
    /// Items, as CATEGORY/ITEM.
    pub items: Vec<String>,
}

impl Known {
    pub(crate) fn has(&self, name: &str) -> bool {
        let mut names = self.categories.iter().chain(&self.items);
        names.any(|n| n == name)
    }
}

fn read(path: &Path) -> Result<(String, String), ProfileError> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((file, text)),
        Err(error) => Err(ProfileError::Unreadable {
            file,
            message: error.to_string(),
        }),
    }
}

impl Profile {
    /// Reads the profile in a file.
    ///
    /// # Errors
    /// [`ProfileError::Unreadable`], or [`ProfileError::Invalid`] with all faults.
    pub fn open(path: &Path) -> Result<Self, ProfileError> {
        let (file, text) = read(path)?;
        Self::from_toml(&file, &text)
    }

    /// As [`Profile::open`], with routes only for these categories and items.
    ///
    /// # Errors
    /// As there; a route for anything else is a fault too.
    pub fn open_for(path: &Path, known: &Known) -> Result<Self, ProfileError> {
        let (file, text) = read(path)?;
        Self::parse(&file, &text, Some(known))
    }

    /// Reads the profile in `text`; `file` is how errors name it.
    ///
    /// # Errors
    /// [`ProfileError::Invalid`] with all faults.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, ProfileError> {
        Self::parse(file, text, None)
    }

    fn parse(file: &str, text: &str, known: Option<&Known>) -> Result<Self, ProfileError> {
        let mut faults = Faults::new(text);
        let raw = RawProfile::read(text, &mut faults);
        let profile = raw.and_then(|raw| resolve(raw, known, &mut faults));
        let faults = faults.into_sorted();
        match profile {
            Some(profile) if faults.is_empty() => Ok(profile),
            _ => Err(ProfileError::Invalid {
                file: file.to_owned(),
                faults,
            }),
        }
    }

    /// The simulator's board: one gate per category, in their order; what is rejected passes through.
    ///
    /// Times follow the speed, so that a gate clears the same length of belt at any speed; so does the
    /// distance of the gates, so that there is time to answer.
    ///
    /// # Errors
    /// [`ProfileError::Invalid`] when the speed is out of range or there is no category.
    pub fn simulated(
        categories: &[String],
        speed_mm_s: f64,
        motion: MotionSource,
    ) -> Result<Self, ProfileError> {
        let text = simulated_toml(categories, speed_mm_s, motion);
        Self::from_toml("simulated board", &text)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its camera.
    pub fn camera(&self) -> &Camera {
        &self.camera
    }

    /// Its belt.
    pub fn belt(&self) -> &Belt {
        &self.belt
    }

    /// How items are told from its belt.
    pub fn detection(&self) -> &Detection {
        &self.detection
    }

    /// Its encoder; there is one exactly when the belt's motion comes from it.
    pub fn encoder(&self) -> Option<&Encoder> {
        self.encoder.as_ref()
    }

    /// Its photo-eyes, in the order of the file.
    pub fn photo_eyes(&self) -> &[PhotoEye] {
        &self.photo_eyes
    }

    /// The input that is active while the line may run. It is to be a normally closed contact, so that
    /// a cut wire stops the line.
    pub fn emergency_stop(&self) -> Option<&Pin> {
        self.emergency_stop.as_ref()
    }

    /// The output that lets the belt run: active while the program sorts.
    pub fn belt_run(&self) -> Option<&Pin> {
        self.belt_run.as_ref()
    }

    /// Its gates, in the order of the file.
    pub fn gates(&self) -> &[Gate] {
        &self.gates
    }

    /// Where each category goes, in the order of the file.
    pub fn routes(&self) -> &[(String, Destination)] {
        &self.routes
    }

    /// Where an item of this category goes, if the board says so.
    pub fn route(&self, category: &str) -> Option<Destination> {
        let found = self.routes.iter().find(|(name, _)| name == category);
        found.map(|(_, destination)| *destination)
    }

    /// Where items in doubt go.
    pub fn reject(&self) -> Destination {
        self.reject
    }

    /// Length of the view along the belt.
    pub fn view_length_mm(&self) -> f64 {
        self.camera.view_mm[usize::from(!self.belt.direction.is_horizontal())]
    }
}

/// Where the simulated board decides, and how long an item takes from there to the first gate at least:
/// two classifications, and the release of the firing.
const DECISION_MM: f64 = 100.0;
const ANSWER_S: f64 = 0.3;

fn simulated_toml(categories: &[String], speed_mm_s: f64, motion: MotionSource) -> String {
    let ms = |mm: f64| mm / speed_mm_s * 1000.0;
    let (hold_ms, lead_ms) = (ms(48.0), ms(8.0));
    let first_mm = (DECISION_MM + ANSWER_S * speed_mm_s).max(500.0).round();
    let mut text = format!(
        "name = \"simulated\"\nreject = \"pass through\"\n\
         [camera]\ndevice = \"simulated\"\nwidth_px = 640\nheight_px = 480\n\
         rate_hz = {:.3}\nview_mm = [400, 300]\n\
         [belt]\nspeed_mm_s = {speed_mm_s}\nmotion = \"{}\"\ndirection = \"left-to-right\"\n\
         decision_mm = {DECISION_MM}\n",
        (speed_mm_s / 20.0).clamp(20.0, 120.0),
        motion.name(),
    );
    if motion == MotionSource::Encoder {
        text += "[encoder]\nline = \"simulated-encoder\"\nmm_per_pulse = 0.5\n";
    }
    let mut routes = String::from("[routes]\n");
    for (index, category) in categories.iter().enumerate() {
        let distance_mm = first_mm + 200.0 * index as f64;
        let _ = write!(
            text,
            "[gates.gate-{n}]\nline = \"simulated-{n}\"\ndistance_mm = {distance_mm}\n\
             opening_lead_ms = {lead_ms:.3}\nhold_ms = {hold_ms:.3}\nmin_gap_ms = {gap:.3}\nmax_on_ms = {max:.3}\n",
            n = index + 1,
            gap = ms(8.0),
            max = ms(400.0),
        );
        let _ = writeln!(routes, "{} = \"gate-{}\"", quoted(category), index + 1);
    }
    text + &routes
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
