//! Compares what the line said and did with where the world says that everything landed.

use crate::line::{Command, End, Reason};
use crate::memory::Memory;
use crate::observe::Observer;
use crate::recognise::NoScores;
use crate::simulate::report::{Chute, Report, percentiles_of};
use crate::timing::{Movement, Timing};
use boards::Destination;
use simulator::{Item, Place, World};
use std::collections::BTreeMap;

/// What the line said about one track.
#[derive(Debug, Clone, Copy)]
struct Said {
    verdict: Result<usize, Reason>,
    /// Where it was, and when.
    t_us: i64,
    position_mm: f64,
    length_mm: f64,
    end: Option<End>,
}

/// Everything that is needed for the report.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    said: BTreeMap<u32, Said>,
    latencies_us: Vec<i64>,
    timing: Timing,
    compute_us: Vec<i64>,
    frames: u64,
    dropped: u64,
    memory: Option<Memory>,
    /// It differs from run to run, as virtual time does not.
    watches_memory: bool,
    /// Views that were not classified.
    refused: u64,
}

impl Observer for Ledger {
    fn commanded(&mut self, command: &Command) {
        match *command {
            Command::Decided {
                track,
                t_us,
                settled_us,
                position_mm,
                length_mm,
                verdict,
                ..
            } => {
                if verdict.is_ok() {
                    self.latencies_us.push(t_us - settled_us);
                }
                let said = Said {
                    verdict,
                    t_us,
                    position_mm,
                    length_mm,
                    end: None,
                };
                self.said.insert(track, said);
            }
            Command::Ended { track, end, .. } => {
                if let Some(said) = self.said.get_mut(&track) {
                    said.end = Some(end);
                }
            }
            Command::Classify { .. } | Command::Fire { .. } | Command::AllOff { .. } => {}
        }
    }

    fn switched(&mut self, movement: &Movement) {
        self.timing.add(movement);
    }

    fn left_out(&mut self, firings: u64) {
        self.timing.left_out += firings;
    }

    fn computed(&mut self, took_us: i64) {
        self.compute_us.push(took_us);
    }

    fn framed(&mut self, dropped: u64) {
        self.frames += 1;
        self.dropped += dropped;
        if self.watches_memory && self.frames == WARM_FRAMES {
            self.memory = Some(Memory::now());
        }
    }

    fn failed(&mut self, why: &NoScores) {
        self.refused += 1;
        if self.refused == 1 {
            eprintln!("note: a view was not classified: {why}");
        }
    }
}

/// What the items really are.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    /// The bundle's categories.
    pub(crate) categories: Vec<String>,
    /// Index of the category of each kind of picture.
    pub(crate) category_of: Vec<usize>,
    /// Where each kind of picture is to go.
    pub(crate) way_of: Vec<Destination>,
    /// Where each category goes, but for items with a way of their own.
    pub(crate) ways: Vec<Destination>,
    /// Where items in doubt go.
    pub(crate) reject: Destination,
}

/// How an item fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Correct,
    Wrong,
    Rejected,
    Missed,
}

/// After so many frames everything is in use.
pub(crate) const WARM_FRAMES: u64 = 200;
/// Two positions closer than this are of the same item.
const SAME_ITEM_MM: f64 = 70.0;

impl Ledger {
    /// One that watches the program's memory too.
    pub(crate) fn in_real_time() -> Self {
        Self {
            watches_memory: true,
            ..Self::default()
        }
    }

    /// The report about a run in `world`, whose clock was at `epoch_us` when it began.
    pub(crate) fn report(self, world: &World, epoch_us: i64, truth: &Truth) -> Report {
        let (by_item, strays) = self.by_item(world, epoch_us);
        let mut tally = Tally::new(truth.categories.len());
        for (item, said) in world.items().iter().zip(&by_item) {
            tally.count(item, said.as_ref(), truth);
        }
        Report {
            items: world.items().len(),
            correct: tally.of(Fate::Correct),
            wrong: tally.of(Fate::Wrong),
            rejected: tally.of(Fate::Rejected),
            missed: tally.of(Fate::Missed),
            late: tally.rejected_for(Reason::Late),
            misrouted_although_recognised: tally.misrouted,
            misjudged: tally.misjudged,
            rejected_because: tally.reasons.clone(),
            strays,
            frames: self.frames,
            frames_dropped: self.dropped,
            throughput_per_min: throughput(world),
            latency_ms: percentiles_of(self.latencies_us),
            timing_error_ms: self.timing.error.percentiles(),
            gate_timing: self.timing.text(),
            memory_mb: self.memory.map(Memory::until_now),
            chutes: tally.chutes(truth),
            compute_ms: percentiles_of(self.compute_us),
        }
    }

