//! Where gates are moved.

pub(crate) mod gpio;
pub(crate) mod open;
mod paddle;
mod pulse;
pub(crate) mod pwm;
pub(crate) mod recorded;
mod servo;
mod stepper;

use embedded_hal::digital::{OutputPin, StatefulOutputPin};
pub(crate) use paddle::Paddle;
pub(crate) use pulse::Pulse;
pub(crate) use servo::Servo;
pub(crate) use stepper::Stepper;

/// A gate that does not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GateError {
    #[error("gate {gate} could not be switched {}: {message}", state(*on))]
    Unmoved {
        gate: usize,
        on: bool,
        message: String,
    },
    #[error("gate {gate} could not be read back: {message}")]
    Unreadable { gate: usize, message: String },
    #[error("gate {gate} was switched {} and is {}: something else drives its line, or it is broken", state(*on), state(!*on))]
    Contradicts { gate: usize, on: bool },
    #[error("the belt's output could not be switched {}: {message}", state(*on))]
    Belt { on: bool, message: String },
}

fn state(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

const NO_GATE: &str = "there is no such gate";

/// What moves one gate. It waits for nobody: what takes time is done by [`Actuator::advance`].
pub(crate) trait Actuator: Send {
    /// Begins to open or to close.
    ///
    /// # Errors
    /// When an output cannot be set.
    fn set(&mut self, open: bool) -> Result<(), String>;

    /// Whether its outputs, read back where that can be done, are those of an open gate.
    ///
    /// # Errors
    /// When they cannot be read.
    fn is_open(&mut self) -> Result<bool, String>;

    /// Does what is due by `now_us`, and says when it wants to be called again.
    ///
    /// # Errors
    /// When an output cannot be set.
    fn advance(&mut self, now_us: i64) -> Result<Option<i64>, String>;
}

/// The outputs. Dropping them switches everything off.
pub(crate) trait Gates: Send {
    /// Switches one gate.
    ///
    /// # Errors
    /// When the output cannot be set.
    fn set(&mut self, gate: usize, on: bool) -> Result<(), GateError>;

    /// What the output really is.
    ///
    /// # Errors
    /// When it cannot be read.
    fn is_on(&mut self, gate: usize) -> Result<bool, GateError>;

    /// Switches every gate off, going on after a failure.
    ///
    /// # Errors
    /// The first failure.
    fn all_off(&mut self) -> Result<(), GateError>;

    /// Lets the belt run, or not.
    ///
    /// # Errors
    /// When the output cannot be set.
    fn run_belt(&mut self, on: bool) -> Result<(), GateError>;

    /// Does what is due by `now_us` for gates whose moving takes several steps; says when it wants to be
    /// called again.
    ///
    /// # Errors
    /// When an output cannot be set.
    fn advance(&mut self, now_us: i64) -> Result<Option<i64>, GateError>;
}

/// What a board has: an actuator a gate, and perhaps an output that lets the belt run.
pub(crate) struct BoardGates {
    actuators: Vec<Box<dyn Actuator>>,
    belt: Option<Box<dyn Actuator>>,
}

impl BoardGates {
    pub(crate) fn new(actuators: Vec<Box<dyn Actuator>>, belt: Option<Box<dyn Actuator>>) -> Self {
        Self { actuators, belt }
    }

    /// One pin a gate. High means on; polarity is the pin's own business.
    pub(crate) fn of_pins<P: StatefulOutputPin + Send + 'static>(pins: Vec<P>) -> Self {
        let actuator = |pin| -> Box<dyn Actuator> { Box::new(Pulse::new(pin)) };
        Self::new(pins.into_iter().map(actuator).collect(), None)
    }
}

impl Gates for BoardGates {
    fn set(&mut self, gate: usize, on: bool) -> Result<(), GateError> {
        let failed = |message| GateError::Unmoved { gate, on, message };
        let Some(actuator) = self.actuators.get_mut(gate) else {
            return Err(failed(NO_GATE.to_owned()));
        };
        actuator.set(on).map_err(failed)
    }

    fn is_on(&mut self, gate: usize) -> Result<bool, GateError> {
        let failed = |message| GateError::Unreadable { gate, message };
        let Some(actuator) = self.actuators.get_mut(gate) else {
            return Err(failed(NO_GATE.to_owned()));
        };
        actuator.is_open().map_err(failed)
    }

    fn all_off(&mut self) -> Result<(), GateError> {
        let results: Vec<_> = (0..self.actuators.len())
            .map(|gate| self.set(gate, false))
            .collect();
        results.into_iter().collect()
    }

    fn run_belt(&mut self, on: bool) -> Result<(), GateError> {
        let belt = self.belt.as_mut().map_or(Ok(()), |belt| belt.set(on));
        belt.map_err(|message| GateError::Belt { on, message })
    }

    fn advance(&mut self, now_us: i64) -> Result<Option<i64>, GateError> {
        let mut next_us: Option<i64> = None;
        for (gate, actuator) in self.actuators.iter_mut().enumerate() {
            let due_us = actuator.advance(now_us).map_err(|message| {
                let on = actuator.is_open().unwrap_or(false);
                GateError::Unmoved { gate, on, message }
            })?;
            next_us = match (next_us, due_us) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        Ok(next_us)
    }
}

impl Drop for BoardGates {
    fn drop(&mut self) {
        // Nothing is left that could be done about a failure.
        let _ = self.run_belt(false);
        let _ = self.all_off();
    }
}

/// Sets a pin, with the error as a sentence.
fn set_pin(pin: &mut impl OutputPin, high: bool) -> Result<(), String> {
    pin.set_state(high.into()).map_err(|e| format!("{e:?}"))
}

#[cfg(test)]
mod tests {
    use super::recorded::RecordedPin;
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn dropping_switches_everything_off() {
        let clock = Clock::virtual_time();
        let (pins, edges) = RecordedPin::row(3, &clock);
        let mut outputs = pins
            .into_iter()
            .map(|pin| -> Box<dyn Actuator> { Box::new(Pulse::new(pin)) });
        let belt = outputs.next();
        let mut gates = BoardGates::new(outputs.collect(), belt);
        clock.set(5);
        gates.set(1, true).unwrap();
        gates.run_belt(true).unwrap();
        clock.set(7);
        drop(gates);
        let seen: Vec<_> = edges.try_iter().map(|e| (e.gate, e.on, e.t_us)).collect();
        let expect = [(2, true, 5), (0, true, 5), (0, false, 7), (2, false, 7)];
        assert_eq!(seen, expect, "pin 0 is the belt's");
    }

    #[test]
    fn a_gate_that_is_not_there_is_an_error() {
        let (pins, _edges) = RecordedPin::row(2, &Clock::virtual_time());
        let error = BoardGates::of_pins(pins).set(2, true).unwrap_err();
        let message = NO_GATE.to_owned();
        let expect = GateError::Unmoved {
            gate: 2,
            on: true,
            message,
        };
        assert_eq!(error, expect);
    }
}
