//! A profile as it is written, every value with its line; `None` where a fault was noted.

use crate::error::Problem;
use crate::gate::Drive;
use crate::profile::{Direction, MotionSource, PIXEL_FORMATS};
use crate::reader::{Faults, Field, Found, Section};
use toml::de::DeTable;

pub(crate) struct RawProfile {
    pub(crate) name: Option<Field<String>>,
    pub(crate) reject: Option<Field<String>>,
    pub(crate) camera: Option<RawCamera>,
    pub(crate) belt: Option<RawBelt>,
    pub(crate) detection: RawDetection,
    pub(crate) encoder: Option<RawEncoder>,
    pub(crate) photo_eyes: Vec<RawPhotoEye>,
    pub(crate) emergency_stop: Option<RawPin>,
    pub(crate) belt_run: Option<RawPin>,
    pub(crate) gates: Vec<RawGate>,
    pub(crate) routes: Vec<(String, Field<String>)>,
}

pub(crate) struct RawCamera {
    pub(crate) device: Option<Field<String>>,
    pub(crate) width_px: Option<Field<f64>>,
    pub(crate) height_px: Option<Field<f64>>,
    pub(crate) rate_hz: Option<Field<f64>>,
    pub(crate) format: Option<String>,
    pub(crate) view_mm: Option<Field<[f64; 2]>>,
    pub(crate) max_loss_ms: Option<Field<f64>>,
    pub(crate) min_sharpness: Option<Field<f64>>,
    pub(crate) max_clipped: Option<Field<f64>>,
    pub(crate) controls: Vec<(String, i64)>,
}

pub(crate) struct RawBelt {
    pub(crate) speed_mm_s: Option<Field<f64>>,
    pub(crate) max_speed_mm_s: Option<Field<f64>>,
    pub(crate) ramp_ms: Option<Field<f64>>,
    pub(crate) motion: Option<Field<MotionSource>>,
    pub(crate) direction: Option<Direction>,
    pub(crate) decision_mm: Option<Field<f64>>,
}

/// Nothing of it has to be there.
#[derive(Default)]
pub(crate) struct RawDetection {
    pub(crate) belt_px: Option<Field<[f64; 4]>>,
    pub(crate) min_area_mm2: Option<f64>,
    pub(crate) shadow_share: Option<f64>,
    pub(crate) neck_share: Option<f64>,
}

pub(crate) struct RawEncoder {
    pub(crate) pin: RawPin,
    pub(crate) mm_per_pulse: Option<Field<f64>>,
}

pub(crate) struct RawPhotoEye {
    pub(crate) name: String,
    pub(crate) pin: RawPin,
    pub(crate) position_mm: Option<Field<f64>>,
    pub(crate) jam_mm: Option<Field<f64>>,
}

/// A line of a GPIO chip, and the table it was named in.
pub(crate) struct RawPin {
    pub(crate) section: String,
    pub(crate) line_number: usize,
    pub(crate) line: Option<String>,
    pub(crate) chip: Option<String>,
    pub(crate) offset: Option<f64>,
    /// A pin was written, but wrongly: the fault has been noted already.
    pub(crate) faulty: bool,
    pub(crate) active_low: bool,
}

pub(crate) struct RawGate {
    pub(crate) name: String,
    pub(crate) line_number: usize,
    pub(crate) drive: Option<RawDrive>,
    pub(crate) distance_mm: Option<Field<f64>>,
    pub(crate) window_mm: Option<Field<f64>>,
    pub(crate) opening_lead_ms: Option<Field<f64>>,
    pub(crate) hold_ms: Option<Field<f64>>,
    pub(crate) min_gap_ms: Option<Field<f64>>,
    pub(crate) max_on_ms: Option<Field<f64>>,
}

