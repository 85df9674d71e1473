//! The resolved profile: names turned into indices, geometry checked.

use crate::error::{Problem, ProfileError};
use crate::raw::{RawDetection, RawEncoder, RawGate, RawPhotoEye, RawPin, RawProfile};
use crate::reader::{Faults, Field};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// The camera device that stands for the simulator's.
pub const SIMULATED: &str = "simulated";

const PASS_THROUGH: &str = "pass through";

/// A board that can only be valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    name: String,
    camera: Camera,
    belt: Belt,
    detection: Detection,
    encoder: Option<Encoder>,
    photo_eyes: Vec<PhotoEye>,
    emergency_stop: Option<InputLine>,
    gates: Vec<Gate>,
    routes: Vec<(String, Destination)>,
    reject: Destination,
}

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
    /// Belt seen in a picture: along its width, along its height.
    pub view_mm: [f64; 2],
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
    pub line: InputLine,
    /// Travel of the belt per pulse.
    pub mm_per_pulse: f64,
}

/// A light barrier across the belt.
#[derive(Debug, Clone, PartialEq)]
pub struct PhotoEye {
    /// Its name in reports.
    pub name: String,
    /// The input that is active while the beam is blocked.
    pub line: InputLine,
    /// Distance from the centre of the camera's view.
    pub position_mm: f64,
    /// Blocked while the belt travels further than this, it means a jam.
    pub jam_mm: f64,
}

/// An input of a GPIO chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputLine {
    /// Where it is.
    pub line: GpioLine,
    /// Whether the line is low while the input is active.
    pub active_low: bool,
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

/// One gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Its name in routes and reports.
    pub name: String,
    /// The output that moves it.
    pub line: GpioLine,
    /// Whether the line is low while the gate is open.
    pub active_low: bool,
    /// Distance from the centre of the camera's view.
    pub distance_mm: f64,
    /// Length of belt that an open gate clears, centred on `distance_mm`.
    pub window_mm: f64,
    /// Time from switching on to being open.
    pub opening_lead_ms: f64,
    /// Time it stays open for one item, centred on the item's passing.
    pub hold_ms: f64,
    /// Shortest time between two firings.
    pub min_gap_ms: f64,
    /// Longest time it may be switched on.
    pub max_on_ms: f64,
}

/// A line of a GPIO chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GpioLine {
    /// By the line's own name.
    Named(String),
    /// By the chip's label (numbers of chips move between kernels) and the line's offset.
    Offset {
        /// Label of the chip.
        chip: String,
        /// Offset of the line.
        offset: u32,
    },
}

impl std::fmt::Display for GpioLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => write!(f, "line {name}"),
            Self::Offset { chip, offset } => write!(f, "line {offset} of chip {chip}"),
        }
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

