//! Where gates are moved.

pub(crate) mod gpio;
pub(crate) mod recorded;

use embedded_hal::digital::OutputPin;

/// A gate that could not be moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gate {gate} could not be switched {}: {message}", if *on { "on" } else { "off" })]
pub(crate) struct GateError {
    pub(crate) gate: usize,
    pub(crate) on: bool,
    pub(crate) message: String,
}

/// The outputs. Dropping them switches everything off.
pub(crate) trait Gates: Send {
    /// Switches one gate.
    ///
    /// # Errors
    /// When the output cannot be set.
    fn set(&mut self, gate: usize, on: bool) -> Result<(), GateError>;

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
            let message = "there is no such gate".to_owned();
            return Err(GateError { gate, on, message });
        };
        pin.set_state(on.into()).map_err(|error| GateError {
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

impl<P: OutputPin + Send> Gates for PinGates<P> {
    fn set(&mut self, gate: usize, on: bool) -> Result<(), GateError> {
        self.switch(gate, on)
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
        assert_eq!((error.gate, error.on), (2, true));
    }
}
