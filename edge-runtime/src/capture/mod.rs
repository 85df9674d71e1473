//! Where frames come from.

pub(crate) mod cameras;
mod colour;
mod controls;
pub(crate) mod convert;
mod jpeg;
pub(crate) mod rate;
pub(crate) mod recording;
#[cfg(test)]
mod reference_tests;
pub(crate) mod reopening;
pub(crate) mod replay;
pub(crate) mod simulated;
pub(crate) mod v4l2;

use image::RgbImage;
use std::time::Duration;

/// One picture and when it was taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    /// Capture instant on the monotonic clock.
    pub(crate) captured_us: i64,
    /// Rises by one per frame of the camera; a gap means frames lost before they came here.
    pub(crate) sequence: u64,
    pub(crate) image: RgbImage,
}

/// Why there is no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CaptureError {
    /// None came in time; there may be one later.
    #[error("no frame within {0:?}")]
    TimedOut(Duration),
    /// There are no more frames.
    #[error("the frames have come to their end")]
    Finished,
    /// The source is gone or broken.
    #[error("{0}")]
    Failed(String),
}

/// A camera, or what stands for one.
pub(crate) trait FrameSource: Send {
    /// Waits for the next frame, at most `timeout`, and writes it over `frame`.
    ///
    /// # Errors
    /// See [`CaptureError`]; after [`CaptureError::TimedOut`] one may go on asking.
    fn next_frame(&mut self, frame: &mut Frame, timeout: Duration) -> Result<(), CaptureError>;
}
