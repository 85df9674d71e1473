//! What can be seen of a running line from outside.

use crate::line::Command;

/// Is told what happens. Calls must be quick: some come from the thread that moves the gates.
pub(crate) trait Observer: Send {
    /// The line gave a command.
    fn commanded(&mut self, command: &Command);

    /// A gate was switched, later than planned by so much.
    fn switched(&mut self, late_us: i64);

    /// A view was classified in so much time.
    fn computed(&mut self, took_us: i64);

    /// A frame was handled, and so many before it were dropped since the one before.
    fn framed(&mut self, dropped: u64);

    /// A view could not be classified.
    fn failed(&mut self, message: &str);
}
