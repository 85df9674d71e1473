//! What waits for the line's thread: at most one frame, and a few events.

use crate::capture::Frame;
use crate::line::Event;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One thing that came in.
pub(crate) enum Input {
    /// The newest frame, and how many were dropped since the one before.
    Frame { frame: Arc<Frame>, dropped: u64 },
    /// Scores, or what a sensor says.
    Event(Event),
}

/// Events that wait at the most, counts of the encoder among them.
const MOST_EVENTS: usize = 256;

/// Filled by the threads that capture, classify and sense, emptied by the line's.
pub(crate) struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    frame: Option<Arc<Frame>>,
    dropped: u64,
    /// Scores, of which there are as many as views under way, and what the sensors say.
    events: VecDeque<Event>,
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
                events: VecDeque::with_capacity(MOST_EVENTS),
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

    /// Puts the newest frame in the place of one that still waits; `missing` were lost on the way here.
    pub(crate) fn put_frame(&self, frame: Arc<Frame>, missing: u64) {
        let mut state = self.lock();
        state.dropped += missing;
        if let Some(older) = state.frame.replace(frame) {
            state.dropped += 1;
            state.spare.push(older);
        }
        self.filled.notify_one();
    }

    /// Puts an event. When the line does not keep up, counts of the encoder are dropped: the next one
    /// says the same and more.
    pub(crate) fn put(&self, event: Event) {
        let mut state = self.lock();
        if state.events.len() >= MOST_EVENTS && matches!(event, Event::Encoder { .. }) {
            return;
        }
        state.events.push_back(event);
        self.filled.notify_one();
    }

    /// Ends the waiting in [`Inbox::take`].
    pub(crate) fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_all();
    }

    /// What came in, events first; `None` when nothing does within `timeout`.
    pub(crate) fn take(&self, timeout: Duration) -> Option<Input> {
        let empty =
            |state: &mut State| state.frame.is_none() && state.events.is_empty() && !state.woken;
        let (mut state, _) = self
            .filled
            .wait_timeout_while(self.lock(), timeout, empty)
            .unwrap_or_else(PoisonError::into_inner);
        state.woken = false;
        if let Some(event) = state.events.pop_front() {
            return Some(Input::Event(event));
        }
        let frame = state.frame.take()?;
        let dropped = std::mem::take(&mut state.dropped);
        Some(Input::Frame { frame, dropped })
    }
}
