//! Why the belt stands: several parts may stop it, and it runs again when none of them objects.

use super::inbox::Inbox;
use super::switchboard::Switchboard;
use crate::line::Event;
use std::sync::{Mutex, PoisonError};

/// Who stops the belt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    EmergencyStop,
    /// There is no picture, or none yet.
    NoPicture,
}

/// The causes there are.
pub(crate) struct Halt<'a> {
    causes: Mutex<Vec<Cause>>,
    inbox: &'a Inbox,
    switchboard: &'a Switchboard,
}

impl<'a> Halt<'a> {
    /// The belt stands until there is a picture and nothing is known to speak against it.
    pub(crate) fn new(inbox: &'a Inbox, switchboard: &'a Switchboard) -> Self {
        Self {
            causes: Mutex::new(vec![Cause::NoPicture, Cause::EmergencyStop]),
            inbox,
            switchboard,
        }
    }

    /// Everything off at once, whatever the line is busy with; it learns of it too.
    pub(crate) fn stop(&self, cause: Cause, t_us: i64) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        if !causes.contains(&cause) {
            causes.push(cause);
        }
        self.switchboard.halt();
        self.inbox.put(Event::Stop { t_us });
    }

    /// Lets the belt run, if nothing else speaks against it.
    pub(crate) fn release(&self, cause: Cause, t_us: i64) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = causes.len();
        causes.retain(|c| *c != cause);
        if before > 0 && causes.is_empty() {
            self.inbox.put(Event::Resume { t_us });
            self.switchboard.run_belt();
        }
    }
}