/// What moves a gate; a pin that is `None` is missing, which has been noted.
pub(crate) enum RawDrive {
    Pulse(RawPin),
    Paddle {
        open: Option<RawPin>,
        close: Option<RawPin>,
        stroke_ms: Option<Field<f64>>,
    },
    Stepper {
        step: Option<RawPin>,
        direction: Option<RawPin>,
        enable: Option<RawPin>,
        steps: Option<Field<f64>>,
        steps_hz: Option<Field<f64>>,
    },
    Servo {
        pwm: Option<RawPwm>,
        closed_us: Option<Field<f64>>,
        open_us: Option<Field<f64>>,
        period_us: Option<Field<f64>>,
    },
}

/// A channel of a PWM chip, and the table it was named in.
pub(crate) struct RawPwm {
    pub(crate) section: String,
    pub(crate) line_number: usize,
    pub(crate) chip: Option<Field<String>>,
    pub(crate) channel: Option<Field<f64>>,
}

const MM: (f64, f64) = (1.0, 100_000.0);
const MM_S: (f64, f64) = (1.0, 20_000.0);
const MS: (f64, f64) = (0.0, 60_000.0);

impl RawProfile {
    /// Reads `text`. `None` when it is not TOML at all; other faults leave holes.
    pub(crate) fn read(text: &str, faults: &mut Faults<'_>) -> Option<Self> {
        let table = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let line = faults.line_of(error.span().map_or(0, |s| s.start));
                faults.add(line, Problem::Syntax(error.message().to_owned()));
                return None;
            }
        };
        let mut top = Section::new("the profile", 1, table);
        let raw = Self {
            name: top.string("name", faults),
            reject: top.string("reject", faults),
            camera: top.section("camera", faults).map(|s| camera(s, faults)),
            belt: top.section("belt", faults).map(|s| belt(s, faults)),
            detection: optional(&mut top, "detection", faults)
                .map(|s| detection(s, faults))
                .unwrap_or_default(),
            encoder: optional(&mut top, "encoder", faults).map(|s| encoder(s, faults)),
            photo_eyes: photo_eyes(&mut top, faults),
            emergency_stop: pin_table(&mut top, "emergency_stop", faults),
            belt_run: pin_table(&mut top, "belt_run", faults),
            gates: gates(&mut top, faults),
            routes: routes(&mut top, faults),
        };
        top.finish(faults);
        Some(raw)
    }
}

fn camera(mut section: Section<'_>, faults: &mut Faults<'_>) -> RawCamera {
    let camera = RawCamera {
        device: section.string("device", faults),
        width_px: section.number("width_px", (16.0, 16_384.0), faults),
        height_px: section.number("height_px", (16.0, 16_384.0), faults),
        rate_hz: section.number("rate_hz", (2.0, 1_000.0), faults),
        format: format(&mut section, faults),
        view_mm: section.array("view_mm", MM, faults),
        max_loss_ms: section.number_or("max_loss_ms", 5_000.0, (1_000.0, 600_000.0), faults),
        min_sharpness: section.number_or("min_sharpness", 0.3, (0.0, 1.0), faults),
        max_clipped: section.number_or("max_clipped", 0.9, (0.0, 1.0), faults),
        controls: optional(&mut section, "controls", faults)
            .map(|mut controls| controls.integers(faults))
            .unwrap_or_default(),
    };
    section.finish(faults);
    camera
}

fn format(section: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let field = section.optional_string("format", faults).into_option()?;
    let found = PIXEL_FORMATS.contains(&field.value.as_str());
    let names = "\"RGB3\", \"BGR3\", \"YUYV\", \"NV12\", \"MJPG\" or \"GREY\"";
    known(
        found.then_some(field.value),
        "format",
        names,
        field.line,
        faults,
    )
}

