//! From a verdict to the item's end: deciding, planning, releasing, completing.

use super::Line;
use super::event::{Command, End, Reason};
use super::schedule::{Firing, Plan, Span};
use super::track::{State, Track};
use boards::Destination;

/// A decision may fall before the decision line when this many views agree this well.
const CERTAIN_VIEWS: u32 = 3;
const CERTAIN_SCORE: f32 = 0.9;
/// What looks like two items is taken for one when that many views agree this well on what it is.
const ONE_ITEM_SCORE: f32 = 0.999;
/// Firings are released this long before they begin.
const HORIZON_US: i64 = 40_000;
/// A firing that would have to begin sooner than this is late.
const SLACK_US: i64 = 2_000;
/// An item has left the view for good when it is this far beyond it.
const BEYOND_VIEW_MM: f64 = 40.0;
/// What is longer than this share of the view is taken for several items that touch.
const MAX_LENGTH_SHARE: f64 = 0.6;

impl Line {
    /// Decides about every item whose time has come.
    pub(super) fn decide_due(&mut self, out: &mut Vec<Command>) {
        let travel_mm = self.motion.travel_mm(self.now_us);
        for index in 0..self.tracks.list.len() {
            let track = &self.tracks.list[index];
            if !track.is_confirmed() || track.state != State::Watched {
                continue;
            }
            let is_there = track.place_mm() + travel_mm >= self.config.decision_mm;
            let waits = track.in_flight > 0 && self.now_us < self.last_call_us(track);
            if (is_there && !waits) || self.agree(track, CERTAIN_SCORE) {
                let verdict = self.judge(track);
                self.conclude(index, verdict, out);
            }
        }
    }

    fn agree(&self, track: &Track, least_score: f32) -> bool {
        let standing = self.config.routes.standing(&track.votes);
        track.votes.views >= CERTAIN_VIEWS && standing.is_some_and(|s| s.score >= least_score)
    }

    fn judge(&self, track: &Track) -> Result<(usize, Destination), Reason> {
        let two = track.is_crowded() && !self.agree(track, ONE_ITEM_SCORE);
        if two || track.length_mm() > self.longest_mm() {
            return Err(Reason::Crowded);
        }
        match self.config.routes.judge(&track.votes) {
            // It was seen, but its scores have not come in time.
            Err(Reason::Unseen) if track.in_flight > 0 => Err(Reason::Late),
            verdict => verdict,
        }
    }

    /// Nothing longer is one item.
    fn longest_mm(&self) -> f64 {
        MAX_LENGTH_SHARE * 2.0 * self.config.geometry.half_length_mm()
    }

    /// Until when scores may be waited for: the first gate's firing.
    fn last_call_us(&self, track: &Track) -> i64 {
        let firings = self.config.gates.iter().map(|gate| {
            let (on_us, _) = gate.firing_us(track.place_mm(), &self.motion);
            on_us - SLACK_US
        });
        firings.min().unwrap_or(i64::MIN)
    }

    pub(super) fn conclude(
        &mut self,
        index: usize,
        verdict: Result<(usize, Destination), Reason>,
        out: &mut Vec<Command>,
    ) {
        let verdict = self.hold().map_or(verdict, Err);
        let track = &self.tracks.list[index];
        out.push(Command::Decided {
            track: track.id,
            t_us: self.now_us,
            settled_us: track.votes.settled_us,
            place_mm: track.place_mm(),
            position_mm: track.place_mm() + self.motion.travel_mm(self.now_us),
            length_mm: track.length_mm(),
            verdict: verdict.map(|(category, _)| category),
        });
        match verdict {
            Err(reason) => self.reject(index, reason, None),
            Ok((_, Destination::PassThrough)) => {
                self.tracks.list[index].state = State::Passing(End::PassedThrough);
            }
            Ok((_, Destination::Gate(gate))) => {
                if !self.plan(index, gate, End::Fired(gate)) {
                    self.reject(index, Reason::Late, Some(gate));
                }
            }
        }
    }

    /// Plans a firing unless it would be late.
    fn plan(&mut self, index: usize, gate: usize, end: End) -> bool {
        let track = &mut self.tracks.list[index];
        let (on_us, _) = self.config.gates[gate].firing_us(track.place_mm(), &self.motion);
        if on_us < self.now_us + SLACK_US {
            return false;
        }
        track.state = State::Planned(gate);
        let track = track.id;
        self.schedule.plans.push(Plan { track, gate, end });
        true
    }

    /// Sends an item to the reject chute, if that is not the gate that has just been `tried`.
    fn reject(&mut self, index: usize, reason: Reason, tried: Option<usize>) {
        let end = End::Rejected(reason);
        if let Destination::Gate(gate) = self.config.routes.reject
            && tried != Some(gate)
            && self.hold().is_none()
            && self.plan(index, gate, end)
        {
            return;
        }
        self.tracks.list[index].state = State::Passing(end);
    }

    pub(super) fn end(&mut self, index: usize, end: End, way: Destination, out: &mut Vec<Command>) {
        let track = &mut self.tracks.list[index];
        track.state = State::Ended(way);
        out.push(Command::Ended {
            track: track.id,
            t_us: self.now_us,
            end,
        });
    }

