//! Laws of the line, on small worlds that a seed chooses: late, lost and doubled frames, missed
//! detections, slow, wrong and failing classification, items close together, stops.

use super::*;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// What may go wrong in a world.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    /// Shares, from 0 to 1.
    lost_frames: f64,
    lost_detections: f64,
    failed_views: f64,
    wrong_views: f64,
    /// Largest delays.
    frame_delay_us: i64,
    score_delay_us: i64,
    /// Smallest distance between items.
    min_gap_mm: f64,
    stops: bool,
    lengths_mm: (f64, f64),
}

const NO_TROUBLE: Trouble = Trouble {
    lost_frames: 0.0,
    lost_detections: 0.0,
    failed_views: 0.0,
    wrong_views: 0.0,
    frame_delay_us: 6_000,
    score_delay_us: 40_000,
    min_gap_mm: 80.0,
    stops: false,
    lengths_mm: (50.0, 170.0),
};

#[derive(Debug, Clone)]
struct Thing {
    kind: usize,
    /// Place of the centre on the belt.
    place_mm: f64,
    length_mm: f64,
    y_mm: f64,
}

const CATEGORIES: usize = 4;
const SPEED_MM_S: f64 = 400.0;
const FRAME_US: i64 = 50_000;
const SCALE: f64 = 1.6;
const THINGS: usize = 30;

fn board() -> Profile {
    let names: Vec<String> = (0..CATEGORIES).map(|n| format!("c{n}")).collect();
    Profile::simulated(&names, SPEED_MM_S).unwrap()
}

fn config(board: &Profile) -> LineConfig {
    // The last category has no gate: it passes through.
    let mut destinations: Vec<_> = (0..CATEGORIES - 1).map(Destination::Gate).collect();
    destinations.push(Destination::PassThrough);
    let routes = Routes {
        destinations,
        thresholds: vec![0.6; CATEGORIES],
        reject: Destination::PassThrough,
    };
    let mut config = LineConfig::new(board, routes);
    // Tight limits, so that they are met.
    for gate in &mut config.gates {
        gate.max_on_us = 260_000;
        gate.min_gap_us = 60_000;
    }
    config
}

/// What happened in a world.
#[derive(Debug, Default, PartialEq)]
struct History {
    events: Vec<Event>,
    commands: Vec<Command>,
    /// Firings that were not called off: gate, on, off.
    firings: Vec<(usize, i64, i64)>,
}

struct Mini {
    rng: ChaCha8Rng,
    trouble: Trouble,
    things: Vec<Thing>,
    line: Line,
    due: BTreeMap<(i64, usize), Event>,
    order: usize,
    history: History,
}

