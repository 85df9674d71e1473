//! A small world that a seed chooses, for the line to be tried in: a belt that really moves, items on
//! it, gates that really move items, and sensors that tell the line of it late, twice, wrongly or not
//! at all.

mod camera;
mod judge;
mod motion;

use crate::line::detect::Detection;
use crate::line::event::{Command, End, Event, Reason};
use crate::line::geometry::PixelBox;
use crate::line::schedule::GateTiming;
use crate::line::{Line, LineConfig, Routes};
use boards::{Destination, Profile};
use motion::Belt;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trouble {
    /// Shares, from 0 to 1.
    pub(super) lost_frames: f64,
    pub(super) doubled_frames: f64,
    /// Frames with the time stamp of the one before.
    pub(super) stale_stamps: f64,
    pub(super) lost_detections: f64,
    /// Detections that look like two items.
    pub(super) crowded: f64,
    pub(super) failed_views: f64,
    pub(super) wrong_views: f64,
    /// Largest delays.
    pub(super) frame_delay_us: i64,
    pub(super) score_delay_us: i64,
    /// Smallest distance between items, and the shortest and longest of them.
    pub(super) min_gap_mm: f64,
    pub(super) lengths_mm: (f64, f64),
    /// Items come in groups, as close together as they may be.
    pub(super) bursts: bool,
    /// Now and then the camera gives nothing for a while.
    pub(super) blindness: bool,
    /// Emergency stops.
    pub(super) stops: bool,
    /// Now and then nothing reaches the line for a while, and then everything at once.
    pub(super) stalls: bool,
    /// Now and then a view takes seconds.
    pub(super) stalled_classifier: bool,
    pub(super) motion: BeltMotion,
    /// The encoder sticks, jumps or falls silent; a photo-eye is blocked for long.
    pub(super) glitches: bool,
}

/// How the belt moves, and how the line knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::line) enum BeltMotion {
    Fixed,
    /// It speeds up, slows down, stops, starts and runs too fast.
    Encoder,
    /// Its speed drifts.
    Camera,
}

pub(super) const NO_TROUBLE: Trouble = Trouble {
    lost_frames: 0.0,
    doubled_frames: 0.0,
    stale_stamps: 0.0,
    lost_detections: 0.0,
    crowded: 0.0,
    failed_views: 0.0,
    wrong_views: 0.0,
    frame_delay_us: 6_000,
    score_delay_us: 40_000,
    min_gap_mm: 80.0,
    lengths_mm: (50.0, 170.0),
    bursts: false,
    blindness: false,
    stops: false,
    stalls: false,
    stalled_classifier: false,
    motion: BeltMotion::Fixed,
    glitches: false,
};

/// Categories; the last one has no gate and passes through.
pub(super) const CATEGORIES: usize = 4;
const NOMINAL_MM_S: f64 = 400.0;
const FRAME_US: i64 = 50_000;
const TICK_US: i64 = 20_000;
const COUNT_US: i64 = 10_000;
const MM_PER_PULSE: f64 = 0.5;
const SCALE: f64 = 1.6;
const VIEW_MM: f64 = 400.0;
/// After this long without frames the line is told that the camera is lost.
const LOST_US: i64 = 900_000;
/// Items are put on the belt here.
const ENTRY_MM: f64 = -600.0;

/// An item.
#[derive(Debug, Clone)]
pub(super) struct Thing {
    id: u64,
    pub(super) kind: usize,
    /// Place of the centre on the belt.
    place_mm: f64,
    length_mm: f64,
    y_mm: f64,
    /// Frames in which the line saw it.
    pub(super) seen: u32,
    /// What the line decided for it.
    pub(super) verdicts: Vec<(u32, Result<usize, Reason>)>,
    /// The tracks whose views showed it.
    shown_by: Vec<u32>,
    /// The gate that moved it.
    pub(super) fell: Option<usize>,
}

/// A gate's time on, as far as it was not called off.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Opening {
    gate: usize,
    on_us: i64,
    off_us: i64,
    /// It was ended before its time.
    cut: bool,
    /// It has moved something.
    used: bool,
}

