//! A camera that may be lost and found again.

use super::{CaptureError, Frame, FrameSource};
use crate::clock::Clock;
use std::time::Duration;

/// Opens a camera anew each time it is called.
pub(crate) type Opener = Box<dyn FnMut() -> Result<Box<dyn FrameSource>, CaptureError> + Send>;

/// A camera that is opened again when it fails or stalls. To its user it was only slow.
pub(crate) struct Reopening {
    open: Opener,
    source: Option<Box<dyn FrameSource>>,
    clock: Clock,
    last_frame_us: i64,
    /// When to try again, and how long to wait after that.
    retry_us: i64,
    pause_us: i64,
}

/// Without a frame for this long an open camera is closed and opened again.
const STALLED_US: i64 = 1_000_000;
const SHORTEST_PAUSE_US: i64 = 100_000;
const LONGEST_PAUSE_US: i64 = 2_000_000;

impl Reopening {
    /// Opens the camera; the first time it must be there.
    ///
    /// # Errors
    /// As `open` says.
    pub(crate) fn new(mut open: Opener, clock: Clock) -> Result<Self, CaptureError> {
        Ok(Self {
            source: Some(open()?),
            open,
            last_frame_us: clock.now_us(),
            retry_us: 0,
            pause_us: SHORTEST_PAUSE_US,
            clock,
        })
    }

    /// Lets go of the camera. Said once, until it gives frames again.
    fn lose(&mut self, why: &str) {
        self.source = None;
        if self.retry_us == 0 {
            eprintln!("warning: {why}; the camera is lost and will be looked for");
            self.retry_us = self.clock.now_us() + self.pause_us;
        } else {
            self.back_off();
        }
    }

    /// Waits as long as allowed for the time of the next try, then tries.
    fn find(&mut self, timeout: Duration) -> Result<(), CaptureError> {
        let wait_us = self.retry_us - self.clock.now_us();
        let wait = Duration::from_micros(u64::try_from(wait_us).unwrap_or(0));
        std::thread::sleep(wait.min(timeout));
        if wait <= timeout {
            match (self.open)() {
                Ok(source) => {
                    self.source = Some(source);
                    self.last_frame_us = self.clock.now_us();
                    return Ok(());
                }
                Err(_) => self.back_off(),
            }
        }
        Err(CaptureError::TimedOut(timeout))
    }

    fn back_off(&mut self) {
        self.pause_us = (self.pause_us * 2).min(LONGEST_PAUSE_US);
        self.retry_us = self.clock.now_us() + self.pause_us;
    }
}

impl FrameSource for Reopening {
    fn next_frame(&mut self, frame: &mut Frame, timeout: Duration) -> Result<(), CaptureError> {
        if self.source.is_none() {
            self.find(timeout)?;
        }
        let Some(source) = &mut self.source else {
            return Err(CaptureError::TimedOut(timeout));
        };
        match source.next_frame(frame, timeout) {
            Ok(()) => {
                if self.retry_us > 0 {
                    eprintln!("note: the camera is back");
                }
                (self.retry_us, self.pause_us) = (0, SHORTEST_PAUSE_US);
                self.last_frame_us = self.clock.now_us();
                Ok(())
            }
            Err(CaptureError::Failed(message)) => {
                self.lose(&message);
                Err(CaptureError::TimedOut(timeout))
            }
            Err(CaptureError::TimedOut(waited)) => {
                let silent_us = self.clock.now_us() - self.last_frame_us;
                if silent_us >= STALLED_US {
                    self.lose(&format!("no frame for {} ms", silent_us / 1000));
                }
                Err(CaptureError::TimedOut(waited))
            }
            Err(CaptureError::Finished) => Err(CaptureError::Finished),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Gives two frames, then fails.
    struct Flaky(u64);

    impl FrameSource for Flaky {
        fn next_frame(&mut self, frame: &mut Frame, _: Duration) -> Result<(), CaptureError> {
            if self.0 == 2 {
                return Err(CaptureError::Failed("unplugged".to_owned()));
            }
            frame.sequence = self.0;
            self.0 += 1;
            Ok(())
        }
    }

    /// Opens at every third try.
    fn opener(tries: Arc<AtomicUsize>) -> Opener {
        Box::new(move || match tries.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Ok(Box::new(Flaky(0))),
            _ => Err(CaptureError::Failed("not there".to_owned())),
        })
    }

    #[test]
    fn a_camera_that_fails_is_opened_until_it_gives_frames_again() {
        let tries = Arc::new(AtomicUsize::new(0));
        let mut camera = Reopening::new(opener(Arc::clone(&tries)), Clock::Monotonic).unwrap();
        let mut frame = Frame::default();
        let (mut sequences, mut silent) = (Vec::new(), 0);
        while sequences.len() < 5 {
            match camera.next_frame(&mut frame, Duration::from_millis(50)) {
                Ok(()) => sequences.push(frame.sequence),
                Err(CaptureError::TimedOut(_)) => silent += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(sequences, [0, 1, 0, 1, 0]);
        assert_eq!(
            tries.load(Ordering::Relaxed),
            7,
            "opened at the 1st, 4th and 7th try"
        );
        assert!(silent >= 6, "{silent}");
    }

    #[test]
    fn a_camera_that_is_not_there_at_the_start_is_an_error() {
        let gone = CaptureError::Failed("not there".to_owned());
        let error = gone.clone();
        let result = Reopening::new(Box::new(move || Err(error.clone())), Clock::Monotonic);
        assert_eq!(result.err(), Some(gone));
    }
}