impl Mini {
    fn new(seed: u64, trouble: Trouble) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut place_mm = -400.0;
        let mut rear_mm = f64::MAX;
        let things = (0..THINGS).map(|_| {
            let length_mm = rng.random_range(trouble.lengths_mm.0..trouble.lengths_mm.1);
            let gap_mm = trouble.min_gap_mm + rng.random_range(0.0..trouble.lengths_mm.1);
            if rear_mm < f64::MAX {
                place_mm = rear_mm - gap_mm - length_mm / 2.0;
            }
            rear_mm = place_mm - length_mm / 2.0;
            Thing {
                kind: rng.random_range(0..CATEGORIES),
                place_mm,
                length_mm,
                y_mm: rng.random_range(-60.0..60.0),
            }
        });
        Self {
            things: things.collect(),
            rng,
            trouble,
            line: Line::new(config(&board())),
            due: BTreeMap::new(),
            order: 0,
            history: History::default(),
        }
    }

    fn add(&mut self, t_us: i64, event: Event) {
        self.due.insert((t_us, self.order), event);
        self.order += 1;
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.random::<f64>() < share
    }

    /// Boxes of what is in view; things that touch make one box.
    fn detections(&mut self, captured_us: i64) -> Vec<Detection> {
        let travel_mm = SPEED_MM_S * captured_us as f64 / 1e6;
        let mut boxes: Vec<[f64; 4]> = Vec::new();
        for index in 0..self.things.len() {
            let Thing {
                place_mm,
                length_mm,
                y_mm,
                ..
            } = self.things[index];
            let x = place_mm + travel_mm;
            let (front, rear) = (x + length_mm / 2.0, x - length_mm / 2.0);
            if front < -195.0 || rear > 195.0 || self.chance(self.trouble.lost_detections) {
                continue;
            }
            match boxes.last_mut() {
                Some(last) if last[0] - front < 5.0 => {
                    last[0] = last[0].min(rear);
                    last[2] = last[2].min(y_mm - 50.0);
                    last[3] = last[3].max(y_mm + 50.0);
                }
                _ => boxes.push([rear, front, y_mm - 50.0, y_mm + 50.0]),
            }
        }
        let to_px = |mm: f64, size: f64, jitter: f64| {
            (mm * SCALE + size / 2.0 + jitter).clamp(0.0, size) as u32
        };
        let boxes = boxes.into_iter();
        boxes
            .map(|[rear, front, low, high]| {
                let mut jitter = || self.rng.random_range(-1.5..1.5);
                let area = PixelBox {
                    x0: to_px(rear, 640.0, jitter()),
                    x1: to_px(front, 640.0, jitter()),
                    y0: to_px(low, 480.0, jitter()),
                    y1: to_px(high, 480.0, jitter()),
                };
                let pixels = (area.x1 - area.x0) * (area.y1 - area.y0);
                Detection {
                    area,
                    pixels,
                    crowded: false,
                }
            })
            .filter(|d| d.pixels > 0)
            .collect()
    }

    fn scores(&mut self, captured_us: i64, area: PixelBox) -> Vec<f32> {
        if self.chance(self.trouble.failed_views) {
            return Vec::new();
        }
        let travel_mm = SPEED_MM_S * captured_us as f64 / 1e6;
        let x_mm = |px: u32| (f64::from(px) - 320.0) / SCALE;
        let inside = (x_mm(area.x0)..x_mm(area.x1), travel_mm);
        let shown: Vec<&Thing> = self
            .things
            .iter()
            .filter(|t| inside.0.contains(&(t.place_mm + inside.1)))
            .collect();
        let mut scores = vec![0.02; CATEGORIES];
        match shown[..] {
            [thing] => scores[thing.kind] = 0.94,
            _ => scores = vec![0.25; CATEGORIES],
        }
        if self.chance(self.trouble.wrong_views) {
            scores.rotate_left(1);
        }
        scores
    }

    fn run(mut self) -> (History, Vec<Thing>) {
        let last_mm = self.things.last().map_or(0.0, |t| t.place_mm);
        let end_us = ((1500.0 - last_mm) / SPEED_MM_S * 1e6) as i64;
        for frame in 1..end_us / FRAME_US {
            let captured_us = frame * FRAME_US;
            if self.chance(self.trouble.lost_frames) {
                continue;
            }
            let detections = self.detections(captured_us);
            let t_us = captured_us + self.rng.random_range(5_000..=self.trouble.frame_delay_us);
            let event = Event::Frame {
                t_us,
                captured_us,
                detections,
            };
            if self.chance(self.trouble.lost_frames / 4.0) {
                self.add(t_us, event.clone());
            }
            self.add(t_us, event);
        }
        for step in 1..end_us / 10_000 {
            let t_us = step * 10_000;
            self.add(t_us, Event::Tick { t_us });
        }
        if self.trouble.stops {
            let t_us = self.rng.random_range(0..end_us / 2);
            self.add(t_us, Event::Stop { t_us });
            let t_us = t_us + self.rng.random_range(0..1_000_000);
            self.add(t_us, Event::Resume { t_us });
        }
        let mut commands = Vec::new();
        while let Some(((t_us, _), event)) = self.due.pop_first() {
            self.line.handle(&event, &mut commands);
            self.history.events.push(event);
            for command in commands.drain(..) {
                self.obey(t_us, &command);
                self.history.commands.push(command);
            }
        }
        (self.history, self.things)
    }

    fn obey(&mut self, now_us: i64, command: &Command) {
        match *command {
            Command::Classify {
                track,
                captured_us,
                area,
            } => {
                let scores = self.scores(captured_us, area);
                let t_us = now_us + self.rng.random_range(1_000..=self.trouble.score_delay_us);
                let event = Event::Scored {
                    t_us,
                    track,
                    captured_us,
                    scores,
                };
                self.add(t_us, event);
            }
            Command::Fire {
                gate,
                on_us,
                off_us,
            } => {
                assert!(on_us >= now_us, "a firing that should have begun already");
                self.history.firings.push((gate, on_us, off_us));
            }
            Command::AllOff { t_us } => {
                let firings = &mut self.history.firings;
                firings.iter_mut().for_each(|f| f.2 = f.2.min(t_us));
                firings.retain(|(_, on, off)| on < off);
            }
            Command::Decided { .. } | Command::Ended { .. } => {}
        }
    }
}