/// What is going to happen.
enum Due {
    Frame,
    Tick,
    Count,
    Drive,
    Mischief,
    Arrives(Event),
}

/// What a run came to.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) things: u64,
    pub(super) sorted: u64,
    pub(super) rejected: u64,
    /// Never noticed.
    pub(super) missed: u64,
    pub(super) firings: u64,
    pub(super) events: u64,
}

pub(super) struct World {
    rng: ChaCha8Rng,
    trouble: Trouble,
    gates: Vec<GateTiming>,
    belt: Belt,
    target_mm_s: f64,
    speed_mm_s: f64,
    pulse_offset: i64,
    stuck_at: Option<i64>,
    silent_until_us: i64,
    blind_until_us: i64,
    /// Time stamp of the last frame, and when it reaches the line.
    stamp_us: i64,
    seen_us: i64,
    /// Nothing reaches the line before this.
    stalled_until_us: i64,
    /// Items of the group to come.
    burst: u32,
    pub(super) things: VecDeque<Thing>,
    left: usize,
    due: BTreeMap<(i64, u64), Due>,
    order: u64,
    line: Line,
    openings: Vec<Opening>,
    /// What each track's views showed.
    shown: BTreeMap<u32, u64>,
    decided: BTreeMap<u32, Result<usize, Reason>>,
    ended: BTreeMap<u32, End>,
    ends: u64,
    pub(super) outcome: Outcome,
    /// Everything that was said, for replaying, where that is wanted.
    pub(super) record: Option<(Vec<Event>, Vec<Command>)>,
    pub(super) faults: Vec<String>,
    /// Called when an item has left the belt.
    pub(super) keep: Vec<Thing>,
    pub(super) keeps: bool,
}

pub(in crate::line) fn config(motion: BeltMotion) -> LineConfig {
    let names: Vec<String> = (0..CATEGORIES).map(|n| format!("c{n}")).collect();
    let toml = boards_toml(&names, motion);
    let board = Profile::from_toml("world", &toml).unwrap_or_else(|e| panic!("{e}"));
    let mut destinations: Vec<_> = (0..CATEGORIES - 1).map(Destination::Gate).collect();
    destinations.push(Destination::PassThrough);
    let routes = Routes::plain(&destinations, 0.6, Destination::PassThrough);
    let mut config = LineConfig::new(&board, routes);
    // Tight limits, so that they are met.
    for gate in &mut config.gates {
        gate.max_on_us = 260_000;
        gate.min_gap_us = 60_000;
    }
    config
}

fn boards_toml(names: &[String], motion: BeltMotion) -> String {
    let (name, encoder) = match motion {
        BeltMotion::Fixed => ("fixed", ""),
        BeltMotion::Camera => ("camera", ""),
        BeltMotion::Encoder => ("encoder", "[encoder]\nline = \"E\"\nmm_per_pulse = 0.5\n"),
    };
    let mut text = format!(
        "name = \"world\"\nreject = \"pass through\"\n[camera]\ndevice = \"simulated\"\nwidth_px = 640\n\
         height_px = 480\nrate_hz = 20\nview_mm = [400, 300]\n[belt]\nspeed_mm_s = 400\nmotion = \"{name}\"\n\
         direction = \"left-to-right\"\ndecision_mm = 100\n{encoder}[photo_eyes.end]\nline = \"P\"\n\
         position_mm = 1000\n"
    );
    let mut routes = String::from("[routes]\n");
    for (index, name) in names.iter().enumerate() {
        let distance_mm = 500 + 200 * index;
        text += &format!(
            "[gates.g{index}]\nline = \"{index}\"\ndistance_mm = {distance_mm}\nopening_lead_ms = 20\n\
             hold_ms = 120\nmin_gap_ms = 20\nmax_on_ms = 1000\n"
        );
        routes += &format!("{name} = \"g{index}\"\n");
    }
    text + &routes
}

