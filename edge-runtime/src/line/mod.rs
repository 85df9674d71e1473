//! The line: what is to be done about what was seen. A pure state machine.
//!
//! It takes [`Event`]s and gives [`Command`]s. It has no threads, no clock and no devices: time comes
//! with the events, in microseconds on the monotonic clock, so that the same events give the same
//! commands whoever runs it. ([`detect`] turns frames into detections and is as pure, but keeps its
//! own state, the learned belt.)
//!
//! # Glossary
//! - *place*: where something lies on the belt; its position less the belt's travel. Constant.
//! - *position*: millimetres from the centre of the camera's view, positive downstream.
//! - *track*: one item, from entering the view until it has left the belt.
//! - *view*: one picture of an item with all of it in the frame; views are classified and vote.
//! - *decision line*: the position at which the votes are counted at the latest.
//! - *plan*: a firing that waits; it is released as [`Command::Fire`] shortly before its time, when
//!   everything that could lie in front of the gate is known.
//!
//! # Rules
//! - An item in doubt is rejected: no usable view, no category with enough score, or so long that
//!   it must be several that touch.
//! - Firing times follow from capture instants, however late the classification comes. When a gate
//!   can no longer be opened in time, the item is late and rejected: never a late shot at the next.
//! - A firing that could move an item with another destination, or with none yet, is not released;
//!   the item it was for is rejected. Neighbours for the same gate share a firing.
//! - After a stop everything is rejected until the belt has carried away what was on it.
//! - Every item ends exactly once ([`Command::Ended`]).

pub(crate) mod detect;
pub(crate) mod geometry;
mod route;
mod schedule;
mod track;
mod vote;

use boards::{Destination, Profile};
use detect::Detection;
use geometry::{Belt, Geometry, PixelBox};
pub(crate) use route::Routes;
use schedule::{GateTiming, Plan, Schedule};
use serde::{Deserialize, Serialize};
use track::{State, Track, Tracks};

