//! Inputs of GPIO chips, through the kernel's character device, with the kernel's time stamps.

use super::{SensorError, Sensors};
use crate::actuate::gpio::{OWNER, find, not_found};
use crate::clock::Clock;
use crate::line::Event;
use boards::{Pin, Profile};
use gpiocdev::Request;
use gpiocdev::line::{EdgeDetection, EdgeKind, EventClock, Value};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The inputs of a board, held from opening to dropping.
pub(crate) struct GpioSensors {
    inputs: Vec<Input>,
    fds: Vec<libc::pollfd>,
    clock: Clock,
    encoder_told_us: i64,
    begun: bool,
}

struct Input {
    name: String,
    meaning: Meaning,
    request: Request,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Pulses so far, and the kernel's own count of them: it goes on when events are lost.
    Encoder {
        pulses: i64,
        counted: u32,
    },
    Eye(usize),
    /// Active while the line may run: a cut wire stops it.
    EmergencyStop,
}

/// Contacts bounce, and beams flicker.
const DEBOUNCE: Duration = Duration::from_millis(2);
/// A time stamp that is older is not believed.
const OLDEST_US: i64 = 1_000_000;
/// Events that the kernel keeps until they are read.
const KERNEL_EVENTS: u32 = 1024;
/// The encoder is told of this often.
const ENCODER_US: i64 = 5_000;

impl GpioSensors {
    /// Requests the board's inputs.
    ///
    /// # Errors
    /// A sentence for each that cannot be had.
    pub(crate) fn open(board: &Profile, clock: Clock) -> Result<Self, Vec<String>> {
        let pulses = Meaning::Encoder {
            pulses: 0,
            counted: 0,
        };
        let encoder = board
            .encoder()
            .map(|e| ("the encoder".to_owned(), pulses, &e.line));
        let eyes = board.photo_eyes().iter().enumerate();
        let eyes = eyes.map(|(n, e)| (format!("photo-eye {}", e.name), Meaning::Eye(n), &e.line));
        let stop = board.emergency_stop();
        let stop = stop.map(|line| {
            (
                "the emergency stop".to_owned(),
                Meaning::EmergencyStop,
                line,
            )
        });
        let mut inputs = Vec::new();
        let mut missing = Vec::new();
        for (name, meaning, line) in encoder.into_iter().chain(eyes).chain(stop) {
            match open(&name, meaning, line) {
                Ok(request) => inputs.push(Input {
                    name,
                    meaning,
                    request,
                }),
                Err(what) => missing.push(format!("{name}: {}: {what}", line.line)),
            }
        }
        if !missing.is_empty() {
            return Err(missing);
        }
        let fd = |input: &Input| libc::pollfd {
            fd: input.request.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        Ok(Self {
            fds: inputs.iter().map(fd).collect(),
            inputs,
            encoder_told_us: clock.now_us(),
            clock,
            begun: false,
        })
    }

    fn wait(&mut self, timeout: Duration) {
        let count = self.fds.len() as libc::nfds_t;
        let ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `fds` holds `count` valid entries, which poll writes to during the call only. An
        // interrupted or failed call is as one that timed out: reading tells.
        unsafe { libc::poll(self.fds.as_mut_ptr(), count, ms) };
    }
}

fn open(name: &str, meaning: Meaning, line: &Pin) -> Result<Request, String> {
    let (chip, offset) = find(&line.line).ok_or_else(not_found)?;
    let mut builder = Request::builder();
    builder
        .with_consumer(format!("{OWNER}: {name}"))
        .with_kernel_event_buffer_size(KERNEL_EVENTS)
        .on_chip(&chip)
        .with_line(offset)
        .as_input()
        .with_event_clock(EventClock::Monotonic);
    if line.active_low {
        builder.as_active_low();
    }
    match meaning {
        Meaning::Encoder { .. } => builder.with_edge_detection(EdgeDetection::RisingEdge),
        Meaning::Eye(_) => builder
            .with_edge_detection(EdgeDetection::BothEdges)
            .with_debounce_period(DEBOUNCE),
        // The stop is not waited for: bouncing stops it twice, which does no harm.
        Meaning::EmergencyStop => builder.with_edge_detection(EdgeDetection::BothEdges),
    };
    builder
        .request()
        .map_err(|e| format!("{}: {e}", chip.display()))
}

impl Input {
    /// What a level means, for inputs that have one.
    fn level(&self, active: bool, t_us: i64) -> Option<Event> {
        match self.meaning {
            Meaning::Encoder { .. } => None,
            Meaning::Eye(eye) => Some(Event::Eye {
                t_us,
                eye,
                blocked: active,
            }),
            Meaning::EmergencyStop if active => Some(Event::Resume { t_us }),
            Meaning::EmergencyStop => Some(Event::Stop { t_us }),
        }
    }

    /// The kernel's instant of an edge, which a debounced input has when it has been quiet for a while.
    fn edge_us(&self, stamp_ns: u64, now_us: i64) -> i64 {
        let stamp_us = i64::try_from(stamp_ns / 1000).unwrap_or(now_us);
        let late_us = match self.meaning {
            Meaning::Eye(_) => DEBOUNCE.as_micros() as i64,
            Meaning::Encoder { .. } | Meaning::EmergencyStop => 0,
        };
        // A stamp of another clock is no instant of ours.
        match now_us - stamp_us {
            0..OLDEST_US => stamp_us - late_us,
            _ => now_us,
        }
    }

    fn failed(&self, error: gpiocdev::Error) -> SensorError {
        SensorError(format!("{} cannot be read: {error}", self.name))
    }

    /// Takes in what the kernel has kept.
    fn read(&mut self, now_us: i64, events: &mut Vec<Event>) -> Result<(), SensorError> {
        while self.request.has_edge_event().map_err(|e| self.failed(e))? {
            let edge = self.request.read_edge_event().map_err(|e| self.failed(e))?;
            if let Meaning::Encoder { pulses, counted } = &mut self.meaning {
                *pulses += i64::from(edge.line_seqno.wrapping_sub(*counted));
                *counted = edge.line_seqno;
            } else {
                let active = edge.kind == EdgeKind::Rising;
                let t_us = self.edge_us(edge.timestamp_ns, now_us);
                events.extend(self.level(active, t_us));
            }
        }
        Ok(())
    }
}

impl Sensors for GpioSensors {
    fn poll(&mut self, timeout: Duration, events: &mut Vec<Event>) -> Result<(), SensorError> {
        if !std::mem::replace(&mut self.begun, true) {
            let now_us = self.clock.now_us();
            for input in &self.inputs {
                let level = input.request.lone_value().map_err(|e| input.failed(e))?;
                events.extend(input.level(level == Value::Active, now_us));
            }
        }
        let due_us = self.encoder_told_us + ENCODER_US - self.clock.now_us();
        let due = Duration::from_micros(u64::try_from(due_us).unwrap_or(0));
        self.wait(timeout.min(due));
        let now_us = self.clock.now_us();
        for input in &mut self.inputs {
            input.read(now_us, events)?;
        }
        if now_us - self.encoder_told_us >= ENCODER_US {
            self.encoder_told_us = now_us;
            events.extend(self.inputs.iter().filter_map(|input| match input.meaning {
                Meaning::Encoder { pulses, .. } => Some(Event::Encoder {
                    t_us: now_us,
                    counted_us: now_us,
                    pulses,
                }),
                _ => None,
            }));
        }
        Ok(())
    }
}
