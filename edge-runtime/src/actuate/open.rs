//! Opens a board's outputs.

use super::gpio::GpioPin;
use super::pwm::{CLASS, SysfsPwm};
use super::{Actuator, BoardGates, Paddle, Pulse, Servo, Stepper};
use crate::keeper::guardian::{Guarded, Safe};
use boards::{Drive, Gate, Pin, Profile};
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// A board's outputs, and what a guardian has to know of them. Its file descriptors are those of the
/// outputs, and as good as long as these.
pub(crate) struct Outputs {
    pub(crate) gates: BoardGates,
    pub(crate) guarded: Vec<Guarded>,
}

/// Requests every output; all are off then, stepper motors at rest.
///
/// # Errors
/// A sentence for each that cannot be had.
pub(crate) fn outputs(board: &Profile) -> Result<Outputs, Vec<String>> {
    let mut guarded = Vec::new();
    let mut missing = Vec::new();
    let mut actuators = Vec::new();
    for gate in board.gates() {
        match actuator(gate, &mut guarded) {
            Ok(actuator) => actuators.push(actuator),
            Err(what) => missing.push(what),
        }
    }
    let mut belt: Option<Box<dyn Actuator>> = None;
    if let Some(pin) = board.belt_run() {
        match open_pin("belt_run", pin, Safe::Off(None), &mut guarded) {
            Ok(pin) => belt = Some(Box::new(Pulse::new(pin))),
            Err(what) => missing.push(what),
        }
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    Ok(Outputs {
        gates: BoardGates::new(actuators, belt),
        guarded,
    })
}

/// Requests the outputs of one gate.
///
/// # Errors
/// A sentence that names the gate, the output and what is wrong.
pub(crate) fn actuator(
    gate: &Gate,
    guarded: &mut Vec<Guarded>,
) -> Result<Box<dyn Actuator>, String> {
    let us = |ms: f64| (ms * 1000.0).round() as i64;
    let name = format!("gate {}", gate.name);
    Ok(match &gate.drive {
        Drive::Pulse(pin) => {
            let limit = Safe::Off(Some(us(gate.max_on_ms)));
            Box::new(Pulse::new(open_pin(&name, pin, limit, guarded)?))
        }
        Drive::Paddle {
            open,
            close,
            stroke_ms,
        } => {
            let stroke_us = us(*stroke_ms);
            let limit = Safe::Off(Some(us(gate.max_on_ms)));
            let open = open_pin(&name, open, limit, guarded)?;
            let close = open_pin(&name, close, Safe::OnFor(stroke_us), guarded)?;
            Box::new(Paddle::new(open, close, stroke_us))
        }
        Drive::Stepper {
            step,
            direction,
            enable,
            steps,
            steps_hz,
        } => {
            let mut open = |pin| open_pin(&name, pin, Safe::Off(None), guarded);
            let (step, direction) = (open(step)?, open(direction)?);
            let enable = enable.as_ref().map(&mut open).transpose()?;
            Box::new(Stepper::new(step, direction, enable, *steps, *steps_hz))
        }
        Drive::Servo {
            pwm: channel,
            closed_us,
            open_us,
            period_us,
        } => {
            let fail = |what| format!("{name}: {what}");
            let pwm = SysfsPwm::open(Path::new(CLASS), channel, *period_us).map_err(fail)?;
            guarded.push(Guarded {
                fd: pwm.as_raw_fd(),
                safe: Safe::PulseNs((closed_us * 1000.0).round() as u64),
                name: name.clone(),
            });
            Box::new(Servo::new(pwm, (*closed_us, *open_us), *period_us).map_err(fail)?)
        }
    })
}

fn open_pin(
    name: &str,
    pin: &Pin,
    safe: Safe,
    guarded: &mut Vec<Guarded>,
) -> Result<GpioPin, String> {
    let opened = GpioPin::open(pin).map_err(|what| format!("{name}: {}: {what}", pin.line))?;
    guarded.push(Guarded {
        fd: opened.as_raw_fd(),
        safe,
        name: name.to_owned(),
    });
    Ok(opened)
}
