//! One output, on while the gate is to be open: a solenoid, an air jet, a paddle with a spring.

use super::{Actuator, set_pin};
use embedded_hal::digital::StatefulOutputPin;

/// High means open.
pub(crate) struct Pulse<P> {
    pin: P,
}

impl<P> Pulse<P> {
    pub(crate) fn new(pin: P) -> Self {
        Self { pin }
    }
}

impl<P: StatefulOutputPin + Send> Actuator for Pulse<P> {
    fn set(&mut self, open: bool) -> Result<(), String> {
        set_pin(&mut self.pin, open)
    }

    fn is_open(&mut self) -> Result<bool, String> {
        self.pin.is_set_high().map_err(|e| format!("{e:?}"))
    }

    fn advance(&mut self, _: i64) -> Result<Option<i64>, String> {
        Ok(None)
    }
}
