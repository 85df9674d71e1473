//! What can be seen of a running line from outside.

use crate::line::Command;
use crate::recognise::NoScores;
use crate::timing::Movement;

/// Is told what happens. Calls must be quick: they hold up the line.
pub(crate) trait Observer: Send {
    /// The line gave a command.
    fn commanded(&mut self, command: &Command);

    /// A gate was switched.
    fn switched(&mut self, movement: &Movement);

    /// So many firings were over before the gates' thread came to them, and were left out.
    fn left_out(&mut self, firings: u64);

    /// A view was classified in so much time.
    fn computed(&mut self, took_us: i64);

    /// A frame was handled, and so many before it were dropped since the one before.
    fn framed(&mut self, dropped: u64);

    /// A view was not classified.
    fn failed(&mut self, why: &NoScores);
}
