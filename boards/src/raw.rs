//! A profile as it is written, every value with its line; `None` where a fault was noted.

use crate::error::Problem;
use crate::profile::Direction;
use crate::reader::{Faults, Field, Found, Section};
use toml::de::DeTable;

pub(crate) struct RawProfile {
    pub(crate) name: Option<Field<String>>,
    pub(crate) reject: Option<Field<String>>,
    pub(crate) camera: Option<RawCamera>,
    pub(crate) belt: Option<RawBelt>,
    pub(crate) gates: Vec<RawGate>,
    pub(crate) routes: Vec<(String, Field<String>)>,
}

pub(crate) struct RawCamera {
    pub(crate) device: Option<Field<String>>,
    pub(crate) width_px: Option<Field<f64>>,
    pub(crate) height_px: Option<Field<f64>>,
    pub(crate) rate_hz: Option<Field<f64>>,
    pub(crate) view_mm: Option<Field<[f64; 2]>>,
}

pub(crate) struct RawBelt {
    pub(crate) speed_mm_s: Option<Field<f64>>,
    pub(crate) direction: Option<Direction>,
    pub(crate) decision_mm: Option<Field<f64>>,
}

pub(crate) struct RawGate {
    pub(crate) name: String,
    pub(crate) line_number: usize,
    pub(crate) line: Option<String>,
    pub(crate) chip: Option<String>,
    pub(crate) offset: Option<f64>,
    /// A pin was written, but wrongly: the fault has been noted already.
    pub(crate) pin_faulty: bool,
    pub(crate) active_low: bool,
    pub(crate) distance_mm: Option<Field<f64>>,
    pub(crate) window_mm: Option<Field<f64>>,
    pub(crate) opening_lead_ms: Option<Field<f64>>,
    pub(crate) hold_ms: Option<Field<f64>>,
    pub(crate) min_gap_ms: Option<Field<f64>>,
    pub(crate) max_on_ms: Option<Field<f64>>,
}

const MM: (f64, f64) = (1.0, 100_000.0);
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
        rate_hz: section.number("rate_hz", (1.0, 1_000.0), faults),
        view_mm: section.pair("view_mm", MM, faults),
    };
    section.finish(faults);
    camera
}

fn belt(mut section: Section<'_>, faults: &mut Faults<'_>) -> RawBelt {
    let direction = section.string("direction", faults).and_then(|field| {
        let found = Direction::from_name(&field.value);
        if found.is_none() {
            let problem = Problem::WrongType {
                key: "direction".to_owned(),
                expected: Direction::NAMES,
            };
            faults.add(field.line, problem);
        }
        found
    });
    let belt = RawBelt {
        speed_mm_s: section.number("speed_mm_s", (1.0, 20_000.0), faults),
        direction,
        decision_mm: section.number("decision_mm", (-50_000.0, 50_000.0), faults),
    };
    section.finish(faults);
    belt
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
    let line = section.optional_string("line", faults);
    let chip = section.optional_string("chip", faults);
    let has_offset = section.has("offset");
    let offset = has_offset.then(|| section.number("offset", (0.0, 65_535.0), faults));
    let pin_faulty = matches!(line, Found::Bad)
        || matches!(chip, Found::Bad)
        || (has_offset && matches!(offset, Some(None)));
    let gate = RawGate {
        line_number: section.line(),
        line: line.into_option().map(|f| f.value),
        chip: chip.into_option().map(|f| f.value),
        offset: offset.flatten().map(|f| f.value),
        pin_faulty,
        active_low: section.flag("active_low", faults),
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