    /// Seals the fate of items that go to the end of the belt, once they cannot be seen again.
    pub(super) fn let_pass(&mut self, out: &mut Vec<Command>) {
        if self.hold().is_some() {
            return;
        }
        let end_of_view_mm = self.config.geometry.half_length_mm() + BEYOND_VIEW_MM;
        let gone_mm = end_of_view_mm - self.motion.travel_mm(self.now_us);
        for index in 0..self.tracks.list.len() {
            let track = &self.tracks.list[index];
            if let State::Passing(end) = track.state
                && track.rear_mm() > gone_mm
            {
                self.end(index, end, Destination::PassThrough, out);
            }
        }
    }

    /// Seals the fate of items whose gate has been fired.
    pub(super) fn complete_due(&mut self, out: &mut Vec<Command>) {
        while let Some(firing) = self.schedule.take_ended(self.now_us) {
            for (track, end) in firing.ends {
                if let Some(index) = self.index_of(track) {
                    self.end(index, end, Destination::Gate(firing.gate), out);
                }
            }
        }
    }

    /// Releases the firings whose time has come, those of neighbours together.
    pub(super) fn release_due(&mut self, out: &mut Vec<Command>) {
        while let Some((plan, firing)) = self.take_due() {
            let gate = plan.gate;
            let late = firing.0 < self.now_us;
            let busy = firing.0 < self.schedule.free_us(gate);
            if late || busy || !self.is_clear(gate, firing) {
                let reason = if late { Reason::Late } else { Reason::Crowded };
                if let Some(index) = self.index_of(plan.track) {
                    self.reject(index, reason, Some(gate));
                }
                continue;
            }
            let mut ends = vec![(plan.track, plan.end)];
            let (on_us, off_us) = self.extend(gate, firing, &mut ends);
            let free_us = off_us + self.config.gates[gate].min_gap_us;
            self.schedule.set_free_us(gate, free_us);
            for (track, _) in &ends {
                if let Some(index) = self.index_of(*track) {
                    self.tracks.list[index].state = State::Firing(gate);
                }
            }
            self.schedule.firings.push(Firing { gate, off_us, ends });
            out.push(Command::Fire {
                gate,
                on_us,
                off_us,
            });
        }
    }

    /// When a plan's gate has to be switched, as the belt moves now. A track that is gone is no
    /// reason to fire.
    fn firing_us(&self, plan: &Plan) -> Option<Span> {
        let place_mm = self.tracks.list[self.index_of(plan.track)?].place_mm();
        Some(self.config.gates[plan.gate].firing_us(place_mm, &self.motion))
    }

    /// Takes out the earliest plan if it is to be released now.
    fn take_due(&mut self) -> Option<(Plan, Span)> {
        let until_us = self.now_us + HORIZON_US;
        let plans = self.schedule.plans.iter().enumerate();
        let timed = plans.filter_map(|(at, plan)| Some((at, self.firing_us(plan)?)));
        let (at, firing) = timed.min_by_key(|(_, firing)| firing.0)?;
        (firing.0 <= until_us).then(|| (self.schedule.plans.remove(at), firing))
    }

    /// Joins the gate's next firings to this one while they follow too closely to be apart.
    fn extend(&mut self, gate: usize, mut firing: Span, ends: &mut Vec<(u32, End)>) -> Span {
        let timing = self.config.gates[gate];
        while let Some((at, next)) = self.next_of(gate) {
            let longer = (firing.0, firing.1.max(next.1));
            if next.0 > firing.1 + timing.min_gap_us
                || longer.1 - longer.0 > timing.max_on_us
                || !self.is_clear(gate, longer)
            {
                break;
            }
            let joined = self.schedule.plans.remove(at);
            ends.push((joined.track, joined.end));
            firing = longer;
        }
        firing
    }

    /// The gate's earliest plan.
    fn next_of(&self, gate: usize) -> Option<(usize, Span)> {
        let plans = self.schedule.plans.iter().enumerate();
        let of_gate = plans.filter(|(_, plan)| plan.gate == gate);
        let timed = of_gate.filter_map(|(at, plan)| Some((at, self.firing_us(plan)?)));
        timed.min_by_key(|(_, firing)| firing.0)
    }

    /// Whether a firing can only move items that are to go through its gate.
    fn is_clear(&self, gate: usize, firing: Span) -> bool {
        let timing = &self.config.gates[gate];
        let error_mm = self
            .motion
            .error_mm(timing.distance_mm, self.now_us, firing.1);
        let (from_mm, to_mm) = timing.reach_mm(error_mm);
        // What is before the gate at some time of the firing, as places on the belt.
        let swept_mm = [
            from_mm - self.motion.travel_mm(firing.1),
            to_mm - self.motion.travel_mm(firing.0),
        ];
        let mut others = self.tracks.list.iter().filter(|t| t.may_be_item());
        let spares_others = others.all(|track| {
            let welcome = match track.state {
                State::Watched | State::Passing(_) | State::Ended(Destination::PassThrough) => {
                    false
                }
                State::Planned(planned) => planned == gate,
                State::Firing(taken) | State::Ended(Destination::Gate(taken)) => {
                    taken == gate || self.config.gates[taken].distance_mm < timing.distance_mm
                }
            };
            let [rear_mm, front_mm] = track.places_mm(self.longest_mm());
            welcome || front_mm < swept_mm[0] || swept_mm[1] < rear_mm
        });
        spares_others && self.coverage.is_known(swept_mm)
    }

    fn index_of(&self, track: u32) -> Option<usize> {
        self.tracks.list.iter().position(|t| t.id == track)
    }
}
