//! From a profile as it is written to a valid one: names turned into indices, geometry checked.

use crate::error::Problem;
use crate::gate::{Drive, Gate, GpioLine, Pin, PwmChannel};
use crate::profile::{
    Belt, Camera, Destination, Detection, Encoder, Known, MotionSource, PhotoEye, Profile,
};
use crate::raw::{
    RawDetection, RawDrive, RawEncoder, RawGate, RawPhotoEye, RawPin, RawProfile, RawPwm,
};
use crate::reader::{Faults, Field};
use std::collections::BTreeMap;

const PASS_THROUGH: &str = "pass through";

pub(crate) fn resolve(
    raw: RawProfile,
    known: Option<&Known>,
    faults: &mut Faults<'_>,
) -> Option<Profile> {
    let mut lines = Lines::default();
    let gates: Vec<Option<Gate>> = raw
        .gates
        .iter()
        .map(|g| gate(g, &mut lines, faults))
        .collect();
    let eyes: Vec<Option<PhotoEye>> = raw
        .photo_eyes
        .iter()
        .map(|e| photo_eye(e, &mut lines, faults))
        .collect();
    let encoder_missing = raw.encoder.is_none();
    let encoder = raw
        .encoder
        .as_ref()
        .and_then(|e| encoder(e, &mut lines, faults));
    let mut single = |raw: &Option<RawPin>| raw.as_ref().and_then(|p| lines.pin(p, faults));
    let emergency_stop = single(&raw.emergency_stop);
    let belt_run = single(&raw.belt_run);
    if raw.gates.is_empty() && raw.camera.is_some() {
        faults.add(1, Problem::NoGates);
    }
    let names: BTreeMap<&str, usize> = raw
        .gates
        .iter()
        .enumerate()
        .map(|(index, gate)| (gate.name.as_str(), index))
        .collect();
    let reject = raw.reject.and_then(|f| destination(&f, &names, faults));
    for (name, field) in &raw.routes {
        if let Some(known) = known.filter(|k| !k.has(name)) {
            let problem = Problem::UnknownCategory(name.clone(), known.categories.join(", "));
            faults.add(field.line, problem);
        }
    }
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
            format: c.format,
            view_mm: c.view_mm?.value,
            max_loss_ms: c.max_loss_ms?.value,
            min_sharpness: c.min_sharpness?.value,
            max_clipped: c.max_clipped?.value,
            controls: c.controls,
        })
    });
    let (mut decision_line, mut speed_line) = (None, None);
    let belt = raw.belt.and_then(|b| {
        decision_line = b.decision_mm.as_ref().map(|f| f.line);
        speed_line = b.speed_mm_s.as_ref().map(|f| f.line);
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
            ramp_ms: b.ramp_ms?.value,
            motion: motion.value,
            direction: b.direction?,
            decision_mm: b.decision_mm?.value,
        })
    });
    let detection = detection(raw.detection, camera.as_ref(), faults);
    if let (Some(camera), Some(belt)) = (&camera, &belt) {
        decision_in_view(camera, belt, decision_line.unwrap_or(1), faults);
        often_in_view(camera, belt, speed_line.unwrap_or(1), faults);
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
        belt_run,
        gates: gates.into_iter().collect::<Option<_>>()?,
        routes: routes
            .into_iter()
            .map(|(category, d)| d.map(|d| (category, d)))
            .collect::<Option<_>>()?,
        reject: reject?,
    })
}

fn gate(raw: &RawGate, lines: &mut Lines, faults: &mut Faults<'_>) -> Option<Gate> {
    let drive = raw
        .drive
        .as_ref()
        .and_then(|d| drive(d, raw, lines, faults));
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
        drive: drive?,
        distance_mm: value(&raw.distance_mm)?,
        window_mm: value(&raw.window_mm)?,
        opening_lead_ms: value(&raw.opening_lead_ms)?,
        hold_ms: value(&raw.hold_ms)?,
        min_gap_ms: value(&raw.min_gap_ms)?,
        max_on_ms: value(&raw.max_on_ms)?,
    })
}

fn value(field: &Option<Field<f64>>) -> Option<f64> {
    field.as_ref().map(|f| f.value)
}

