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
//! - *hold*: a reason for which nothing is fired at all: stopped, jammed, too fast, motion unknown.
//!
//! # Rules
//! - An item in doubt is rejected: no usable view, no category with enough score, or so long that
//!   it must be several that touch.
//! - Firing times follow from capture instants and the belt's travel, however late the classification
//!   comes, and move as the belt's speed does. When a gate can no longer be opened in time, the item
//!   is late and rejected: never a late shot at the next.
//! - A firing that could move an item with another destination, or with none yet, or what was never
//!   in view, is not released; the item it was for is rejected. Neighbours for the same gate share a
//!   firing.
//! - When a hold begins, everything is switched off and every open item is rejected: from then on
//!   nobody knows what lies downstream, until the belt has carried it away.
//! - Every item ends exactly once ([`Command::Ended`]), one that is fired when its gate has closed.

mod coverage;
pub(crate) mod detect;
mod dispatch;
mod event;
pub(crate) mod geometry;
mod motion;
mod registration;
pub(crate) mod route;
mod schedule;
mod track;
mod vote;

use boards::Profile;
use coverage::Coverage;
use detect::Detection;
pub(crate) use event::{Command, End, Event, Reason};
use geometry::{Geometry, Span};
use motion::{Doubt, Motion};
use registration::Registration;
pub(crate) use route::Routes;
use schedule::{GateTiming, Schedule};
use serde::{Deserialize, Serialize};
use track::{State, Track, Tracks};

/// What the line has to know beforehand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LineConfig {
    geometry: Geometry,
    motion: Motion,
    decision_mm: f64,
    gates: Vec<GateTiming>,
    /// Per photo-eye, the travel of the belt for which it may be blocked.
    jam_mm: Vec<f64>,
    routes: Routes,
    /// Views that are classified or wait for it at any time.
    max_in_flight: usize,
}

impl LineConfig {
    pub(crate) fn new(board: &Profile, routes: Routes) -> Self {
        Self {
            geometry: Geometry::new(board),
            motion: Motion::new(board),
            decision_mm: board.belt().decision_mm,
            gates: board.gates().iter().map(GateTiming::new).collect(),
            jam_mm: board.photo_eyes().iter().map(|e| e.jam_mm).collect(),
            routes,
            max_in_flight: 2,
        }
    }

    /// Where an item has passed everything.
    fn end_mm(&self) -> f64 {
        let gates = self.gates.iter().map(|g| g.distance_mm);
        gates.fold(self.geometry.half_length_mm(), f64::max) + BEYOND_MM
    }
}

/// A view whose scores have not come after this long is given up.
const GIVE_UP_US: i64 = 3_000_000;
/// Items are forgotten this far behind the last gate.
const BEYOND_MM: f64 = 200.0;
/// Around a detection, what is classified with it.
const MARGIN_PX: u32 = 4;
/// After the last doubt about the belt's motion, this long nothing is believed.
const DOUBT_US: i64 = 300_000;

/// The state machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    config: LineConfig,
    now_us: i64,
    /// Capture instant of the newest frame.
    seen_us: i64,
    motion: Motion,
    registration: Registration,
    coverage: Coverage,
    holds: Holds,
    tracks: Tracks,
    spans: Vec<Span>,
    schedule: Schedule,
    /// Views being classified: track and capture instant.
    in_flight: Vec<(u32, i64)>,
}

/// What stands against firing anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Holds {
    stopped: bool,
    /// Per photo-eye, the belt's travel when it was blocked.
    blocked_mm: Vec<Option<f64>>,
    too_fast_until_us: i64,
    doubtful_until_us: i64,
    silent: bool,
    /// The hold that was there after the event before.
    reported: Option<Reason>,
}

impl Line {
    pub(crate) fn new(config: LineConfig) -> Self {
        Self {
            now_us: i64::MIN,
            seen_us: i64::MIN,
            motion: config.motion.clone(),
            registration: Registration::default(),
            coverage: Coverage::new(config.geometry.half_length_mm(), config.end_mm()),
            holds: Holds {
                stopped: false,
                blocked_mm: vec![None; config.jam_mm.len()],
                too_fast_until_us: i64::MIN,
                doubtful_until_us: i64::MIN,
                silent: false,
                reported: None,
            },
            tracks: Tracks::default(),
            spans: Vec::new(),
            schedule: Schedule::new(config.gates.len()),
            in_flight: Vec::new(),
            config,
        }
    }

