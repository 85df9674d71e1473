//! A recording, replayed as if a camera took its pictures now.

use super::recording::Recording;
use super::{CaptureError, Frame, FrameSource};
use crate::clock::Clock;
use image::RgbImage;
use std::path::Path;
use std::time::Duration;

/// Gives the pictures at the rate at which they were taken. Where reading them takes longer than that, all
/// of them are given all the same, later and later.
pub(crate) struct Replay {
    recording: Recording,
    /// The picture that is due next, with its number.
    next: RgbImage,
    number: Option<u64>,
    period_us: f64,
    start_us: i64,
    clock: Clock,
}

impl Replay {
    /// The recording at its own rate, or at `rate_hz` where it does not tell one.
    ///
    /// # Errors
    /// As [`Recording::open`]; or when the pictures are not of this size.
    pub(crate) fn open(
        path: &Path,
        (width, height): (u32, u32),
        rate_hz: f64,
        clock: Clock,
    ) -> Result<Self, CaptureError> {
        let recording = Recording::open(path)?;
        if recording.size() != (width, height) {
            let (w, h) = recording.size();
            return Err(CaptureError::Failed(format!(
                "{}: its pictures are {w}x{h}, but the board's camera gives {width}x{height} \
                 (`ffmpeg -i FILE -vf scale={width}:{height} out.y4m` changes them)",
                path.display()
            )));
        }
        Ok(Self {
            period_us: 1e6 / recording.rate_hz().unwrap_or(rate_hz),
            recording,
            next: RgbImage::default(),
            number: None,
            start_us: clock.now_us(),
            clock,
        })
    }
}

impl FrameSource for Replay {
    fn next_frame(&mut self, frame: &mut Frame, timeout: Duration) -> Result<(), CaptureError> {
        let number = match self.number {
            Some(number) => number,
            None => self.recording.next(&mut self.next)?,
        };
        self.number = Some(number);
        let captured_us = self.start_us + (number as f64 * self.period_us).round() as i64;
        let wait_us = u64::try_from(captured_us - self.clock.now_us()).unwrap_or(0);
        let wait = Duration::from_micros(wait_us);
        std::thread::sleep(wait.min(timeout));
        if wait > timeout {
            return Err(CaptureError::TimedOut(timeout));
        }
        std::mem::swap(&mut frame.image, &mut self.next);
        frame.captured_us = captured_us;
        frame.sequence = number;
        self.number = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Black, then grey, then white, 10 ms from one to the next.
    fn video(folder: &tempfile::TempDir) -> std::path::PathBuf {
        let mut video = b"YUV4MPEG2 W2 H2 F100:1 Cmono\n".to_vec();
        for level in [0, 128, 255] {
            video.extend(b"FRAME\n");
            video.extend([level; 4]);
        }
        let path = folder.path().join("levels.y4m");
        std::fs::write(&path, video).unwrap();
        path
    }

    #[test]
    fn a_videos_pictures_come_at_its_own_rate_and_then_end() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::virtual_time();
        clock.set(5_000_000);
        let mut replay = Replay::open(&video(&folder), (2, 2), 1.0, clock.clone()).unwrap();
        let mut frame = Frame::default();
        let mut next = |now_us| {
            clock.set(now_us);
            replay.next_frame(&mut frame, Duration::ZERO)?;
            let level = frame.image.get_pixel(1, 1).0[0];
            Ok((frame.captured_us, frame.sequence, level))
        };
        assert_eq!(next(5_000_000), Ok((5_000_000, 0, 0)));
        let not_yet = Err(CaptureError::TimedOut(Duration::ZERO));
        assert_eq!(next(5_009_999), not_yet);
        assert_eq!(next(5_010_000), Ok((5_010_000, 1, 128)));
        assert_eq!(next(5_050_000), Ok((5_020_000, 2, 255)), "late");
        assert_eq!(next(5_060_000), Err(CaptureError::Finished));
    }

    #[test]
    fn pictures_that_are_not_as_the_boards_cameras_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Replay::open(&video(&folder), (4, 2), 1.0, Clock::virtual_time());
        let error = refused.err().unwrap().to_string();
        assert!(
            error.contains("2x2, but the board's camera gives 4x2"),
            "{error}"
        );
    }

    #[test]
    fn a_folders_pictures_come_at_the_boards_rate() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "b.png"] {
            image::RgbImage::new(2, 2)
                .save(folder.path().join(name))
                .unwrap();
        }
        let clock = Clock::virtual_time();
        let mut replay = Replay::open(folder.path(), (2, 2), 4.0, clock.clone()).unwrap();
        clock.set(1_000_000);
        let mut frame = Frame::default();
        for captured_us in [0, 250_000] {
            replay.next_frame(&mut frame, Duration::ZERO).unwrap();
            assert_eq!(frame.captured_us, captured_us);
        }
    }
}