fn belt(mut section: Section<'_>, faults: &mut Faults<'_>) -> RawBelt {
    let direction = section.string("direction", faults).and_then(|field| {
        let found = Direction::from_name(&field.value);
        known(found, "direction", Direction::NAMES, field.line, faults)
    });
    let motion = match section.optional_string("motion", faults) {
        Found::Absent => Some(Field {
            value: MotionSource::Fixed,
            line: section.line(),
        }),
        Found::Bad => None,
        Found::Good(field) => {
            let found = MotionSource::from_name(&field.value);
            known(found, "motion", MotionSource::NAMES, field.line, faults).map(|value| Field {
                value,
                line: field.line,
            })
        }
    };
    let speed_mm_s = section.number("speed_mm_s", MM_S, faults);
    let fastest = speed_mm_s.as_ref().map_or(MM_S.1, |f| f.value * OVERSPEED);
    let belt = RawBelt {
        max_speed_mm_s: section.number_or(
            "max_speed_mm_s",
            fastest,
            (MM_S.0, MM_S.1 * OVERSPEED),
            faults,
        ),
        ramp_ms: section.number_or("ramp_ms", 400.0, (10.0, MS.1), faults),
        speed_mm_s,
        motion,
        direction,
        decision_mm: section.number("decision_mm", (-50_000.0, 50_000.0), faults),
    };
    section.finish(faults);
    belt
}

fn detection(mut section: Section<'_>, faults: &mut Faults<'_>) -> RawDetection {
    let has_belt = section.has("belt_px");
    let belt_px = has_belt.then(|| section.array("belt_px", (0.0, 16_384.0), faults));
    let mut number = |key, range| {
        let there = section.has(key);
        let field = there.then(|| section.number(key, range, faults));
        field.flatten().map(|f| f.value)
    };
    let detection = RawDetection {
        belt_px: belt_px.flatten(),
        min_area_mm2: number("min_area_mm2", (1.0, 1e6)),
        shadow_share: number("shadow_share", (0.01, 0.99)),
        neck_share: number("neck_share", (0.01, 0.99)),
    };
    section.finish(faults);
    detection
}

/// Faster than this times its nominal speed, a belt runs away, unless the profile says otherwise.
const OVERSPEED: f64 = 1.5;

fn known<T>(
    found: Option<T>,
    key: &str,
    expected: &'static str,
    line: usize,
    faults: &mut Faults<'_>,
) -> Option<T> {
    if found.is_none() {
        let key = key.to_owned();
        faults.add(line, Problem::WrongType { key, expected });
    }
    found
}

fn optional<'t>(top: &mut Section<'t>, key: &str, faults: &mut Faults<'_>) -> Option<Section<'t>> {
    if top.has(key) {
        top.section(key, faults)
    } else {
        None
    }
}

fn encoder(mut section: Section<'_>, faults: &mut Faults<'_>) -> RawEncoder {
    let encoder = RawEncoder {
        pin: pin(&mut section, faults),
        mm_per_pulse: section.number("mm_per_pulse", (0.001, 1_000.0), faults),
    };
    section.finish(faults);
    encoder
}

fn photo_eyes(top: &mut Section<'_>, faults: &mut Faults<'_>) -> Vec<RawPhotoEye> {
    let Some(mut section) = optional(top, "photo_eyes", faults) else {
        return Vec::new();
    };
    let tables = section.sections(faults).into_iter();
    let eye = |(name, mut section): (String, Section<'_>)| {
        let eye = RawPhotoEye {
            pin: pin(&mut section, faults),
            position_mm: section.number("position_mm", (-MM.1, MM.1), faults),
            jam_mm: section.number_or("jam_mm", 600.0, MM, faults),
            name,
        };
        section.finish(faults);
        eye
    };
    tables.map(eye).collect()
}

fn pin(section: &mut Section<'_>, faults: &mut Faults<'_>) -> RawPin {
    let line = section.optional_string("line", faults);
    let chip = section.optional_string("chip", faults);
    let has_offset = section.has("offset");
    let offset = has_offset.then(|| section.number("offset", (0.0, 65_535.0), faults));
    let faulty = matches!(line, Found::Bad)
        || matches!(chip, Found::Bad)
        || (has_offset && matches!(offset, Some(None)));
    RawPin {
        section: section.title().to_owned(),
        line_number: section.line(),
        line: line.into_option().map(|f| f.value),
        chip: chip.into_option().map(|f| f.value),
        offset: offset.flatten().map(|f| f.value),
        faulty,
        active_low: section.flag("active_low", faults),
    }
}