impl World {
    pub(super) fn new(seed: u64, trouble: Trouble, things: usize) -> Self {
        let config = config(trouble.motion);
        let gates = config.gates.clone();
        let mut world = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            trouble,
            gates,
            belt: Belt {
                legs: VecDeque::from([(0, 0.0, NOMINAL_MM_S)]),
            },
            target_mm_s: NOMINAL_MM_S,
            speed_mm_s: NOMINAL_MM_S,
            pulse_offset: 0,
            stuck_at: None,
            silent_until_us: 0,
            blind_until_us: 0,
            stamp_us: 0,
            seen_us: 0,
            stalled_until_us: 0,
            burst: 0,
            things: VecDeque::new(),
            left: things,
            due: BTreeMap::new(),
            order: 0,
            line: Line::new(config),
            openings: Vec::new(),
            shown: BTreeMap::new(),
            decided: BTreeMap::new(),
            ended: BTreeMap::new(),
            ends: 0,
            outcome: Outcome::default(),
            record: None,
            faults: Vec::new(),
            keep: Vec::new(),
            keeps: false,
        };
        world.add(FRAME_US, Due::Frame);
        world.add(TICK_US, Due::Tick);
        if trouble.motion == BeltMotion::Encoder {
            world.add(1, Due::Count);
        }
        if trouble.motion != BeltMotion::Fixed {
            world.add(1_000_000, Due::Drive);
        }
        world.add(2_000_000, Due::Mischief);
        world
    }

    /// How far from a gate's middle an item may really be when the gate is meant for it. A belt that
    /// changes its speed, or an encoder that fails, is found out within some frames; until then
    /// places are wrong by as much as the belt moves in that time.
    fn tolerance_mm(&self) -> f64 {
        let half_mm = self.gates[0].window_mm / 2.0;
        half_mm
            + match (self.trouble.motion, self.trouble.glitches) {
                (BeltMotion::Fixed, _) => 10.0,
                (BeltMotion::Encoder, false) => 15.0,
                (BeltMotion::Encoder, true) => 40.0,
                (BeltMotion::Camera, _) => 40.0,
            }
    }

    fn add(&mut self, t_us: i64, due: Due) {
        self.due.insert((t_us, self.order), due);
        self.order += 1;
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.random::<f64>() < share
    }

    /// Runs until the last thing has left the belt.
    pub(super) fn run(&mut self) {
        let mut commands = Vec::new();
        while let Some(((t_us, _), due)) = self.due.pop_first() {
            if self.left == 0 && self.things.is_empty() {
                self.belt.set_speed(t_us, NOMINAL_MM_S);
                return self.finish(t_us);
            }
            match due {
                Due::Frame => self.frame(t_us),
                Due::Tick => {
                    self.add(t_us + TICK_US, Due::Tick);
                    self.tell(Event::Tick { t_us });
                    self.carry(t_us);
                }
                Due::Count => self.count(t_us),
                Due::Drive => self.drive(t_us),
                Due::Mischief => self.mischief(t_us),
                Due::Arrives(mut event) => {
                    if t_us < self.stalled_until_us {
                        let at_us = self.stalled_until_us;
                        self.add(at_us, Due::Arrives(event));
                        continue;
                    }
                    set_time(&mut event, t_us);
                    self.line.handle(&event, &mut commands);
                    self.outcome.events += 1;
                    if let Some((events, _)) = &mut self.record {
                        events.push(event);
                    }
                    for command in commands.drain(..) {
                        self.obey(t_us, &command);
                        if let Some((_, said)) = &mut self.record {
                            said.push(command);
                        }
                    }
                    self.hold(t_us);
                }
            }
        }
    }

    /// The event reaches the line at its own time, or when the line wakes up again.
    fn tell(&mut self, event: Event) {
        let t_us = event.t_us();
        self.add(t_us, Due::Arrives(event));
    }
}

fn set_time(event: &mut Event, now_us: i64) {
    match event {
        Event::Frame { t_us, .. }
        | Event::Scored { t_us, .. }
        | Event::Encoder { t_us, .. }
        | Event::Eye { t_us, .. }
        | Event::Tick { t_us }
        | Event::CameraLost { t_us }
        | Event::Stop { t_us }
        | Event::Resume { t_us } => *t_us = now_us,
    }
}