    /// Per item the track that speaks for it; and the number of tracks that fit no item.
    fn by_item(&self, world: &World, epoch_us: i64) -> (Vec<Option<Said>>, usize) {
        let mut by_item: Vec<Option<Said>> = vec![None; world.items().len()];
        let mut strays = 0;
        for said in self.said.values() {
            let item = world.item_at(said.t_us - epoch_us, said.position_mm, SAME_ITEM_MM);
            let Some(item) = item else {
                strays += 1;
                continue;
            };
            let known = &mut by_item[item];
            let silent = |s: &Said| s.verdict.is_err();
            if known.as_ref().is_none_or(silent) {
                *known = Some(*said);
            }
        }
        self.spread_rejections(world, epoch_us, &mut by_item);
        (by_item, strays)
    }

    /// Items that touch are rejected as one: that speaks for each of them.
    fn spread_rejections(&self, world: &World, epoch_us: i64, by_item: &mut [Option<Said>]) {
        for said in self.said.values().filter(|s| s.verdict.is_err()) {
            let t_us = said.t_us - epoch_us;
            let covers = |item: usize| {
                let apart_mm = world.position_mm(item, t_us) - said.position_mm;
                apart_mm.abs() <= said.length_mm / 2.0
            };
            let Some(item) = world.item_at(t_us, said.position_mm, said.length_mm / 2.0) else {
                continue;
            };
            let before = (0..item).rev().take_while(|i| covers(*i));
            for item in before.chain((item..by_item.len()).take_while(|i| covers(*i))) {
                by_item[item].get_or_insert(*said);
            }
        }
    }
}

struct Tally {
    fates: BTreeMap<usize, Vec<Fate>>,
    reasons: BTreeMap<Reason, usize>,
    misrouted: usize,
    misjudged: usize,
    /// Per category: items of it, those of them that were sorted rightly; items in its chute, those
    /// of them that belong there.
    counts: Vec<[usize; 4]>,
}

impl Tally {
    fn new(categories: usize) -> Self {
        Self {
            fates: BTreeMap::new(),
            reasons: BTreeMap::new(),
            misrouted: 0,
            misjudged: 0,
            counts: vec![[0; 4]; categories],
        }
    }

    fn of(&self, fate: Fate) -> usize {
        let all = self.fates.values().flatten();
        all.filter(|f| **f == fate).count()
    }

    fn rejected_for(&self, reason: Reason) -> usize {
        self.reasons.get(&reason).copied().unwrap_or(0)
    }

    fn count(&mut self, item: &Item, said: Option<&Said>, all: &Truth) {
        let (truth, way) = (all.category_of[item.kind], all.way_of[item.kind]);
        let place = item.landing.map_or(Place::End, |l| l.place);
        let end = said.and_then(|s| s.end);
        let verdict = said.and_then(|s| s.verdict.ok());
        let fate = fate(place, end, way, all.reject, verdict == Some(truth));
        self.fates.entry(truth).or_default().push(fate);
        if let Some(End::Rejected(reason)) = end {
            *self.reasons.entry(reason).or_default() += 1;
        }
        if fate == Fate::Wrong && verdict == Some(truth) {
            self.misrouted += 1;
        }
        if verdict.is_some_and(|v| v != truth) {
            self.misjudged += 1;
        }
        self.counts[truth][0] += 1;
        self.counts[truth][1] += usize::from(fate == Fate::Correct);
        let sorted_into = match (fate, place) {
            (Fate::Rejected | Fate::Missed, _) => return,
            (_, Place::Gate(gate)) => Destination::Gate(gate),
            (_, Place::End) => Destination::PassThrough,
        };
        for (category, chute) in all.ways.iter().enumerate() {
            if *chute == sorted_into {
                self.counts[category][2] += 1;
                self.counts[category][3] += usize::from(way == *chute);
            }
        }
    }