fn drive(
    raw: &RawDrive,
    gate: &RawGate,
    lines: &mut Lines,
    faults: &mut Faults<'_>,
) -> Option<Drive> {
    Some(match raw {
        RawDrive::Pulse(pin) => Drive::Pulse(lines.pin(pin, faults)?),
        RawDrive::Paddle {
            open,
            close,
            stroke_ms,
        } => {
            let (open, close) = (lines.pin_of(open, faults), lines.pin_of(close, faults));
            Drive::Paddle {
                open: open?,
                close: close?,
                stroke_ms: value(stroke_ms)?,
            }
        }
        RawDrive::Stepper {
            step,
            direction,
            enable,
            steps,
            steps_hz,
        } => {
            let (step, direction) = (lines.pin_of(step, faults), lines.pin_of(direction, faults));
            let enable = enable.as_ref().map(|pin| lines.pin(pin, faults));
            let (steps, steps_hz) = (steps.as_ref()?, value(steps_hz)?);
            opens_in_time(gate, steps.value / steps_hz * 1000.0, steps.line, faults);
            Drive::Stepper {
                step: step?,
                direction: direction?,
                enable: enable.map_or(Some(None), |pin| pin.map(Some))?,
                steps: steps.value as u32,
                steps_hz,
            }
        }
        RawDrive::Servo {
            pwm,
            closed_us,
            open_us,
            period_us,
        } => {
            let pwm = pwm.as_ref().and_then(|p| lines.channel(p, faults));
            let (closed_us, open, period_us) =
                (value(closed_us)?, open_us.as_ref()?, value(period_us)?);
            if closed_us == open.value || closed_us.max(open.value) > period_us {
                let problem = Problem::NoServoPositions {
                    gate: gate.name.clone(),
                    closed_us,
                    open_us: open.value,
                    period_us,
                };
                faults.add(open.line, problem);
            }
            Drive::Servo {
                pwm: pwm?,
                closed_us,
                open_us: open.value,
                period_us,
            }
        }
    })
}

/// Notes a gate that is still moving when it should be open.
fn opens_in_time(gate: &RawGate, needs_ms: f64, line: usize, faults: &mut Faults<'_>) {
    let lead_ms = value(&gate.opening_lead_ms).unwrap_or(f64::MAX);
    if needs_ms > lead_ms {
        let problem = Problem::OpensTooSlowly {
            gate: gate.name.clone(),
            needs_ms,
            opening_lead_ms: lead_ms,
        };
        faults.add(line, problem);
    }
}

fn photo_eye(raw: &RawPhotoEye, lines: &mut Lines, faults: &mut Faults<'_>) -> Option<PhotoEye> {
    let line = lines.pin(&raw.pin, faults);
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

fn encoder(raw: &RawEncoder, lines: &mut Lines, faults: &mut Faults<'_>) -> Option<Encoder> {
    let line = lines.pin(&raw.pin, faults);
    Some(Encoder {
        line: line?,
        mm_per_pulse: raw.mm_per_pulse.as_ref()?.value,
    })
}

/// The lines and channels that have been given out, each with the table that has it.
#[derive(Default)]
struct Lines {
    taken: Vec<(String, String)>,
}

impl Lines {
    fn pin_of(&mut self, raw: &Option<RawPin>, faults: &mut Faults<'_>) -> Option<Pin> {
        raw.as_ref().and_then(|pin| self.pin(pin, faults))
    }

    fn pin(&mut self, raw: &RawPin, faults: &mut Faults<'_>) -> Option<Pin> {
        let line = gpio_line(raw, faults)?;
        self.take(line.to_string(), &raw.section, raw.line_number, faults);
        Some(Pin {
            line,
            active_low: raw.active_low,
        })
    }

    fn channel(&mut self, raw: &RawPwm, faults: &mut Faults<'_>) -> Option<PwmChannel> {
        let pwm = PwmChannel {
            chip: raw.chip.as_ref()?.value.clone(),
            channel: value(&raw.channel)? as u32,
        };
        self.take(pwm.to_string(), &raw.section, raw.line_number, faults);
        Some(pwm)
    }

    /// Notes what somebody else has already.
    fn take(&mut self, what: String, section: &str, line: usize, faults: &mut Faults<'_>) {
        if let Some((_, other)) = self.taken.iter().find(|(taken, _)| *taken == what) {
            let problem = Problem::SharedLine(other.clone(), section.to_owned());
            faults.add(line, problem);
        }
        self.taken.push((what, section.to_owned()));
    }
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

/// Of the view, along the belt.
fn length_mm(camera: &Camera, belt: &Belt) -> f64 {
    camera.view_mm[usize::from(!belt.direction.is_horizontal())]
}

/// The line takes for seen what three frames showed in the inner three quarters of the view.
fn often_in_view(camera: &Camera, belt: &Belt, line: usize, faults: &mut Faults<'_>) {
    let (length_mm, step_mm) = (length_mm(camera, belt), belt.speed_mm_s / camera.rate_hz);
    if step_mm > length_mm / 4.0 {
        let problem = Problem::FastBelt {
            rate_hz: camera.rate_hz,
            speed_mm_s: belt.speed_mm_s,
            step_mm,
            length_mm,
        };
        faults.add(line, problem);
    }
}

fn decision_in_view(camera: &Camera, belt: &Belt, line: usize, faults: &mut Faults<'_>) {
    let length_mm = length_mm(camera, belt);
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
        let line = raw.distance_mm.as_ref().map_or(raw.line_number, |f| f.line);
        faults.add(line, problem);
    }
}