impl Profile {
    /// Reads the profile in a file.
    ///
    /// # Errors
    /// [`ProfileError::Unreadable`], or [`ProfileError::Invalid`] with all faults.
    pub fn open(path: &Path) -> Result<Self, ProfileError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_toml(&file, &text),
            Err(error) => Err(ProfileError::Unreadable {
                file,
                message: error.to_string(),
            }),
        }
    }

    /// Reads the profile in `text`; `file` is how errors name it.
    ///
    /// # Errors
    /// [`ProfileError::Invalid`] with all faults.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, ProfileError> {
        let mut faults = Faults::new(text);
        let profile = RawProfile::read(text, &mut faults).and_then(|raw| resolve(raw, &mut faults));
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
    pub fn emergency_stop(&self) -> Option<&InputLine> {
        self.emergency_stop.as_ref()
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

fn resolve(raw: RawProfile, faults: &mut Faults<'_>) -> Option<Profile> {
    let gates: Vec<Option<Gate>> = raw.gates.iter().map(|g| gate(g, faults)).collect();
    let eyes: Vec<Option<PhotoEye>> = raw
        .photo_eyes
        .iter()
        .map(|e| photo_eye(e, faults))
        .collect();
    let encoder_missing = raw.encoder.is_none();
    let encoder = raw.encoder.as_ref().and_then(|e| encoder(e, faults));
    if raw.gates.is_empty() && raw.camera.is_some() {
        faults.add(1, Problem::NoGates);
    }
    let gate_pins = raw
        .gates
        .iter()
        .map(|g| &g.pin)
        .zip(gates.iter().map(|g| Some(&g.as_ref()?.line)));
    let eye_pins = raw
        .photo_eyes
        .iter()
        .map(|e| &e.pin)
        .zip(eyes.iter().map(|e| Some(&e.as_ref()?.line.line)));
    let encoder_pin = raw
        .encoder
        .iter()
        .map(|e| &e.pin)
        .zip(encoder.iter().map(|e| Some(&e.line.line)));
    let stop = raw.emergency_stop.as_ref();
    let emergency_stop = stop.and_then(|pin| input_line(pin, faults));
    let stop_pin = stop.map(|pin| (pin, emergency_stop.as_ref().map(|input| &input.line)));
    let pins = gate_pins.chain(eye_pins).chain(encoder_pin).chain(stop_pin);
    shared_lines(pins, faults);
    let names: BTreeMap<&str, usize> = raw
        .gates
        .iter()
        .enumerate()
        .map(|(index, gate)| (gate.name.as_str(), index))
        .collect();
    let reject = raw.reject.and_then(|f| destination(&f, &names, faults));
    let routes: Vec<(String, Option<Destination>)> = raw
        .routes
        .iter()
        .map(|(category, field)| (category.clone(), destination(field, &names, faults)))
        .collect();
    let camera = raw.camera.and_then(|c| {
        Some(Camera {
            device: c.device?.value,
            width_px: c.width_px?.value as u32,
            height_px: c.height_px?.value as u32,
            rate_hz: c.rate_hz?.value,
            view_mm: c.view_mm?.value,
            controls: c.controls,
        })
    });
    let mut decision_line = None;
    let belt = raw.belt.and_then(|b| {
        decision_line = b.decision_mm.as_ref().map(|f| f.line);
        let (speed, limit) = (b.speed_mm_s?, b.max_speed_mm_s?);
        if limit.value <= speed.value {
            let problem = Problem::SpeedLimit {
                max_speed_mm_s: limit.value,
                speed_mm_s: speed.value,
            };
            faults.add(limit.line, problem);
        }
        let motion = b.motion?;
        if (motion.value == MotionSource::Encoder) == encoder_missing {
            faults.add(motion.line, Problem::EncoderAlone);
        }
        Some(Belt {
            speed_mm_s: speed.value,
            max_speed_mm_s: limit.value,
            motion: motion.value,
            direction: b.direction?,
            decision_mm: b.decision_mm?.value,
        })
    });
    let detection = detection(raw.detection, camera.as_ref(), faults);
    if let (Some(camera), Some(belt)) = (&camera, &belt) {
        decision_in_view(camera, belt, decision_line.unwrap_or(1), faults);
    }
    if let Some(belt) = &belt {
        for (raw, gate) in raw.gates.iter().zip(&gates) {
            if let Some(gate) = gate {
                gate_after_decision(gate, belt, raw, faults);
            }
        }
    }
    Some(Profile {
        name: raw.name?.value,
        camera: camera?,
        belt: belt?,
        detection,
        encoder,
        photo_eyes: eyes.into_iter().collect::<Option<_>>()?,
        emergency_stop,
        gates: gates.into_iter().collect::<Option<_>>()?,
        routes: routes
            .into_iter()
            .map(|(category, d)| d.map(|d| (category, d)))
            .collect::<Option<_>>()?,
        reject: reject?,
    })
}

fn gate(raw: &RawGate, faults: &mut Faults<'_>) -> Option<Gate> {
    let line = gpio_line(&raw.pin, faults);
    let value = |field: &Option<Field<f64>>| field.as_ref().map(|f| f.value);
    if let (Some(lead), Some(hold), Some(max)) = (
        value(&raw.opening_lead_ms),
        value(&raw.hold_ms),
        &raw.max_on_ms,
    ) && lead + hold > max.value
    {
        let problem = Problem::FiringTooLong {
            gate: raw.name.clone(),
            on_ms: lead + hold,
            max_on_ms: max.value,
        };
        faults.add(max.line, problem);
    }
    Some(Gate {
        name: raw.name.clone(),
        line: line?,
        active_low: raw.pin.active_low,
        distance_mm: value(&raw.distance_mm)?,
        window_mm: value(&raw.window_mm)?,
        opening_lead_ms: value(&raw.opening_lead_ms)?,
        hold_ms: value(&raw.hold_ms)?,
        min_gap_ms: value(&raw.min_gap_ms)?,
        max_on_ms: value(&raw.max_on_ms)?,
    })
}

fn photo_eye(raw: &RawPhotoEye, faults: &mut Faults<'_>) -> Option<PhotoEye> {
    let line = input_line(&raw.pin, faults);
    Some(PhotoEye {
        name: raw.name.clone(),
        line: line?,
        position_mm: raw.position_mm.as_ref()?.value,
        jam_mm: raw.jam_mm.as_ref()?.value,
    })
}

fn detection(raw: RawDetection, camera: Option<&Camera>, faults: &mut Faults<'_>) -> Detection {
    let belt_px = raw.belt_px.map(|field| {
        let [left, top, right, bottom] = field.value.map(|v| v as u32);
        let fits = camera.is_none_or(|c| right <= c.width_px && bottom <= c.height_px);
        if left >= right || top >= bottom || !fits {
            faults.add(field.line, Problem::BeltOutOfPicture);
        }
        [left, top, right, bottom]
    });
    Detection {
        belt_px,
        min_area_mm2: raw.min_area_mm2,
        shadow_share: raw.shadow_share,
        neck_share: raw.neck_share,
    }
}

fn encoder(raw: &RawEncoder, faults: &mut Faults<'_>) -> Option<Encoder> {
    let line = input_line(&raw.pin, faults);
    Some(Encoder {
        line: line?,
        mm_per_pulse: raw.mm_per_pulse.as_ref()?.value,
    })
}

fn input_line(raw: &RawPin, faults: &mut Faults<'_>) -> Option<InputLine> {
    Some(InputLine {
        line: gpio_line(raw, faults)?,
        active_low: raw.active_low,
    })
}

fn gpio_line(raw: &RawPin, faults: &mut Faults<'_>) -> Option<GpioLine> {
    match (&raw.line, &raw.chip, raw.offset) {
        (Some(name), None, None) => Some(GpioLine::Named(name.clone())),
        (None, Some(chip), Some(offset)) => Some(GpioLine::Offset {
            chip: chip.clone(),
            offset: offset as u32,
        }),
        _ if raw.faulty => None,
        _ => {
            faults.add(raw.line_number, Problem::NoLine(raw.section.clone()));
            None
        }
    }
}

/// Notes every pin that is on the line of one before it.
fn shared_lines<'r>(
    pins: impl Iterator<Item = (&'r RawPin, Option<&'r GpioLine>)>,
    faults: &mut Faults<'_>,
) {
    let mut seen: Vec<(&RawPin, &GpioLine)> = Vec::new();
    for (pin, line) in pins {
        let Some(line) = line else { continue };
        if let Some((other, _)) = seen.iter().find(|(_, known)| *known == line) {
            let problem = Problem::SharedLine(other.section.clone(), pin.section.clone());
            faults.add(pin.line_number, problem);
        }
        seen.push((pin, line));
    }
}