/// A table that holds nothing but a pin.
fn pin_table(top: &mut Section<'_>, key: &str, faults: &mut Faults<'_>) -> Option<RawPin> {
    let mut section = optional(top, key, faults)?;
    let pin = pin(&mut section, faults);
    section.finish(faults);
    Some(pin)
}

/// As [`pin_table`], for one that must be there.
fn pin_needed(top: &mut Section<'_>, key: &str, faults: &mut Faults<'_>) -> Option<RawPin> {
    let mut section = top.section(key, faults)?;
    let pin = pin(&mut section, faults);
    section.finish(faults);
    Some(pin)
}

fn drive(section: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<RawDrive> {
    let kind = match section.optional_string("kind", faults) {
        Found::Absent => return Some(RawDrive::Pulse(pin(section, faults))),
        found => found.into_option()?,
    };
    Some(match kind.value.as_str() {
        "pulse" => RawDrive::Pulse(pin(section, faults)),
        "paddle" => RawDrive::Paddle {
            open: pin_needed(section, "open", faults),
            close: pin_needed(section, "close", faults),
            stroke_ms: section.number("stroke_ms", (1.0, 5_000.0), faults),
        },
        "stepper" => RawDrive::Stepper {
            step: pin_needed(section, "step", faults),
            direction: pin_needed(section, "direction", faults),
            enable: pin_table(section, "enable", faults),
            steps: section.number("steps", (1.0, 100_000.0), faults),
            steps_hz: section.number("steps_hz", (1.0, 5_000.0), faults),
        },
        "servo" => RawDrive::Servo {
            pwm: pwm(section, faults),
            closed_us: section.number("closed_us", (100.0, 20_000.0), faults),
            open_us: section.number("open_us", (100.0, 20_000.0), faults),
            period_us: section.number_or("period_us", 20_000.0, (1_000.0, 50_000.0), faults),
        },
        _ => return known(None, "kind", Drive::NAMES, kind.line, faults),
    })
}

fn pwm(gate: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<RawPwm> {
    let mut section = gate.section("pwm", faults)?;
    let pwm = RawPwm {
        section: section.title().to_owned(),
        line_number: section.line(),
        chip: section.string("chip", faults),
        channel: section.number("channel", (0.0, 63.0), faults),
    };
    section.finish(faults);
    Some(pwm)
}

fn gates(top: &mut Section<'_>, faults: &mut Faults<'_>) -> Vec<RawGate> {
    if !top.has("gates") {
        faults.add(top.line(), Problem::NoGates);
        return Vec::new();
    }
    let Some(mut section) = top.section("gates", faults) else {
        return Vec::new();
    };
    let tables = section.sections(faults);
    tables
        .into_iter()
        .map(|(name, table)| gate(name, table, faults))
        .collect()
}

fn gate(name: String, mut section: Section<'_>, faults: &mut Faults<'_>) -> RawGate {
    let gate = RawGate {
        line_number: section.line(),
        drive: drive(&mut section, faults),
        distance_mm: section.number("distance_mm", MM, faults),
        window_mm: section.number_or("window_mm", 40.0, MM, faults),
        opening_lead_ms: section.number("opening_lead_ms", MS, faults),
        hold_ms: section.number("hold_ms", (1.0, MS.1), faults),
        min_gap_ms: section.number("min_gap_ms", MS, faults),
        max_on_ms: section.number("max_on_ms", (1.0, MS.1), faults),
        name,
    };
    section.finish(faults);
    gate
}

fn routes(top: &mut Section<'_>, faults: &mut Faults<'_>) -> Vec<(String, Field<String>)> {
    if !top.has("routes") {
        faults.add(top.line(), Problem::NoRoutes);
        return Vec::new();
    }
    top.section("routes", faults)
        .map(|mut section| section.strings(faults))
        .unwrap_or_default()
}
