//! What the line's commands do to a world, and whether that keeps the laws.

use super::*;

impl World {
    pub(super) fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    pub(super) fn obey(&mut self, now_us: i64, command: &Command) {
        match *command {
            Command::Classify {
                track,
                captured_us,
                area,
            } => {
                let scores = self.scores(track, captured_us, area);
                let mut delay_us = self.rng.random_range(1_000..=self.trouble.score_delay_us);
                if self.trouble.stalled_classifier && self.chance(0.01) {
                    delay_us += self.rng.random_range(500_000..5_000_000);
                }
                self.tell(Event::Scored {
                    t_us: now_us + delay_us,
                    track,
                    captured_us,
                    scores,
                });
            }
            Command::Decided {
                track,
                t_us,
                position_mm,
                verdict,
                ..
            } => {
                if self.decided.insert(track, verdict).is_some() {
                    self.fault(format!("track {track} was decided twice"));
                }
                self.attribute(track, position_mm - self.belt.travel_mm(t_us), verdict);
            }
            Command::Ended { track, end, .. } => {
                self.ends += 1;
                if self.ended.insert(track, end).is_some() {
                    self.fault(format!("track {track} ended twice"));
                }
                let held = matches!(end, End::Rejected(reason) if is_hold(reason));
                if !held && !self.decided.contains_key(&track) {
                    self.fault(format!("track {track} ended undecided"));
                }
            }
            Command::Fire {
                gate,
                on_us,
                off_us,
            } => self.open(now_us, gate, on_us, off_us),
            Command::AllOff { t_us, .. } => {
                for opening in &mut self.openings {
                    opening.cut |= t_us < opening.off_us;
                    opening.off_us = opening.off_us.min(t_us.max(opening.on_us));
                }
            }
        }
    }

    /// Notes a verdict with the thing that the track's views showed, or the nearest if there were none.
    fn attribute(&mut self, track: u32, place_mm: f64, verdict: Result<usize, Reason>) {
        let shown = self.shown.remove(&track);
        let apart_mm = |t: &Thing| (t.place_mm - place_mm).abs();
        let thing = match shown {
            Some(id) => self.things.iter_mut().find(|t| t.id == id),
            None => {
                let nearest = |a: &&mut Thing, b: &&mut Thing| apart_mm(a).total_cmp(&apart_mm(b));
                self.things
                    .iter_mut()
                    .min_by(nearest)
                    .filter(|t| apart_mm(t) < 25.0)
            }
        };
        if let Some(thing) = thing {
            thing.verdicts.push((track, verdict));
            thing.shown_by.extend(shown.map(|_| track));
        }
    }

    fn open(&mut self, now_us: i64, gate: usize, on_us: i64, off_us: i64) {
        self.outcome.firings += 1;
        let timing = self.gates[gate];
        if on_us < now_us {
            self.fault(format!(
                "gate {gate} was to be opened at {on_us}, before {now_us}"
            ));
        }
        if off_us - on_us > timing.max_on_us {
            self.fault(format!("gate {gate} is on for {} us", off_us - on_us));
        }
        let before = self
            .openings
            .iter()
            .filter(|o| o.gate == gate)
            .map(|o| o.off_us)
            .max();
        if before.is_some_and(|off| on_us < off + timing.min_gap_us) {
            self.fault(format!(
                "gate {gate} opens at {on_us}, too soon after {before:?}"
            ));
        }
        self.openings.push(Opening {
            gate,
            on_us,
            off_us,
            cut: false,
            used: false,
        });
    }

    /// While the line has a reason to fire nothing, nothing is on, or going to be.
    pub(super) fn hold(&mut self, now_us: i64) {
        let Some(reason) = self.line.hold() else {
            return;
        };
        let open = |o: &&Opening| o.off_us > o.on_us.max(now_us);
        if let Some(opening) = self.openings.iter().find(open) {
            self.fault(format!("{reason} at {now_us}, and {opening:?}"));
        }
    }

    /// Lets things fall that are before an open gate, and takes away what has reached the end.
    pub(super) fn carry(&mut self, now_us: i64) {
        let done_us = now_us - 1_000_000;
        let over = self.openings.iter().filter(|o| o.off_us < done_us);
        let over: Vec<Opening> = over.copied().collect();
        for opening in over {
            self.close(opening);
        }
        self.openings.retain(|o| o.off_us >= done_us);
        let end_mm = self.gates.iter().map(|g| g.distance_mm).fold(0.0, f64::max) + 700.0;
        let travel_mm = self.belt.travel_mm(now_us);
        while self
            .things
            .front()
            .is_some_and(|t| t.place_mm + travel_mm > end_mm)
        {
            if let Some(thing) = self.things.pop_front() {
                self.leave(thing);
            }
        }
    }

