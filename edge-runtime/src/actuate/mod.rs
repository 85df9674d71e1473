//! Where gates are moved.

pub(crate) mod gpio;
pub(crate) mod recorded;

use embedded_hal::digital::{OutputPin, StatefulOutputPin};

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
}

fn state(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

const NO_GATE: &str = "there is no such gate";

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

    /// The safe state: switches every gate off, going on after a failure.
    ///
    /// # Errors
    /// The first failure.
    fn all_off(&mut self) -> Result<(), GateError>;
}

/// One output pin a gate. High means on; polarity is the pin's own business.
pub(crate) struct PinGates<P: OutputPin> {
    pins: Vec<P>,
}

impl<P: OutputPin> PinGates<P> {
    pub(crate) fn new(pins: Vec<P>) -> Self {
        Self { pins }
    }

    fn switch(&mut self, gate: usize, on: bool) -> Result<(), GateError> {
        let Some(pin) = self.pins.get_mut(gate) else {
            let message = NO_GATE.to_owned();
            return Err(GateError::Unmoved { gate, on, message });
        };
        pin.set_state(on.into())
            .map_err(|error| GateError::Unmoved {
                gate,
                on,
                message: format!("{error:?}"),
            })
    }

    fn switch_all_off(&mut self) -> Result<(), GateError> {
        let results: Vec<_> = (0..self.pins.len())
            .map(|gate| self.switch(gate, false))
            .collect();
        results.into_iter().collect()
    }
}

impl<P: StatefulOutputPin + Send> Gates for PinGates<P> {
    fn set(&mut self, gate: usize, on: bool) -> Result<(), GateError> {
        self.switch(gate, on)
    }

    fn is_on(&mut self, gate: usize) -> Result<bool, GateError> {
        let failed = |message| GateError::Unreadable { gate, message };
        let Some(pin) = self.pins.get_mut(gate) else {
            return Err(failed(NO_GATE.to_owned()));
        };
        pin.is_set_high()
            .map_err(|error| failed(format!("{error:?}")))
    }

    fn all_off(&mut self) -> Result<(), GateError> {
        self.switch_all_off()
    }
}

impl<P: OutputPin> Drop for PinGates<P> {
    fn drop(&mut self) {
        // Nothing is left that could be done about a failure.
        let _ = self.switch_all_off();
    }
}

#[cfg(test)]
mod tests {
    use super::recorded::RecordedPin;
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn dropping_switches_everything_off() {
        let clock = Clock::virtual_time();
        let (pins, edges) = RecordedPin::row(2, &clock);
        let mut gates = PinGates::new(pins);
        clock.set(5);
        gates.set(1, true).unwrap();
        clock.set(7);
        drop(gates);
        let seen: Vec<_> = edges.try_iter().map(|e| (e.gate, e.on, e.t_us)).collect();
        assert_eq!(seen, [(1, true, 5), (1, false, 7)]);
    }

    #[test]
    fn a_gate_that_is_not_there_is_an_error() {
        let (pins, _edges) = RecordedPin::row(2, &Clock::virtual_time());
        let error = PinGates::new(pins).set(2, true).unwrap_err();
        let message = NO_GATE.to_owned();
        let expect = GateError::Unmoved {
            gate: 2,
            on: true,
            message,
        };
        assert_eq!(error, expect);
    }
}
