//! What the line is told, and what it says.

use super::detect::Detection;
use super::geometry::PixelBox;
use serde::{Deserialize, Serialize};

/// What happens to the line. `t_us` is when it learns of it; time never runs backwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A frame, captured at `captured_us`, has been looked at.
    Frame {
        t_us: i64,
        captured_us: i64,
        detections: Vec<Detection>,
    },
    /// A view has been classified: scores per item, or none where that failed.
    Scored {
        t_us: i64,
        track: u32,
        captured_us: i64,
        scores: Vec<f32>,
    },
    /// The encoder's pulses since some beginning, as counted at `counted_us`. It comes regularly,
    /// also while the belt stands still: silence means that the encoder is lost.
    Encoder {
        t_us: i64,
        counted_us: i64,
        pulses: i64,
    },
    /// The beam of a photo-eye was interrupted, or is free again.
    Eye {
        t_us: i64,
        eye: usize,
        blocked: bool,
    },
    /// Nothing but time has passed.
    Tick { t_us: i64 },
    /// The camera gives no frames.
    CameraLost { t_us: i64 },
    /// The belt is stopped and all outputs go to their safe state.
    Stop { t_us: i64 },
    /// The belt runs again; what was on it is unknown.
    Resume { t_us: i64 },
}

impl Event {
    /// When the line learned of it.
    pub(crate) fn t_us(&self) -> i64 {
        match *self {
            Event::Frame { t_us, .. }
            | Event::Scored { t_us, .. }
            | Event::Encoder { t_us, .. }
            | Event::Eye { t_us, .. }
            | Event::Tick { t_us }
            | Event::CameraLost { t_us }
            | Event::Stop { t_us }
            | Event::Resume { t_us } => t_us,
        }
    }
}

/// What the line wants done, or reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Classify this part of the frame captured at `captured_us`, which is the one just handled.
    Classify {
        track: u32,
        captured_us: i64,
        area: PixelBox,
    },
    /// An item's category has been settled, or that it has none.
    Decided {
        track: u32,
        t_us: i64,
        /// Capture instant of the last view that voted.
        settled_us: i64,
        place_mm: f64,
        /// Its position at `t_us`, and its length along the belt.
        position_mm: f64,
        length_mm: f64,
        verdict: Result<usize, Reason>,
    },
    /// Switch the gate on and off at these times.
    Fire {
        gate: usize,
        on_us: i64,
        off_us: i64,
    },
    /// An item's fate is sealed.
    Ended { track: u32, t_us: i64, end: End },
    /// Switch everything off at once, and forget what was to be fired.
    AllOff { t_us: i64, reason: Reason },
}

/// How an item ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// Through this gate, as its category wants.
    Fired(usize),
    /// To the end of the belt, as its category wants.
    PassedThrough,
    /// To where items in doubt go.
    Rejected(Reason),
}

/// Why an item is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    /// No view of it could be classified.
    Unseen,
    /// No category, or no way within its category, has enough score.
    Doubtful,
    /// It cannot be told from its neighbours, or its firing could have moved one of them, or what
    /// lies beside it was never seen.
    Crowded,
    /// Its scores came too late for its gate, or had not come at all by then.
    Late,
    /// The camera was lost before it was decided.
    CameraLost,
    /// The line was stopped.
    Stopped,
    /// A photo-eye has been blocked for longer than any item takes.
    Jam,
    /// The belt ran faster than it may.
    Overspeed,
    /// How far the belt has moved is not known: the encoder is silent, or contradicts itself or the
    /// camera.
    BeltUnknown,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reason::Unseen => "unseen",
            Reason::Doubtful => "doubtful",
            Reason::Crowded => "crowded",
            Reason::Late => "late",
            Reason::CameraLost => "camera lost",
            Reason::Stopped => "stopped",
            Reason::Jam => "jam",
            Reason::Overspeed => "overspeed",
            Reason::BeltUnknown => "belt's motion unknown",
        })
    }
}
