//! The line's rules, one at a time, on a belt that runs as it should.

use super::event::{Command, End, Event, Reason};
use super::geometry::PixelBox;
use super::laws::world::{BeltMotion, config};
use super::*;

/// As `world::config` has it.
const MM_S: f64 = 400.0;
const PX_PER_MM: f64 = 1.6;
const MM_PER_PULSE: f64 = 0.5;
const LEAD_US: i64 = 20_000;
const HOLD_US: i64 = 120_000;
const GATE_MM: f64 = 500.0;

/// Items of the first category, all of one kind; the camera sees them every 50 ms.
struct Belt {
    line: Line,
    /// When each item passes the middle of the view.
    items_us: Vec<i64>,
    length_mm: f64,
    crowded: bool,
    /// Of each view, which comes so much later; never where it does not.
    score: f32,
    score_delay_us: Option<i64>,
    /// The speed that the encoder counts, if it does.
    encoder_mm_s: fn(i64) -> Option<f64>,
    /// What else happens.
    events: Vec<Event>,
    said: Vec<Command>,
}

impl Belt {
    fn new(motion: BeltMotion) -> Belt {
        Belt {
            line: Line::new(config(motion)),
            items_us: vec![1_000_000],
            length_mm: 90.0,
            crowded: false,
            score: 0.95,
            score_delay_us: Some(40_000),
            encoder_mm_s: |_| Some(MM_S),
            events: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Everything up to that time, in steps of 10 ms.
    fn run(mut self, until_us: i64) -> Vec<Command> {
        let (mut scores, mut pulses) = (Vec::new(), 0.0);
        for t_us in (0..until_us).step_by(10_000) {
            if let Some(mm_s) = (self.encoder_mm_s)(t_us) {
                pulses += mm_s / MM_PER_PULSE / 100.0;
                self.tell(Event::Encoder {
                    t_us,
                    counted_us: t_us,
                    pulses: pulses as i64,
                });
            }
            let (due, later): (Vec<_>, _) =
                scores.into_iter().partition(|(at_us, _)| *at_us <= t_us);
            scores = later;
            for (_, event) in due {
                self.tell(event);
            }
            let (due, later) = std::mem::take(&mut self.events)
                .into_iter()
                .partition(|event| event.t_us() <= t_us);
            self.events = later;
            let due: Vec<Event> = due;
            due.into_iter().for_each(|event| self.tell(event));
            if t_us % 50_000 == 0 {
                let first = self.said.len();
                self.tell(Event::Frame {
                    t_us: t_us + 5_000,
                    captured_us: t_us,
                    detections: self.detections(t_us),
                });
                for command in &self.said[first..] {
                    let Command::Classify {
                        track, captured_us, ..
                    } = *command
                    else {
                        continue;
                    };
                    if let Some(delay_us) = self.score_delay_us {
                        let rest = (1.0 - self.score) / 3.0;
                        let t_us = captured_us + delay_us;
                        let scores_of_view = vec![self.score, rest, rest, rest];
                        scores.push((
                            t_us,
                            Event::Scored {
                                t_us,
                                track,
                                captured_us,
                                scores: scores_of_view,
                            },
                        ));
                    }
                }
            }
        }
        self.said
    }

    fn tell(&mut self, event: Event) {
        self.line.handle(&event, &mut self.said);
        // Whatever happens: while there is a reason for it, nothing is on or going to be.
        if self.line.hold().is_some() {
            assert!(self.line.schedule.plans.is_empty() && self.line.schedule.firings.is_empty());
        }
    }

    fn detections(&self, t_us: i64) -> Vec<Detection> {
        let seen = self.items_us.iter().filter_map(|passes_us| {
            let middle_mm = (t_us - passes_us) as f64 / 1e6 * MM_S;
            let px = |mm: f64| (320.0 + mm * PX_PER_MM).clamp(0.0, 640.0).round() as u32;
            let (x0, x1) = (
                px(middle_mm - self.length_mm / 2.0),
                px(middle_mm + self.length_mm / 2.0),
            );
            let area = PixelBox {
                x0,
                y0: 150,
                x1,
                y1: 250,
            };
            (x1 > x0 + 2).then_some(Detection {
                area,
                pixels: (x1 - x0) * 100,
                crowded: self.crowded,
            })
        });
        seen.collect()
    }
}

fn verdicts(said: &[Command]) -> Vec<Result<usize, Reason>> {
    let verdicts = said.iter().filter_map(|command| match command {
        Command::Decided { verdict, .. } => Some(*verdict),
        _ => None,
    });
    verdicts.collect()
}

fn ends(said: &[Command]) -> Vec<End> {
    let ends = said.iter().filter_map(|command| match command {
        Command::Ended { end, .. } => Some(*end),
        _ => None,
    });
    ends.collect()
}

fn firings(said: &[Command]) -> Vec<(i64, i64)> {
    let firings = said.iter().filter_map(|command| match *command {
        Command::Fire { on_us, off_us, .. } => Some((on_us, off_us)),
        _ => None,
    });
    firings.collect()
}

fn all_off(said: &[Command]) -> Vec<(i64, Reason)> {
    let off = said.iter().filter_map(|command| match *command {
        Command::AllOff { t_us, reason } => Some((t_us, reason)),
        _ => None,
    });
    off.collect()
}

#[test]
fn a_gate_is_open_around_the_moment_at_which_an_item_passes() {
    for motion in [BeltMotion::Fixed, BeltMotion::Encoder, BeltMotion::Camera] {
        let said = Belt::new(motion).run(4_000_000);
        assert_eq!(verdicts(&said), [Ok(0)]);
        assert_eq!(ends(&said), [End::Fired(0)]);
        let [(on_us, off_us)] = firings(&said)[..] else {
            panic!("{said:?}")
        };
        assert_eq!(off_us - on_us, LEAD_US + HOLD_US);
        let passes_us = 1_000_000 + (GATE_MM / MM_S * 1e6) as i64;
        let middle_us = (on_us + LEAD_US + off_us) / 2;
        let apart_us = middle_us - passes_us;
        assert!(apart_us.abs() < 10_000, "{motion:?}: {apart_us} us");
    }
}

/// Runs until the gate is open for the item, then on.
#[track_caller]
fn check_hold(mut belt: Belt, from_us: std::ops::Range<i64>, reason: Reason) {
    // Another is on its way to its gate, another in view.
    belt.items_us = vec![1_000_000, 1_400_000, 2_000_000];
    let said = belt.run(5_000_000);
    let [(t_us, first), ..] = all_off(&said)[..] else {
        panic!("nothing was switched off");
    };
    assert_eq!(first, reason);
    assert!(from_us.contains(&t_us), "{reason} at {t_us}");
    let after: Vec<_> = firings(&said)
        .into_iter()
        .filter(|(on_us, _)| *on_us >= t_us)
        .collect();
    assert_eq!(after, [], "{reason} from {t_us}");
    let rejected = ends(&said)
        .iter()
        .filter(|end| **end == End::Rejected(reason))
        .count();
    assert!(rejected > 0, "{:?}", ends(&said));
}

#[test]
fn a_stop_switches_everything_off() {
    let mut belt = Belt::new(BeltMotion::Fixed);
    belt.events = vec![Event::Stop { t_us: 2_200_000 }];
    check_hold(belt, 2_200_000..2_210_000, Reason::Stopped);
}

#[test]
fn a_photo_eye_that_is_blocked_for_longer_than_an_item_takes_is_a_jam() {
    let blocked = |t_us, blocked| Event::Eye {
        t_us,
        eye: 0,
        blocked,
    };
    let jam_us = (config(BeltMotion::Fixed).jam_mm[0] / MM_S * 1e6) as i64;
    let mut belt = Belt::new(BeltMotion::Fixed);
    let from_us = 2_200_000 - jam_us;
    // Blocked again and again, it is still the same jam.
    belt.events = vec![blocked(from_us, true), blocked(from_us + 100_000, true)];
    check_hold(belt, 2_200_000..2_230_000, Reason::Jam);
    let mut belt = Belt::new(BeltMotion::Fixed);
    belt.events = vec![
        blocked(from_us, true),
        blocked(2_180_000, false),
        blocked(2_190_000, true),
    ];
    assert_eq!(all_off(&belt.run(2_300_000)), []);
}

#[test]
fn a_belt_that_is_too_fast_is_held() {
    let mut belt = Belt::new(BeltMotion::Encoder);
    // As fast as a belt speeds up.
    belt.encoder_mm_s = |t_us| Some(MM_S + (t_us - 2_000_000).max(0) as f64 / 1e6 * 800.0);
    check_hold(belt, 2_000_000..3_000_000, Reason::Overspeed);
}

#[test]
fn a_belt_whose_encoder_says_nothing_is_held() {
    let mut belt = Belt::new(BeltMotion::Encoder);
    belt.encoder_mm_s = |t_us| (t_us < 2_000_000).then_some(MM_S);
    check_hold(belt, 2_150_000..2_250_000, Reason::BeltUnknown);
}

#[test]
fn what_looks_like_two_items_is_rejected_unless_all_views_agree() {
    for (crowded, score, verdict) in [
        (false, 0.95, Ok(0)),
        (true, 0.95, Err(Reason::Crowded)),
        (true, 0.9995, Ok(0)),
    ] {
        let mut belt = Belt::new(BeltMotion::Fixed);
        (belt.crowded, belt.score) = (crowded, score);
        assert_eq!(verdicts(&belt.run(3_000_000)), [verdict]);
    }
}

#[test]
fn what_is_too_long_for_one_item_is_rejected() {
    for (length_mm, verdict) in [(230.0, Ok(0)), (250.0, Err(Reason::Crowded))] {
        let mut belt = Belt::new(BeltMotion::Fixed);
        belt.length_mm = length_mm;
        assert_eq!(verdicts(&belt.run(3_000_000)), [verdict], "{length_mm} mm");
    }
}

/// At 100 mm, the decision line, it has not been classified yet; its gate is reached a second later.
#[test]
fn scores_are_waited_for_as_long_as_the_gate_can_be_reached() {
    for (delay_us, verdict) in [(900_000, Ok(0)), (2_500_000, Err(Reason::Late))] {
        let mut belt = Belt::new(BeltMotion::Fixed);
        belt.score_delay_us = Some(delay_us);
        let said = belt.run(5_000_000);
        assert_eq!(verdicts(&said), [verdict], "{delay_us} us");
        assert_eq!(firings(&said).len(), usize::from(verdict.is_ok()));
    }
}

#[test]
fn views_that_are_never_classified_do_not_keep_others_from_it() {
    let mut belt = Belt::new(BeltMotion::Fixed);
    belt.items_us = vec![1_000_000, 2_000_000, 4_500_000];
    belt.score_delay_us = None;
    let said = belt.run(6_000_000);
    let asked = said.iter().filter_map(|command| match command {
        Command::Classify { captured_us, .. } => Some(*captured_us),
        _ => None,
    });
    let asked: Vec<i64> = asked.collect();
    // The first two, and two more when those have been given up.
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[2] >= asked[0] + GIVE_UP_US, "{asked:?}");
}
