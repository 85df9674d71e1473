//! Pins that only say when they were switched: for the simulator and for dry runs.

use crate::clock::Clock;
use embedded_hal::digital::{ErrorType, OutputPin, StatefulOutputPin};
use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A gate was switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GateEdge {
    pub(crate) gate: usize,
    pub(crate) on: bool,
    pub(crate) t_us: i64,
}

/// A pin without a wire.
pub(crate) struct RecordedPin {
    gate: usize,
    on: bool,
    clock: Clock,
    edges: Sender<GateEdge>,
}

impl RecordedPin {
    /// Pins for so many gates, and where their edges can be read.
    pub(crate) fn row(gates: usize, clock: &Clock) -> (Vec<Self>, Receiver<GateEdge>) {
        let (edges, receiver) = channel();
        let pin = |gate| Self {
            gate,
            on: false,
            clock: clock.clone(),
            edges: edges.clone(),
        };
        ((0..gates).map(pin).collect(), receiver)
    }

    fn switch(&mut self, on: bool) {
        if self.on != on {
            self.on = on;
            let edge = GateEdge {
                gate: self.gate,
                on,
                t_us: self.clock.now_us(),
            };
            // A receiver that is gone does not want to know.
            let _ = self.edges.send(edge);
        }
    }
}

impl ErrorType for RecordedPin {
    type Error = Infallible;
}

impl OutputPin for RecordedPin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.switch(false);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.switch(true);
        Ok(())
    }
}

impl StatefulOutputPin for RecordedPin {
    fn is_set_high(&mut self) -> Result<bool, Infallible> {
        Ok(self.on)
    }

    fn is_set_low(&mut self) -> Result<bool, Infallible> {
        Ok(!self.on)
    }
}
