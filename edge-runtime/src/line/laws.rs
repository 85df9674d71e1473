//! Laws of the line, on worlds that a seed chooses: frames that are late, lost, doubled or
//! stamped like the one before, a camera that goes blind, missed detections, slow, stalled, wrong and
//! failing classification, items close together and in bursts, emergency stops, a belt that changes its
//! speed, an encoder that fails, and times in which the line's clock stands: nothing reaches it, and
//! then everything at once.
//!
//! Not in these worlds: an encoder that sticks while the camera is blind. Where the belt stands at both ends of
//! that time and runs in between, nothing tells the line.
//!
//! Whatever happens:
//! - no gate fires for an item that is not in front of it, or moves one that was not meant for it;
//! - none stays on for longer than allowed, or is switched on before its time or its gap is over;
//! - none is on while there is a hold;
//! - every item ends exactly once;
//! - the same events give the same commands.

pub(super) mod world;

use super::event::{Command, Event, Reason};
use super::geometry::PixelBox;
use super::*;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use world::{BeltMotion, CATEGORIES, NO_TROUBLE, Outcome, Trouble, World};

/// Closer together than this, detection does not tell items apart; smaller than this, they cannot be
/// told from their neighbours when frames are missing.
const LEAST_GAP_MM: f64 = 12.0;
const LEAST_LENGTH_MM: f64 = 25.0;

/// A world's troubles, from nothing to everything, as its seed has it.
fn trouble(seed: u64) -> Trouble {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7121);
    let mut up_to = |most: f64| {
        let share: f64 = rng.random();
        if rng.random::<f64>() < 0.4 {
            0.0
        } else {
            share * most
        }
    };
    let trouble = Trouble {
        lost_frames: up_to(0.4),
        doubled_frames: up_to(0.2),
        stale_stamps: up_to(0.2),
        lost_detections: up_to(0.2),
        crowded: up_to(0.5),
        failed_views: up_to(0.5),
        wrong_views: up_to(0.5),
        frame_delay_us: 6_000 + up_to(240_000.0) as i64,
        score_delay_us: 2_000 + up_to(1_500_000.0) as i64,
        min_gap_mm: LEAST_GAP_MM + up_to(80.0),
        lengths_mm: (LEAST_LENGTH_MM, 40.0 + up_to(130.0)),
        ..NO_TROUBLE
    };
    let motions = [BeltMotion::Fixed, BeltMotion::Encoder, BeltMotion::Camera];
    let motion = motions[rng.random_range(0..motions.len())];
    Trouble {
        // A speed that only the camera knows is not known while nothing is in view.
        bursts: rng.random() && motion != BeltMotion::Camera,
        blindness: rng.random(),
        stops: rng.random(),
        stalls: rng.random(),
        stalled_classifier: rng.random(),
        glitches: rng.random(),
        motion,
        ..trouble
    }
}

fn check(seed: u64, trouble: Trouble, things: usize) -> Result<Outcome, String> {
    let mut world = World::new(seed, trouble, things);
    world.run();
    match world.faults.first() {
        None => Ok(world.outcome),
        Some(fault) => Err(format!(
            "seed {seed}: {fault} ({} faults in {} items)\n{trouble:?}",
            world.faults.len(),
            world.outcome.things
        )),
    }
}

/// A million items (or `SORTLINE_ITEMS`), from a seed that is the same every time (or `SORTLINE_SEED`).
#[test]
fn a_million_items_keep_the_laws() {
    const A_WORLD: u64 = 500;
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let items = number("SORTLINE_ITEMS").unwrap_or(1_000_000);
    let first = number("SORTLINE_SEED").unwrap_or(1);
    let worlds = items.div_ceil(A_WORLD);
    let next = AtomicU64::new(first);
    let total = Mutex::new((Outcome::default(), Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + worlds {
                break;
            }
            let result = check(seed, trouble(seed), A_WORLD as usize);
            let mut total = total.lock().unwrap();
            match result {
                Ok(outcome) => add(&mut total.0, &outcome),
                Err(fault) => total.1.push(fault),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| {
            scope.spawn(work);
        });
    });
    let (outcome, faults) = total.into_inner().unwrap();
    eprintln!("{outcome:?}");
    let few = faults
        .iter()
        .take(5)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        faults.is_empty(),
        "{} of {worlds} worlds:\n{few}",
        faults.len()
    );
    assert_eq!(outcome.things, worlds * A_WORLD);
    // The worlds are not so bad that nothing could be sorted wrongly.
    assert!(
        outcome.sorted * 10 > outcome.things && outcome.firings * 20 > outcome.things,
        "{outcome:?}"
    );
}

fn add(total: &mut Outcome, one: &Outcome) {
    total.things += one.things;
    total.sorted += one.sorted;
    total.rejected += one.rejected;
    total.missed += one.missed;
    total.firings += one.firings;
    total.events += one.events;
}

proptest! {
    #[test]
    fn laws_hold_in_a_good_world(seed: u64) {
        check(seed, NO_TROUBLE, 30).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn laws_hold_in_trouble(seed: u64) {
        check(seed, trouble(seed), 30).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn the_same_events_give_the_same_commands(seed: u64) {
        let trouble = trouble(seed);
        let run = || {
            let mut world = World::new(seed, trouble, 30);
            world.record = Some(Default::default());
            world.run();
            world.record.unwrap()
        };
        let (first, second) = (run(), run());
        prop_assert_eq!(&first, &second);
        let (events, commands) = first;
        let mut line = Line::new(world::config(trouble.motion));
        let mut replayed = Vec::new();
        for event in &events {
            line.handle(event, &mut replayed);
        }
        prop_assert_eq!(commands, replayed);
    }

    /// With nothing in the way, every item goes where it belongs, however the belt's motion is known.
    #[test]
    fn a_good_world_is_sorted_rightly(seed: u64, which in 0..3usize) {
        let motion = [BeltMotion::Fixed, BeltMotion::Encoder, BeltMotion::Camera][which];
        let steady = motion == BeltMotion::Fixed;
        let mut world = World::new(seed, Trouble { motion, ..NO_TROUBLE }, 30);
        world.keeps = true;
        world.run();
        prop_assert!(world.faults.is_empty(), "{:?}", world.faults);
        let all = world.keep.len();
        let right = |t: &&world::Thing| t.fell == (t.kind + 1 < CATEGORIES).then_some(t.kind);
        let sorted = world.keep.iter().filter(right).count();
        // A belt that stops or runs too fast costs rejects.
        prop_assert!(sorted == all || !steady, "{sorted} of {all}");
    }

    /// A classifier that is always too slow costs rejects, never a wrong shot.
    #[test]
    fn a_slow_classifier_makes_items_late(seed: u64) {
        let trouble = Trouble { score_delay_us: 6_000_000, ..NO_TROUBLE };
        check(seed, trouble, 30).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn a_lost_camera_rejects_what_is_not_decided() {
    let mut line = Line::new(world::config(BeltMotion::Fixed));
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
            t_us: frame * 50_000 + 5_000,
            captured_us: frame * 50_000,
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
    let verdicts = commands.iter().filter_map(|c| match c {
        Command::Decided { verdict, .. } => Some(*verdict),
        _ => None,
    });
    assert_eq!(verdicts.collect::<Vec<_>>(), [Err(Reason::CameraLost)]);
}
