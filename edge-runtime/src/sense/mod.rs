//! What the belt's sensors say: encoder, photo-eyes, emergency stop.

pub(crate) mod gpio;
pub(crate) mod simulated;

use crate::line::Event;
use std::time::Duration;

/// A sensor that cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SensorError(pub(crate) String);

/// The sensors of a board.
pub(crate) trait Sensors: Send {
    /// Waits for news, at most `timeout`, and appends it. The first call also says what is the case
    /// already. An encoder is told of regularly, whether it turns or not.
    ///
    /// # Errors
    /// When a sensor is gone.
    fn poll(&mut self, timeout: Duration, events: &mut Vec<Event>) -> Result<(), SensorError>;
}

/// For boards without sensors.
pub(crate) struct NoSensors;

impl Sensors for NoSensors {
    fn poll(&mut self, timeout: Duration, _: &mut Vec<Event>) -> Result<(), SensorError> {
        std::thread::sleep(timeout);
        Ok(())
    }
}