fn destination(
    field: &Field<String>,
    gates: &BTreeMap<&str, usize>,
    faults: &mut Faults<'_>,
) -> Option<Destination> {
    if field.value == PASS_THROUGH {
        return Some(Destination::PassThrough);
    }
    let found = gates.get(field.value.as_str()).copied();
    if found.is_none() {
        faults.add(field.line, Problem::UnknownGate(field.value.clone()));
    }
    found.map(Destination::Gate)
}

fn decision_in_view(camera: &Camera, belt: &Belt, line: usize, faults: &mut Faults<'_>) {
    let length_mm = camera.view_mm[usize::from(!belt.direction.is_horizontal())];
    if belt.decision_mm.abs() > length_mm / 2.0 {
        let problem = Problem::DecisionOutOfView {
            decision_mm: belt.decision_mm,
            end_mm: length_mm / 2.0,
        };
        faults.add(line, problem);
    }
}

fn gate_after_decision(gate: &Gate, belt: &Belt, raw: &RawGate, faults: &mut Faults<'_>) {
    let before_ms = gate.opening_lead_ms + gate.hold_ms / 2.0;
    let opens_at_mm = gate.distance_mm - belt.speed_mm_s * before_ms / 1000.0;
    if opens_at_mm <= belt.decision_mm {
        let problem = Problem::GateBeforeDecision {
            gate: gate.name.clone(),
            distance_mm: gate.distance_mm,
            opens_at_mm,
            decision_mm: belt.decision_mm,
        };
        let line = raw
            .distance_mm
            .as_ref()
            .map_or(raw.pin.line_number, |f| f.line);
        faults.add(line, problem);
    }
}

#[cfg(test)]
mod tests;