/// The gates that a firing moves a thing at: the thing's centre is in the window of an open gate.
fn moved_by(thing: &Thing, firings: &[(usize, i64, i64)], gates: &[GateTiming]) -> Vec<usize> {
    let belt = Belt {
        speed_mm_s: SPEED_MM_S,
    };
    let mut gates_hit: Vec<usize> = firings
        .iter()
        .filter(|(gate, on_us, off_us)| {
            let timing = &gates[*gate];
            let half_mm = timing.window_mm / 2.0;
            let enters_us = belt.time_us(thing.place_mm, timing.distance_mm - half_mm);
            let leaves_us = belt.time_us(thing.place_mm, timing.distance_mm + half_mm);
            (on_us + timing.lead_us).max(enters_us) <= leaves_us.min(*off_us)
        })
        .map(|(gate, ..)| *gate)
        .collect();
    gates_hit.sort_unstable();
    gates_hit
}

fn check_laws(seed: u64, trouble: Trouble) -> Result<(), TestCaseError> {
    let (history, things) = Mini::new(seed, trouble).run();
    let config = config(&board());
    let gates = &config.gates;

    // Every item ends exactly once, and none that was not decided, but for a stop.
    let mut decided = BTreeMap::new();
    let mut ended = BTreeMap::new();
    for command in &history.commands {
        match *command {
            Command::Decided {
                track,
                place_mm,
                verdict,
                ..
            } => {
                let said = (place_mm, verdict);
                prop_assert!(decided.insert(track, said).is_none(), "decided twice");
            }
            Command::Ended { track, end, .. } => {
                prop_assert!(ended.insert(track, end).is_none(), "ended twice");
                let stopped = end == End::Rejected(Reason::Stopped);
                prop_assert!(stopped || decided.contains_key(&track), "ended undecided");
            }
            _ => {}
        }
    }
    let undone: Vec<_> = decided.keys().filter(|t| !ended.contains_key(t)).collect();
    prop_assert!(undone.is_empty(), "decided and never ended: {:?}", undone);

    // No gate is on for longer than allowed, or again before its gap.
    for (gate, timing) in gates.iter().enumerate() {
        let of_gate: Vec<_> = history.firings.iter().filter(|f| f.0 == gate).collect();
        for (_, on_us, off_us) in &of_gate {
            prop_assert!(off_us - on_us <= timing.max_on_us);
        }
        for pair in of_gate.windows(2) {
            prop_assert!(
                pair[1].1 >= pair[0].2 + timing.min_gap_us,
                "firings too close"
            );
        }
    }

    // A gate fires only for an item in front of it, and moves no other.
    for thing in &things {
        // What has fallen at one gate is not there for the next.
        let Some(gate) = moved_by(thing, &history.firings, gates).first().copied() else {
            continue;
        };
        // An item for this gate may go with its neighbour's firing, when one of its own would have
        // moved a third.
        let meant = decided.iter().any(|(track, (place_mm, verdict))| {
            let way = verdict.map(|category| config.routes.destinations[category]);
            let wanted = way == Ok(Destination::Gate(gate));
            let fired = ended.get(track) == Some(&End::Fired(gate));
            (place_mm - thing.place_mm).abs() < 12.0 && (wanted || fired)
        });
        prop_assert!(meant, "gate {} moved {:?} by mistake", gate, thing);
    }
    let cut_short = trouble.stops;
    for firing in &history.firings {
        let any = things
            .iter()
            .any(|t| moved_by(t, std::slice::from_ref(firing), gates).contains(&firing.0));
        prop_assert!(cut_short || any, "nothing in front of gate {:?}", firing);
    }
    Ok(())
}

