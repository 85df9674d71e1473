//! What waits for the line's thread: at most one frame that was looked at, and a few events.

use crate::capture::Frame;
use crate::line::Event;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One thing that came in, and the frame that it is about, if any.
pub(crate) struct Input {
    pub(crate) event: Event,
    pub(crate) frame: Option<Arc<Frame>>,
}

/// Events that wait at the most, counts of the encoder among them.
const MOST_EVENTS: usize = 256;

/// Filled by the threads that detect, classify and sense, emptied by the line's.
pub(crate) struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    seen: Option<Input>,
    /// Scores, of which there are as many as views under way, and what the sensors say.
    events: VecDeque<Event>,
    woken: bool,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                seen: None,
                events: VecDeque::with_capacity(MOST_EVENTS),
                woken: false,
            }),
            filled: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what was seen in a frame in the place of what still waits, and gives back that one's frame.
    pub(crate) fn put_seen(&self, event: Event, frame: Arc<Frame>) -> Option<Arc<Frame>> {
        let mut state = self.lock();
        let frame = Some(frame);
        let older = state.seen.replace(Input { event, frame });
        self.filled.notify_one();
        older?.frame
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

    /// What came in, frames last; `None` when nothing does within `timeout`.
    pub(crate) fn take(&self, timeout: Duration) -> Option<Input> {
        let empty =
            |state: &mut State| state.seen.is_none() && state.events.is_empty() && !state.woken;
        let (mut state, _) = self
            .filled
            .wait_timeout_while(self.lock(), timeout, empty)
            .unwrap_or_else(PoisonError::into_inner);
        state.woken = false;
        if let Some(event) = state.events.pop_front() {
            return Some(Input { event, frame: None });
        }
        state.seen.take()
    }
}
