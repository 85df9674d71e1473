//! Gates, and the outputs that move them.

/// One gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Its name in routes and reports.
    pub name: String,
    /// What moves it.
    pub drive: Drive,
    /// Distance from the centre of the camera's view.
    pub distance_mm: f64,
    /// Length of belt that an open gate clears, centred on `distance_mm`.
    pub window_mm: f64,
    /// Time from switching on to being open.
    pub opening_lead_ms: f64,
    /// Time it stays open for one item, centred on the item's passing.
    pub hold_ms: f64,
    /// Shortest time between two firings.
    pub min_gap_ms: f64,
    /// Longest time it may be switched on.
    pub max_on_ms: f64,
}

/// What moves a gate.
#[derive(Debug, Clone, PartialEq)]
pub enum Drive {
    /// One output, on while the gate is to be open: a solenoid, an air jet, a paddle with a spring.
    Pulse(Pin),
    /// A paddle with two positions, driven into each by an output of its own for the time of a stroke.
    Paddle {
        /// Drives it open.
        open: Pin,
        /// Drives it closed.
        close: Pin,
        /// How long an output stays on.
        stroke_ms: f64,
    },
    /// A stepper motor behind a driver that takes steps and a direction. It is closed at the start.
    Stepper {
        /// A step at each rising edge.
        step: Pin,
        /// Active towards open.
        direction: Pin,
        /// Active while the motor holds or moves.
        enable: Option<Pin>,
        /// From closed to open.
        steps: u32,
        /// Steps a second.
        steps_hz: f64,
    },
    /// A servo, whose position is the length of a pulse.
    Servo {
        /// The kernel's PWM channel.
        pwm: PwmChannel,
        /// Pulse when closed.
        closed_us: f64,
        /// Pulse when open.
        open_us: f64,
        /// From pulse to pulse.
        period_us: f64,
    },
}

impl Drive {
    pub(crate) const NAMES: &'static str = "\"pulse\", \"paddle\", \"stepper\" or \"servo\"";

    /// Its GPIO lines, each with its role; empty for a servo.
    pub fn pins(&self) -> Vec<(&'static str, &Pin)> {
        match self {
            Self::Pulse(pin) => vec![("output", pin)],
            Self::Paddle { open, close, .. } => vec![("open", open), ("close", close)],
            Self::Stepper {
                step,
                direction,
                enable,
                ..
            } => {
                let enable = enable.as_ref().map(|pin| ("enable", pin));
                let rest = [("step", step), ("direction", direction)];
                rest.into_iter().chain(enable).collect()
            }
            Self::Servo { .. } => Vec::new(),
        }
    }
}

/// A line of a GPIO chip and its polarity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Where it is.
    pub line: GpioLine,
    /// Whether the line is low while it is active.
    pub active_low: bool,
}

/// A line of a GPIO chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GpioLine {
    /// By the line's own name.
    Named(String),
    /// By the chip's label (numbers of chips move between kernels) and the line's offset.
    Offset {
        /// Label of the chip.
        chip: String,
        /// Offset of the line.
        offset: u32,
    },
}

impl std::fmt::Display for GpioLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => write!(f, "line {name}"),
            Self::Offset { chip, offset } => write!(f, "line {offset} of chip {chip}"),
        }
    }
}

/// A channel of a PWM chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PwmChannel {
    /// Name of the chip's device, where `/sys/class/pwm/pwmchip*/device` leads (numbers of chips move).
    pub chip: String,
    /// Channel of the chip.
    pub channel: u32,
}

impl std::fmt::Display for PwmChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "channel {} of PWM chip {}", self.channel, self.chip)
    }
}