/// What happens to the line. `t_us` is when it learns of it; time never runs backwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A frame, captured at `captured_us`, has been looked at.
    Frame {
        t_us: i64,
        captured_us: i64,
        detections: Vec<Detection>,
    },
    /// A view has been classified: scores per category, or none where that failed.
    Scored {
        t_us: i64,
        track: u32,
        captured_us: i64,
        scores: Vec<f32>,
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
    fn t_us(&self) -> i64 {
        match *self {
            Event::Frame { t_us, .. }
            | Event::Scored { t_us, .. }
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
    AllOff { t_us: i64 },
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
    /// No category has enough score.
    Doubtful,
    /// It cannot be told from its neighbours, or its firing could have moved one of them.
    Crowded,
    /// Its scores came too late for its gate, or had not come at all by then.
    Late,
    /// The camera was lost before it was decided.
    CameraLost,
    /// The line was stopped.
    Stopped,
}

/// What the line has to know beforehand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LineConfig {
    geometry: Geometry,
    belt: Belt,
    decision_mm: f64,
    gates: Vec<GateTiming>,
    routes: Routes,
    /// Views that are classified or wait for it at any time.
    max_in_flight: usize,
}

impl LineConfig {
    pub(crate) fn new(board: &Profile, routes: Routes) -> Self {
        Self {
            geometry: Geometry::new(board),
            belt: Belt {
                speed_mm_s: board.belt().speed_mm_s,
            },
            decision_mm: board.belt().decision_mm,
            gates: board.gates().iter().map(GateTiming::new).collect(),
            routes,
            max_in_flight: 2,
        }
    }
}

/// A decision may fall before the decision line when this many views agree this well.
const CERTAIN_VIEWS: u32 = 3;
const CERTAIN_SCORE: f32 = 0.9;
/// Firings are released this long before they begin.
const HORIZON_US: i64 = 40_000;
/// A firing that would have to begin sooner than this is late.
const SLACK_US: i64 = 2_000;
/// A view whose scores have not come after this long is given up.
const GIVE_UP_US: i64 = 3_000_000;
/// Items are forgotten this far behind the last gate.
const BEYOND_MM: f64 = 200.0;
/// What is longer than this share of the view is taken for several items that touch.
const MAX_LENGTH_SHARE: f64 = 0.6;
/// Around a detection, what is classified with it.
const MARGIN_PX: u32 = 4;

/// The state machine.
#[derive(Debug)]
pub(crate) struct Line {
    config: LineConfig,
    now_us: i64,
    /// Capture instant of the newest frame.
    seen_us: i64,
    stopped: bool,
    /// After a stop: until when there may be items on the belt that nobody knows of.
    blind_until_us: i64,
    tracks: Tracks,
    schedule: Schedule,
    /// Views being classified: track and capture instant.
    in_flight: Vec<(u32, i64)>,
}

impl Line {
    pub(crate) fn new(config: LineConfig) -> Self {
        Self {
            now_us: i64::MIN,
            seen_us: i64::MIN,
            stopped: false,
            blind_until_us: i64::MIN,
            tracks: Tracks::default(),
            schedule: Schedule::new(config.gates.len()),
            in_flight: Vec::new(),
            config,
        }
    }

    /// Takes one event and appends what follows from it.
    pub(crate) fn handle(&mut self, event: &Event, out: &mut Vec<Command>) {
        self.now_us = self.now_us.max(event.t_us());
        match event {
            Event::Frame {
                captured_us,
                detections,
                ..
            } => self.on_frame(*captured_us, detections, out),
            Event::Scored {
                track,
                captured_us,
                scores,
                ..
            } => self.on_scored(*track, *captured_us, scores),
            Event::Tick { .. } => {}
            Event::CameraLost { .. } => self.reject_watched(Reason::CameraLost, out),
            Event::Stop { .. } => self.on_stop(out),
            Event::Resume { .. } => self.on_resume(),
        }
        let oldest_us = self.now_us.saturating_sub(GIVE_UP_US);
        let tracks = &mut self.tracks;
        self.in_flight.retain(|&(track, captured_us)| {
            let waits = captured_us > oldest_us;
            if !waits && let Some(track) = tracks.get_mut(track) {
                track.in_flight = track.in_flight.saturating_sub(1);
            }
            waits
        });
        self.decide_due(out);
        self.release_due(out);
        self.forget();
    }

    fn on_frame(&mut self, captured_us: i64, detections: &[Detection], out: &mut Vec<Command>) {
        if self.stopped || captured_us <= self.seen_us {
            return;
        }
        self.seen_us = captured_us;
        let LineConfig { geometry, belt, .. } = &self.config;
        self.tracks.update(captured_us, detections, geometry, belt);
        while self.in_flight.len() < self.config.max_in_flight {
            let Some(track) = next_to_classify(&mut self.tracks.list) else {
                break;
            };
            let Some(view) = track.view.take() else { break };
            track.asked += 1;
            track.in_flight += 1;
            self.in_flight.push((track.id, captured_us));
            let area = view.grown(MARGIN_PX, geometry.width_px, geometry.height_px);
            out.push(Command::Classify {
                track: track.id,
                captured_us,
                area,
            });
        }
    }

    fn on_scored(&mut self, id: u32, captured_us: i64, scores: &[f32]) {
        let Some(at) = self.in_flight.iter().position(|f| *f == (id, captured_us)) else {
            return;
        };
        self.in_flight.remove(at);
        if let Some(track) = self.tracks.get_mut(id) {
            track.in_flight = track.in_flight.saturating_sub(1);
            let categories = self.config.routes.destinations.len();
            track.votes.add(categories, scores, captured_us);
        }
    }

    fn on_stop(&mut self, out: &mut Vec<Command>) {
        self.stopped = true;
        out.push(Command::AllOff { t_us: self.now_us });
        self.schedule.clear();
        for track in self.tracks.list.drain(..) {
            if track.is_confirmed() && !matches!(track.state, State::Ended(_)) {
                out.push(Command::Ended {
                    track: track.id,
                    t_us: self.now_us,
                    end: End::Rejected(Reason::Stopped),
                });
            }
        }
        for gate in 0..self.config.gates.len() {
            let free_us = self.now_us + self.config.gates[gate].min_gap_us;
            self.schedule.set_free_us(gate, free_us);
        }
    }

    fn on_resume(&mut self) {
        if std::mem::take(&mut self.stopped) {
            let entry_mm = -self.config.geometry.half_length_mm();
            let clear_us = self.config.belt.time_us(entry_mm, self.end_mm());
            self.blind_until_us = self.now_us + clear_us;
        }
    }

    fn reject_watched(&mut self, reason: Reason, out: &mut Vec<Command>) {
        for index in 0..self.tracks.list.len() {
            let track = &self.tracks.list[index];
            if track.is_confirmed() && track.state == State::Watched {
                self.conclude(index, Err(reason), out);
            }
        }
    }

    /// Decides about every item whose time has come.
    fn decide_due(&mut self, out: &mut Vec<Command>) {
        for index in 0..self.tracks.list.len() {
            let track = &self.tracks.list[index];
            if !track.is_confirmed() || track.state != State::Watched {
                continue;
            }
            let position_mm = track.place_mm() + self.config.belt.travel_mm(self.now_us);
            let waits = track.in_flight > 0 && self.now_us < self.last_call_us(track);
            if is_certain(track) || (position_mm >= self.config.decision_mm && !waits) {
                let verdict = self.judge(track);
                self.conclude(index, verdict, out);
            }
        }
    }

    fn judge(&self, track: &Track) -> Result<usize, Reason> {
        if track.length_mm() > MAX_LENGTH_SHARE * 2.0 * self.config.geometry.half_length_mm() {
            return Err(Reason::Crowded);
        }
        match self.config.routes.judge(&track.votes) {
            // It was seen, but its scores have not come in time.
            Err(Reason::Unseen) if track.in_flight > 0 => Err(Reason::Late),
            verdict => verdict,
        }
    }

    /// Until when scores may be waited for: the first gate's firing.
    fn last_call_us(&self, track: &Track) -> i64 {
        let firings = self.config.gates.iter().map(|gate| {
            let (on_us, _) = gate.firing_us(track.place_mm(), &self.config.belt);
            on_us - SLACK_US
        });
        firings.min().unwrap_or(i64::MIN)
    }

    fn conclude(&mut self, index: usize, verdict: Result<usize, Reason>, out: &mut Vec<Command>) {
        let track = &self.tracks.list[index];
        let verdict = if self.now_us < self.blind_until_us {
            Err(Reason::Stopped)
        } else {
            verdict
        };
        out.push(Command::Decided {
            track: track.id,
            t_us: self.now_us,
            settled_us: track.votes.settled_us,
            place_mm: track.place_mm(),
            verdict,
        });
        match verdict {
            Err(reason) => self.reject(index, reason, None, out),
            Ok(category) => match self.config.routes.destinations[category] {
                Destination::PassThrough => {
                    self.end(index, End::PassedThrough, Destination::PassThrough, out);
                }
                Destination::Gate(gate) => {
                    if !self.plan(index, gate, End::Fired(gate)) {
                        self.reject(index, Reason::Late, Some(gate), out);
                    }
                }
            },
        }
    }

    /// Plans a firing unless it would be late.
    fn plan(&mut self, index: usize, gate: usize, end: End) -> bool {
        let track = &mut self.tracks.list[index];
        let timing = &self.config.gates[gate];
        let (on_us, off_us) = timing.firing_us(track.place_mm(), &self.config.belt);
        if on_us < self.now_us + SLACK_US {
            return false;
        }
        track.state = State::Planned(gate);
        self.schedule.add(Plan {
            track: track.id,
            gate,
            on_us,
            off_us,
            end,
        });
        true
    }

    /// Sends an item to the reject chute, if that is not the gate that has just been `tried`.
    fn reject(
        &mut self,
        index: usize,
        reason: Reason,
        tried: Option<usize>,
        out: &mut Vec<Command>,
    ) {
        let end = End::Rejected(reason);
        if let Destination::Gate(gate) = self.config.routes.reject
            && tried != Some(gate)
            && self.plan(index, gate, end)
        {
            return;
        }
        self.end(index, end, Destination::PassThrough, out);
    }

    fn end(&mut self, index: usize, end: End, way: Destination, out: &mut Vec<Command>) {
        let track = &mut self.tracks.list[index];
        track.state = State::Ended(way);
        out.push(Command::Ended {
            track: track.id,
            t_us: self.now_us,
            end,
        });
    }

    /// Releases the firings whose time has come, those of neighbours together.
    fn release_due(&mut self, out: &mut Vec<Command>) {
        while let Some(plan) = self.schedule.take_due(self.now_us + HORIZON_US) {
            let late = plan.on_us < self.now_us;
            let busy = plan.on_us < self.schedule.free_us(plan.gate);
            let firing = (plan.on_us, plan.off_us);
            if late || busy || !self.is_clear(plan.gate, firing) {
                let reason = if late { Reason::Late } else { Reason::Crowded };
                if let Some(index) = self.index_of(plan.track) {
                    self.reject(index, reason, Some(plan.gate), out);
                }
                continue;
            }
            let gate = plan.gate;
            let mut ends = vec![(plan.track, plan.end)];
            let firing = self.extend(gate, firing, &mut ends);
            let free_us = firing.1 + self.config.gates[gate].min_gap_us;
            self.schedule.set_free_us(gate, free_us);
            out.push(Command::Fire {
                gate,
                on_us: firing.0,
                off_us: firing.1,
            });
            for (track, end) in ends {
                if let Some(index) = self.index_of(track) {
                    self.end(index, end, Destination::Gate(gate), out);
                }
            }
        }
    }

    /// Joins the gate's next firings to this one while they follow too closely to be apart.
    fn extend(
        &mut self,
        gate: usize,
        mut firing: (i64, i64),
        ends: &mut Vec<(u32, End)>,
    ) -> (i64, i64) {
        let timing = self.config.gates[gate];
        while let Some(next) = self.schedule.next_of(gate, firing.1 + timing.min_gap_us) {
            let longer = (firing.0, firing.1.max(next.off_us));
            if longer.1 - longer.0 > timing.max_on_us || !self.is_clear(gate, longer) {
                break;
            }
            let track = next.track;
            if let Some(joined) = self.schedule.remove(track) {
                ends.push((track, joined.end));
            }
            firing = longer;
        }
        firing
    }

    /// Whether a firing can only move items that are to go through its gate.
    fn is_clear(&self, gate: usize, firing: (i64, i64)) -> bool {
        let timing = &self.config.gates[gate];
        let others = self.tracks.list.iter().filter(|t| t.is_confirmed());
        others.into_iter().all(|track| {
            let welcome = match track.state {
                State::Watched => false,
                State::Planned(planned) => planned == gate,
                State::Ended(Destination::PassThrough) => false,
                State::Ended(Destination::Gate(taken)) => {
                    taken == gate || self.config.gates[taken].distance_mm < timing.distance_mm
                }
            };
            welcome || !timing.may_hit(firing, track.place_mm(), &self.config.belt)
        })
    }

    fn index_of(&self, track: u32) -> Option<usize> {
        self.tracks.list.iter().position(|t| t.id == track)
    }

    /// Where an item has passed everything.
    fn end_mm(&self) -> f64 {
        let gates = self.config.gates.iter().map(|g| g.distance_mm);
        gates.fold(self.config.geometry.half_length_mm(), f64::max) + BEYOND_MM
    }

    /// Drops tracks that have left the belt.
    fn forget(&mut self) {
        let end_mm = self.end_mm();
        let travel_mm = self.config.belt.travel_mm(self.now_us);
        self.tracks.list.retain(|track| {
            let on_belt = track.place_mm() + travel_mm < end_mm;
            let open = track.is_confirmed() && !matches!(track.state, State::Ended(_));
            on_belt || open
        });
    }
}

fn is_certain(track: &Track) -> bool {
    let standing = track.votes.standing();
    track.votes.views >= CERTAIN_VIEWS && standing.is_some_and(|s| s.score >= CERTAIN_SCORE)
}

/// The item that has been looked at least so far; of equals the one furthest downstream.
fn next_to_classify(tracks: &mut [Track]) -> Option<&mut Track> {
    let open = tracks.iter_mut().filter(|track| {
        track.view.is_some() && track.is_confirmed() && track.state == State::Watched
    });
    open.min_by(|a, b| {
        let downstream = b.place_mm().total_cmp(&a.place_mm());
        a.asked.cmp(&b.asked).then(downstream)
    })
}

#[cfg(test)]
mod laws;