proptest! {
    #[test]
    fn laws_hold_in_a_good_world(seed: u64) {
        check_laws(seed, NO_TROUBLE)?;
    }

    #[test]
    fn laws_hold_in_trouble(
        seed: u64,
        lost_frames in 0.0..0.4,
        lost_detections in 0.0..0.2,
        failed_views in 0.0..0.5,
        wrong_views in 0.0..0.5,
        frame_delay_us in 6_000i64..45_000,
        score_delay_us in 2_000i64..1_500_000,
        min_gap_mm in 6.0..60.0,
        stops: bool,
        longest_mm in 30.0..170.0,
    ) {
        let trouble = Trouble {
            lost_frames, lost_detections, failed_views, wrong_views,
            frame_delay_us, score_delay_us, min_gap_mm, stops,
            lengths_mm: (15.0, longest_mm),
        };
        check_laws(seed, trouble)?;
    }

    #[test]
    fn the_same_events_give_the_same_commands(seed: u64) {
        let trouble = Trouble { lost_frames: 0.2, wrong_views: 0.2, ..NO_TROUBLE };
        let (first, _) = Mini::new(seed, trouble).run();
        let (second, _) = Mini::new(seed, trouble).run();
        prop_assert_eq!(&first, &second);
        let mut line = Line::new(config(&board()));
        let mut replayed = Vec::new();
        for event in &first.events {
            line.handle(event, &mut replayed);
        }
        prop_assert_eq!(first.commands, replayed);
    }

    /// With nothing in the way, every item goes where it belongs.
    #[test]
    fn a_good_world_is_sorted_rightly(seed: u64) {
        let (history, things) = Mini::new(seed, NO_TROUBLE).run();
        let gates = config(&board()).gates;
        for thing in &things {
            let moved = moved_by(thing, &history.firings, &gates);
            if thing.kind + 1 < CATEGORIES {
                prop_assert_eq!(moved.first(), Some(&thing.kind), "{:?}", thing);
            } else {
                prop_assert!(moved.is_empty(), "{:?} was moved", thing);
            }
        }
    }

    /// A classifier that is always too slow costs rejects, never a wrong shot.
    #[test]
    fn a_slow_classifier_makes_items_late(seed: u64) {
        let trouble = Trouble { score_delay_us: 6_000_000, ..NO_TROUBLE };
        check_laws(seed, trouble)?;
    }
}

#[test]
fn a_lost_camera_rejects_what_is_not_decided() {
    let mut line = Line::new(config(&board()));
    let mut commands = Vec::new();
    for frame in 1..=3i64 {
        let x0 = 100 + 32 * frame as u32;
        let area = PixelBox {
            x0,
            y0: 100,
            x1: x0 + 150,
            y1: 250,
        };
        let event = Event::Frame {
            t_us: frame * FRAME_US + 5_000,
            captured_us: frame * FRAME_US,
            detections: vec![Detection {
                area,
                pixels: 1,
                crowded: false,
            }],
        };
        line.handle(&event, &mut commands);
    }
    commands.clear();
    line.handle(&Event::CameraLost { t_us: 300_000 }, &mut commands);
    let ends: Vec<_> = commands
        .iter()
        .filter_map(|c| match c {
            Command::Ended { end, .. } => Some(*end),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [End::Rejected(Reason::CameraLost)]);
}
