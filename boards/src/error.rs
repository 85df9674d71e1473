//! What can be wrong with a profile.

use std::fmt;

/// Why a profile could not be had.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// The file could not be read.
    #[error("{file}: cannot read the board profile: {message}")]
    Unreadable {
        /// The file as it was named.
        file: String,
        /// What the system said.
        message: String,
    },
    /// The file was read and has faults, all of which are listed.
    #[error("{}", invalid(file, faults))]
    Invalid {
        /// The file as it was named.
        file: String,
        /// In the order of their lines.
        faults: Vec<Fault>,
    },
}

fn invalid(file: &str, faults: &[Fault]) -> String {
    match faults {
        [only] => format!("{file}:{only}"),
        _ => {
            let list: Vec<String> = faults.iter().map(|f| format!("\n  {file}:{f}")).collect();
            format!("{file}: {} faults{}", faults.len(), list.concat())
        }
    }
}

/// One fault and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.problem)
    }
}

/// The kinds of fault.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// A key that means nothing here.
    #[error("unknown key `{key}` in {section}")]
    UnknownKey {
        /// Where it was found.
        section: String,
        /// The key.
        key: String,
    },
    /// A key that must be there.
    #[error("`{key}` is missing in {section}")]
    Missing {
        /// Where it belongs.
        section: String,
        /// The key.
        key: String,
    },
    /// A value of another type.
    #[error("`{key}` must be {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A number out of range.
    #[error("`{key}` is {value}, but must be from {min} to {max}")]
    OutOfRange {
        /// The key.
        key: String,
        /// What it is.
        value: f64,
        /// Smallest allowed.
        min: f64,
        /// Largest allowed.
        max: f64,
    },
    /// An input or output needs either a line name or a chip and an offset.
    #[error("{0} needs either `line`, or `chip` and `offset`")]
    NoLine(String),
    /// Two inputs or outputs on one line.
    #[error("{0} and {1} are on the same line")]
    SharedLine(String, String),
    /// The belt's motion comes from an encoder that is not described, or the other way round.
    #[error(
        "`motion = \"encoder\"` and the table [encoder] belong together: one of them is missing"
    )]
    EncoderAlone,
    /// The belt would run away at its own speed.
    #[error(
        "`max_speed_mm_s` is {max_speed_mm_s}, which is not above the belt's speed of {speed_mm_s}"
    )]
    SpeedLimit {
        /// The limit.
        max_speed_mm_s: f64,
        /// The belt's own speed.
        speed_mm_s: f64,
    },
    /// A route or the reject entry names a gate that is not there.
    #[error("`{0}` is no gate of this board (write \"pass through\" for the end of the belt)")]
    UnknownGate(String),
    /// A route for what the bundle does not know.
    #[error(
        "there is a route for {0:?}, which is neither a category of the bundle nor one of its items: write its own \
         under [routes] ({1}; or CATEGORY/ITEM for a single item)"
    )]
    UnknownCategory(String, String),
    /// The decision line is out of the camera's view.
    #[error(
        "`decision_mm` is {decision_mm}, but the view ends at {end_mm} mm on both sides of its centre"
    )]
    DecisionOutOfView {
        /// Where it is.
        decision_mm: f64,
        /// Half the length of the view.
        end_mm: f64,
    },
    /// The belt is not a part of the picture.
    #[error(
        "`belt_px` has to be [left, top, right, bottom] within the camera's picture, with left < right and top < bottom"
    )]
    BeltOutOfPicture,
    /// A gate that would have to open before the decision has been made.
    #[error(
        "gate `{gate}` at {distance_mm} mm starts to open when an item is at {opens_at_mm} mm, \
         before the decision line at {decision_mm} mm: move it downstream, or shorten hold or lead"
    )]
    GateBeforeDecision {
        /// The gate.
        gate: String,
        /// Where it is.
        distance_mm: f64,
        /// Where the item is when the gate starts to open.
        opens_at_mm: f64,
        /// Where the decision falls.
        decision_mm: f64,
    },
    /// One firing would be longer than the gate may stay on.
    #[error(
        "gate `{gate}` is on for {on_ms} ms a firing (lead and hold), longer than its max_on_ms of {max_on_ms}"
    )]
    FiringTooLong {
        /// The gate.
        gate: String,
        /// Lead and hold together.
        on_ms: f64,
        /// The limit.
        max_on_ms: f64,
    },
    /// A gate that is still moving when it should be open.
    #[error(
        "gate `{gate}` takes {needs_ms} ms to open (steps / steps_hz), longer than its opening_lead_ms of {opening_lead_ms}"
    )]
    OpensTooSlowly {
        /// The gate.
        gate: String,
        /// How long its motor moves.
        needs_ms: f64,
        /// The time that it is given.
        opening_lead_ms: f64,
    },
    /// A servo whose pulses are no two positions.
    #[error(
        "gate `{gate}`: `closed_us` ({closed_us}) and `open_us` ({open_us}) must differ and not be longer than `period_us` ({period_us})"
    )]
    NoServoPositions {
        /// The gate.
        gate: String,
        /// Pulse when closed.
        closed_us: f64,
        /// Pulse when open.
        open_us: f64,
        /// From pulse to pulse.
        period_us: f64,
    },
    /// There is no gate at all.
    #[error("the board has no gates: add a table [gates.NAME]")]
    NoGates,
    /// There is no route at all.
    #[error("the board has no routes: add [routes] with a line CATEGORY = \"GATE\" each")]
    NoRoutes,
}