    /// What an opening that is over has moved.
    fn close(&mut self, opening: Opening) {
        let Opening {
            gate,
            on_us,
            off_us,
            cut,
            ..
        } = opening;
        let timing = self.gates[gate];
        let open_us = on_us + timing.lead_us;
        if open_us >= off_us {
            return;
        }
        let from_mm = self.belt.travel_mm(open_us);
        let to_mm = self.belt.travel_mm(off_us);
        let tolerance_mm = self.tolerance_mm();
        let half_mm = timing.window_mm / 2.0;
        let mut in_front = false;
        let mut mistakes = Vec::new();
        for thing in &mut self.things {
            let gone = thing.fell.is_some_and(|fell| fell != gate);
            let at_mm = (thing.place_mm + from_mm, thing.place_mm + to_mm);
            let within =
                |mm: f64| at_mm.0 <= timing.distance_mm + mm && at_mm.1 >= timing.distance_mm - mm;
            if gone || !within(tolerance_mm) {
                continue;
            }
            in_front = true;
            if !within(half_mm) || thing.fell.is_some() {
                continue;
            }
            thing.fell = Some(gate);
            // An item for this gate may go with its neighbour's firing.
            let meant = thing.verdicts.iter().any(|(track, verdict)| {
                *verdict == Ok(gate) || self.ended.get(track) == Some(&End::Fired(gate))
            });
            if !meant {
                mistakes.push(format!("gate {gate} at {on_us} moved {thing:?}"));
            }
        }
        self.faults.extend(mistakes);
        if !in_front && !cut {
            self.fault(format!(
                "nothing was before gate {gate} from {open_us} to {off_us}"
            ));
        }
    }

    /// A thing has left the belt, one way or the other.
    fn leave(&mut self, thing: Thing) {
        let outcome = &mut self.outcome;
        let belongs = (thing.kind + 1 < CATEGORIES).then_some(thing.kind);
        if thing.verdicts.is_empty() {
            outcome.missed += 1;
        } else if thing.fell == belongs && thing.verdicts.iter().any(|(_, v)| v.is_ok()) {
            outcome.sorted += 1;
        } else {
            outcome.rejected += 1;
        }
        // Only a hold may end an item that is then seen anew.
        let ends = thing.shown_by.iter().filter_map(|t| self.ended.get(t));
        let ends: Vec<End> = ends.copied().collect();
        let final_ends = ends
            .iter()
            .filter(|end| !matches!(end, End::Rejected(r) if is_hold(*r)));
        if final_ends.count() > 1 {
            self.fault(format!("it ended more than once: {ends:?} of {thing:?}"));
        }
        // A track may end later, when the line has found out how far the belt has moved.
        for (track, _) in &thing.verdicts {
            if self.ended.remove(track).is_some() {
                self.decided.remove(track);
            }
        }
        if self.keeps {
            self.keep.push(thing);
        }
    }

    /// After a time in which all is well everything that was decided has to have ended.
    pub(super) fn finish(&mut self, t_us: i64) {
        let mut commands = Vec::new();
        for t_us in (t_us..t_us + 20_000_000).step_by(10_000) {
            let pulses = (self.belt.travel_mm(t_us) / MM_PER_PULSE) as i64 + self.pulse_offset;
            let count = Event::Encoder {
                t_us,
                counted_us: t_us,
                pulses,
            };
            self.line.handle(&count, &mut commands);
            if let Some((events, _)) = &mut self.record {
                events.push(count);
            }
        }
        for command in commands {
            self.obey(t_us, &command);
            if let Some((_, said)) = &mut self.record {
                said.push(command);
            }
        }
        let decided = self.decided.keys();
        let open: Vec<u32> = decided
            .filter(|t| !self.ended.contains_key(t))
            .copied()
            .collect();
        for track in open {
            self.fault(format!("track {track} was decided and never ended"));
        }
    }
}

fn is_hold(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Stopped | Reason::Jam | Reason::Overspeed | Reason::BeltUnknown
    )
}
