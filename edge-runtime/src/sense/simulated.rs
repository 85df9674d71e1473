//! The simulated belt's encoder.

use super::{SensorError, Sensors};
use crate::clock::Clock;
use crate::line::Event;
use simulator::WorldConfig;
use std::time::Duration;

/// Counts what the simulated belt travels.
pub(crate) struct SimulatedEncoder {
    pub(crate) world: WorldConfig,
    pub(crate) mm_per_pulse: f64,
    pub(crate) clock: Clock,
    /// The clock's time at the world's time 0.
    pub(crate) epoch_us: i64,
}

impl SimulatedEncoder {
    /// The count at a time of the clock.
    pub(crate) fn count(&self, t_us: i64) -> Event {
        let travel_mm = self.world.travel_mm(t_us - self.epoch_us);
        Event::Encoder {
            t_us,
            counted_us: t_us,
            pulses: (travel_mm / self.mm_per_pulse).floor() as i64,
        }
    }
}

/// How often the encoder is read.
const PERIOD: Duration = Duration::from_millis(5);

impl Sensors for SimulatedEncoder {
    fn poll(&mut self, timeout: Duration, events: &mut Vec<Event>) -> Result<(), SensorError> {
        std::thread::sleep(timeout.min(PERIOD));
        events.push(self.count(self.clock.now_us()));
        Ok(())
    }
}
