//! The simulator's camera, in whatever time the caller keeps.

use super::{CaptureError, Frame, FrameSource};
use crate::actuate::recorded::GateEdge;
use crate::clock::Clock;
use boards::Direction;
use image::imageops;
use simulator::{Picture, World};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// What hands out the pictures of the items, in their order.
pub(crate) trait Feed: Send {
    /// The next picture; `None` when there are no more.
    ///
    /// # Errors
    /// A sentence about the picture that could not be had.
    fn next_picture(&mut self) -> Result<Option<Picture>, String>;
}

/// A camera over a simulated belt, and the belt's gates.
pub(crate) struct SimulatedCamera {
    pub(crate) world: World,
    feed: Box<dyn Feed>,
    edges: Receiver<GateEdge>,
    clock: Clock,
    direction: Direction,
    period_us: i64,
    /// The clock's time at the world's time 0.
    epoch_us: i64,
    frames: i64,
    /// The feed may have more.
    fed: bool,
}

/// Gate edges are known to the world this long after they happened at the latest.
const SETTLE_DELAY_US: i64 = 1_000_000;

impl SimulatedCamera {
    pub(crate) fn new(
        world: World,
        feed: Box<dyn Feed>,
        edges: Receiver<GateEdge>,
        clock: Clock,
        (rate_hz, direction): (f64, Direction),
    ) -> Self {
        Self {
            world,
            feed,
            edges,
            epoch_us: clock.now_us(),
            clock,
            direction,
            period_us: (1e6 / rate_hz).round() as i64,
            frames: 0,
            fed: true,
        }
    }

    /// When the next frame is taken.
    pub(crate) fn next_us(&self) -> i64 {
        self.epoch_us + self.frames * self.period_us
    }

    /// Whether the belt has carried everything away.
    fn is_over(&self) -> bool {
        let end_us = self.world.cleared_us() + SETTLE_DELAY_US;
        !self.fed && self.next_us() - self.epoch_us > end_us
    }

    /// Takes the next frame, whatever the clock says.
    ///
    /// # Errors
    /// When a picture cannot be had, or after the end.
    pub(crate) fn take(&mut self, frame: &mut Frame) -> Result<(), CaptureError> {
        if self.is_over() {
            return Err(CaptureError::Finished);
        }
        let captured_us = self.next_us();
        let t_us = captured_us - self.epoch_us;
        while self.fed && self.world.wants_item(t_us) {
            match self.feed.next_picture().map_err(CaptureError::Failed)? {
                Some(picture) => {
                    self.world.place(&picture);
                }
                None => self.fed = false,
            }
        }
        self.world.render(t_us, &mut frame.image);
        match self.direction {
            Direction::LeftToRight => {}
            Direction::RightToLeft => imageops::rotate180_in_place(&mut frame.image),
            Direction::TopToBottom => frame.image = imageops::rotate90(&frame.image),
            Direction::BottomToTop => frame.image = imageops::rotate270(&frame.image),
        }
        frame.captured_us = captured_us;
        frame.sequence = self.frames as u64;
        self.frames += 1;
        self.switch_gates();
        self.world.settle(t_us - SETTLE_DELAY_US);
        Ok(())
    }

    /// Ends the run: lets everything fall that is still on the belt.
    pub(crate) fn finish(mut self) -> World {
        self.switch_gates();
        let end_us = self.world.cleared_us();
        self.world.settle(end_us);
        self.world
    }

    /// The clock's time at the world's time 0.
    pub(crate) fn epoch_us(&self) -> i64 {
        self.epoch_us
    }

    fn switch_gates(&mut self) {
        for edge in self.edges.try_iter() {
            self.world
                .set_gate(edge.gate, edge.on, edge.t_us - self.epoch_us);
        }
    }
}

impl FrameSource for SimulatedCamera {
    fn next_frame(&mut self, frame: &mut Frame, timeout: Duration) -> Result<(), CaptureError> {
        let wait_us = self.next_us() - self.clock.now_us();
        let wait = Duration::from_micros(u64::try_from(wait_us).unwrap_or(0));
        std::thread::sleep(wait.min(timeout));
        if wait > timeout {
            return Err(CaptureError::TimedOut(timeout));
        }
        self.take(frame)
    }
}
