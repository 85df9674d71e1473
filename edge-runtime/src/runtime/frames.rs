//! Frames on their way from the camera to the detector, and the frames to write into.

use crate::capture::Frame;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Holds at most one frame that has not been looked at: the newest.
pub(crate) struct Frames {
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    newest: Option<Arc<Frame>>,
    /// Frames that came and were not looked at, since one was taken.
    dropped: u64,
    /// One that is still shared is left for later.
    spare: Vec<Arc<Frame>>,
    woken: bool,
}

impl Frames {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            state: Mutex::new(State {
                newest: None,
                dropped: 0,
                spare: (0..count).map(|_| Arc::default()).collect(),
                woken: false,
            }),
            filled: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame that nobody else holds; a new one should all be in use.
    pub(crate) fn spare(&self) -> Arc<Frame> {
        let mut state = self.lock();
        let free = state.spare.iter().position(|f| Arc::strong_count(f) == 1);
        free.map(|at| state.spare.swap_remove(at))
            .unwrap_or_default()
    }

    /// Takes back a frame, or one holder's part of it: the last part is kept for use.
    pub(crate) fn give_back(&self, frame: Arc<Frame>) {
        if let Ok(frame) = Arc::try_unwrap(frame) {
            self.lock().spare.push(Arc::new(frame));
        }
    }

    /// Puts the newest frame in the place of one that still waits; `missing` were lost on the way here.
    pub(crate) fn put(&self, frame: Arc<Frame>, missing: u64) {
        let mut state = self.lock();
        state.dropped += missing;
        if let Some(older) = state.newest.replace(frame) {
            state.dropped += 1;
            state.spare.push(older);
        }
        self.filled.notify_one();
    }

    /// The newest frame, and how many were dropped since the one before; `None` when none comes within
    /// `timeout`.
    pub(crate) fn take(&self, timeout: Duration) -> Option<(Arc<Frame>, u64)> {
        let empty = |state: &mut State| state.newest.is_none() && !state.woken;
        let (mut state, _) = self
            .filled
            .wait_timeout_while(self.lock(), timeout, empty)
            .unwrap_or_else(PoisonError::into_inner);
        state.woken = false;
        let frame = state.newest.take()?;
        Some((frame, std::mem::take(&mut state.dropped)))
    }

    /// Ends the waiting in [`Frames::take`].
    pub(crate) fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_all();
    }
}