    /// Takes one event and appends what follows from it.
    pub(crate) fn handle(&mut self, event: &Event, out: &mut Vec<Command>) {
        self.now_us = self.now_us.max(event.t_us());
        self.complete_due(out);
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
            Event::Encoder {
                counted_us, pulses, ..
            } => {
                let result = self.motion.count(*counted_us, *pulses);
                self.believe(result);
            }
            Event::Eye { eye, blocked, .. } => self.on_eye(*eye, *blocked),
            Event::Tick { .. } => {}
            Event::CameraLost { .. } => self.reject_watched(Reason::CameraLost, out),
            Event::Stop { .. } => self.holds.stopped = true,
            Event::Resume { .. } => self.holds.stopped = false,
        }
        self.holds.silent = self.motion.is_silent(self.now_us);
        self.check_hold(out);
        self.give_up_views();
        self.decide_due(out);
        self.release_due(out);
        self.let_pass(out);
        self.forget();
    }

    fn on_frame(&mut self, captured_us: i64, detections: &[Detection], out: &mut Vec<Command>) {
        if self.holds.stopped || captured_us <= self.seen_us {
            return;
        }
        self.seen_us = captured_us;
        let geometry = &self.config.geometry;
        self.spans.clear();
        self.spans
            .extend(detections.iter().map(|d| geometry.span(d.area)));
        let motion = &self.motion;
        let reach_mm = |since_us| motion.reach_mm(since_us, captured_us);
        let moved = self
            .registration
            .shift_mm(captured_us, &self.spans, -MOST_BACK_MM, reach_mm);
        if let Some((since_us, shift_mm)) = moved {
            let result = self.motion.shift(since_us, captured_us, shift_mm);
            self.believe(result);
        }
        let travel_mm = self.motion.travel_mm(captured_us);
        let half_view_mm = self.config.geometry.half_length_mm();
        self.coverage.see(travel_mm);
        self.tracks
            .update(travel_mm, detections, &self.spans, half_view_mm);
        self.ask_for_views(captured_us, out);
    }

    fn ask_for_views(&mut self, captured_us: i64, out: &mut Vec<Command>) {
        let geometry = &self.config.geometry;
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
            track
                .votes
                .add(self.config.routes.items(), scores, captured_us);
        }
    }

    fn on_eye(&mut self, eye: usize, blocked: bool) {
        let travel_mm = self.motion.travel_mm(self.now_us);
        if let Some(since_mm) = self.holds.blocked_mm.get_mut(eye) {
            *since_mm = blocked.then(|| since_mm.unwrap_or(travel_mm));
        }
    }

    fn believe(&mut self, motion: Result<(), Doubt>) {
        let until_us = self.now_us + DOUBT_US;
        match motion {
            Ok(()) => {}
            Err(Doubt::Overspeed) => self.holds.too_fast_until_us = until_us,
            Err(Doubt::Implausible) => self.holds.doubtful_until_us = until_us,
        }
    }

    /// Why nothing may be fired now.
    fn hold(&self) -> Option<Reason> {
        let holds = &self.holds;
        let travel_mm = self.motion.travel_mm(self.now_us);
        let mut eyes = holds.blocked_mm.iter().zip(&self.config.jam_mm);
        let jammed = eyes.any(|(since, jam)| since.is_some_and(|mm| travel_mm - mm > *jam));
        if holds.stopped {
            Some(Reason::Stopped)
        } else if jammed {
            Some(Reason::Jam)
        } else if self.now_us < holds.too_fast_until_us {
            Some(Reason::Overspeed)
        } else if holds.silent || self.now_us < holds.doubtful_until_us {
            Some(Reason::BeltUnknown)
        } else {
            None
        }
    }

    /// When a hold begins: everything off. When it begins or ends: every open item is rejected, for
    /// nobody knows how far the belt has carried it.
    fn check_hold(&mut self, out: &mut Vec<Command>) {
        let hold = self.hold();
        let before = std::mem::replace(&mut self.holds.reported, hold);
        let Some(reason) = hold.or(before).filter(|_| hold != before) else {
            return;
        };
        if hold.is_some() {
            let t_us = self.now_us;
            out.push(Command::AllOff { t_us, reason });
        }
        self.schedule = Schedule::new(self.config.gates.len());
        for (gate, timing) in self.config.gates.iter().enumerate() {
            let free_us = self.now_us + timing.min_gap_us;
            self.schedule.set_free_us(gate, free_us);
        }
        for track in self.tracks.list.drain(..) {
            if track.is_confirmed() && !matches!(track.state, State::Ended(_)) {
                out.push(Command::Ended {
                    track: track.id,
                    t_us: self.now_us,
                    end: End::Rejected(reason),
                });
            }
        }
        self.coverage.forget_all();
        self.registration.clear();
    }

    fn reject_watched(&mut self, reason: Reason, out: &mut Vec<Command>) {
        for index in 0..self.tracks.list.len() {
            let track = &self.tracks.list[index];
            if track.is_confirmed() && track.state == State::Watched {
                self.conclude(index, Err(reason), out);
            }
        }
    }

    fn give_up_views(&mut self) {
        let oldest_us = self.now_us.saturating_sub(GIVE_UP_US);
        let tracks = &mut self.tracks;
        self.in_flight.retain(|&(track, captured_us)| {
            let waits = captured_us > oldest_us;
            if !waits && let Some(track) = tracks.get_mut(track) {
                track.in_flight = track.in_flight.saturating_sub(1);
            }
            waits
        });
    }

    /// Drops tracks that have left the belt.
    fn forget(&mut self) {
        let end_mm = self.config.end_mm();
        let travel_mm = self.motion.travel_mm(self.now_us);
        self.tracks.list.retain(|track| {
            let on_belt = track.place_mm() + travel_mm < end_mm;
            let open = track.is_confirmed() && !matches!(track.state, State::Ended(_));
            on_belt || open
        });
    }
}

/// A shift between frames may be this much backwards: noise.
const MOST_BACK_MM: f64 = 5.0;

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
#[cfg(test)]
mod rules;
