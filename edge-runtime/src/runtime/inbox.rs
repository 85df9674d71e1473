//! What waits for the line's thread: at most one frame, and a few scores.

use crate::capture::Frame;
use crate::line::Event;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One thing that came in.
pub(crate) enum Input {
    /// The newest frame, and how many were dropped since the one before.
    Frame { frame: Arc<Frame>, dropped: u64 },
    /// A view's scores.
    Scored(Event),
    /// No frames come.
    CameraLost,
}

/// Filled by the capturing and the classifying thread, emptied by the line's.
pub(crate) struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    frame: Option<Arc<Frame>>,
    dropped: u64,
    /// As many as there are views under way, which the line keeps few.
    scores: VecDeque<Event>,
    camera_lost: bool,
    /// Frames to write into. One that is still shared is left for later.
    spare: Vec<Arc<Frame>>,
    woken: bool,
}

impl Inbox {
    pub(crate) fn new(frames: usize) -> Self {
        Self {
            state: Mutex::new(State {
                frame: None,
                dropped: 0,
                scores: VecDeque::with_capacity(frames),
                camera_lost: false,
                spare: (0..frames).map(|_| Arc::default()).collect(),
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

    /// Puts the newest frame in the place of one that still waits.
    pub(crate) fn put_frame(&self, frame: Arc<Frame>) {
        let mut state = self.lock();
        if let Some(older) = state.frame.replace(frame) {
            state.dropped += 1;
            state.spare.push(older);
        }
        self.filled.notify_one();
    }

    pub(crate) fn put_scores(&self, scores: Event) {
        self.lock().scores.push_back(scores);
        self.filled.notify_one();
    }

    pub(crate) fn camera_lost(&self) {
        self.lock().camera_lost = true;
        self.filled.notify_one();
    }

    /// Ends the waiting in [`Inbox::take`].
    pub(crate) fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_all();
    }

    /// What came in, scores first; `None` when nothing does within `timeout`.
    pub(crate) fn take(&self, timeout: Duration) -> Option<Input> {
        let empty = |state: &mut State| {
            state.frame.is_none() && state.scores.is_empty() && !state.camera_lost && !state.woken
        };
        let (mut state, _) = self
            .filled
            .wait_timeout_while(self.lock(), timeout, empty)
            .unwrap_or_else(PoisonError::into_inner);
        state.woken = false;
        if let Some(scores) = state.scores.pop_front() {
            return Some(Input::Scored(scores));
        }
        if std::mem::take(&mut state.camera_lost) {
            return Some(Input::CameraLost);
        }
        let frame = state.frame.take()?;
        let dropped = std::mem::take(&mut state.dropped);
        Some(Input::Frame { frame, dropped })
    }
}