    fn chutes(&self, truth: &Truth) -> Vec<Chute> {
        let ratio = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
        let rows = truth.categories.iter().zip(&truth.ways);
        rows.zip(&self.counts)
            .map(|((category, way), [items, right, landed, fitting])| Chute {
                category: category.clone(),
                gate: match way {
                    Destination::Gate(gate) => Some(*gate),
                    Destination::PassThrough => None,
                },
                items: *items,
                landed: *landed,
                purity: ratio(*fitting, *landed),
                recall: ratio(*right, *items),
            })
            .collect()
    }
}

/// What became of an item that belongs to `way`; `recognised` says whether its category was settled on.
fn fate(
    place: Place,
    end: Option<End>,
    way: Destination,
    reject: Destination,
    recognised: bool,
) -> Fate {
    let rejected = matches!(end, Some(End::Rejected(_)));
    let landed = match place {
        Place::Gate(gate) => Destination::Gate(gate),
        Place::End => Destination::PassThrough,
    };
    if rejected && (landed == reject || landed == Destination::PassThrough) {
        return Fate::Rejected;
    }
    match landed {
        // Nothing was done: right only for an item that was left alone on purpose.
        Destination::PassThrough => match end {
            Some(End::PassedThrough) if recognised && way == landed => Fate::Correct,
            Some(End::PassedThrough) => Fate::Wrong,
            _ => Fate::Missed,
        },
        gate if gate == way => Fate::Correct,
        _ => Fate::Wrong,
    }
}

/// Items per minute that passed the camera.
fn throughput(world: &World) -> f64 {
    let Some(last) = world.items().len().checked_sub(1).filter(|last| *last > 0) else {
        return 0.0;
    };
    let span_us = world.time_at_us(last, 0.0) - world.time_at_us(0, 0.0);
    last as f64 * 60e6 / span_us as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: Destination = Destination::Gate(0);

    const WAYS: [Destination; 3] = [THERE, Destination::Gate(1), Destination::PassThrough];

    #[track_caller]
    fn check(place: Place, end: Option<End>, verdict: Option<usize>, truth: usize, expect: Fate) {
        let reject = Destination::PassThrough;
        assert_eq!(
            fate(place, end, WAYS[truth], reject, verdict == Some(truth)),
            expect
        );
    }

    #[test]
    fn fates_follow_from_where_things_land() {
        let doubt = Some(End::Rejected(Reason::Doubtful));
        let (gate_0, gate_1) = (Place::Gate(0), Place::Gate(1));
        check(gate_0, Some(End::Fired(0)), Some(0), 0, Fate::Correct);
        check(gate_1, Some(End::Fired(1)), Some(1), 0, Fate::Wrong);
        check(gate_1, Some(End::Fired(0)), Some(0), 0, Fate::Wrong);
        check(gate_1, doubt, None, 0, Fate::Wrong);
        check(Place::End, doubt, None, 0, Fate::Rejected);
        check(Place::End, doubt, None, 2, Fate::Rejected);
        check(Place::End, Some(End::Fired(0)), Some(0), 0, Fate::Missed);
        check(Place::End, None, None, 0, Fate::Missed);
        check(
            Place::End,
            Some(End::PassedThrough),
            Some(2),
            2,
            Fate::Correct,
        );
        check(
            Place::End,
            Some(End::PassedThrough),
            Some(2),
            0,
            Fate::Wrong,
        );
    }

    #[test]
    fn a_reject_gate_is_no_chute() {
        let doubt = Some(End::Rejected(Reason::Doubtful));
        let fate = |place, end| fate(place, end, THERE, Destination::Gate(2), false);
        assert_eq!(fate(Place::Gate(2), doubt), Fate::Rejected);
        assert_eq!(fate(Place::Gate(0), doubt), Fate::Correct);
        assert_eq!(fate(Place::Gate(2), Some(End::Fired(0))), Fate::Wrong);
    }
}
