use super::*;
use proptest::prelude::*;

const MM_PER_PULSE: f64 = 0.5;
const NOMINAL: f64 = 400.0;
/// How far from its true place an item is seen.
const NOISE_MM: f64 = 1.5;

fn encoder() -> Motion {
    let source = Source::Encoder {
        mm_per_pulse: MM_PER_PULSE,
        pulses: None,
    };
    Motion::with(source, NOMINAL, WINDOW_US)
}

fn camera() -> Motion {
    Motion::with(Source::camera(NOMINAL), NOMINAL, CAMERA_WINDOW_US)
}

/// Counts every 5 ms what `travel_mm(t_us)` gives; the first doubt and when it came.
fn drive(
    motion: &mut Motion,
    times_us: std::ops::Range<i64>,
    travel_mm: impl Fn(i64) -> f64,
) -> Option<(i64, Doubt)> {
    let mut first = None;
    for t_us in times_us.step_by(5_000) {
        let pulses = (travel_mm(t_us) / MM_PER_PULSE).floor() as i64;
        if let Err(doubt) = motion.count(t_us, pulses) {
            first = first.or(Some((t_us, doubt)));
        }
    }
    first
}

fn steady(t_us: i64) -> f64 {
    NOMINAL * t_us as f64 / 1e6
}

#[test]
fn a_fixed_belt_runs_for_ever() {
    let motion = Motion::fixed(250.0);
    assert_eq!(motion.travel_mm(4_000_000), 1000.0);
    assert_eq!(motion.time_us(1000.0), 4_000_000);
}

#[test]
fn an_encoder_is_followed_through_slow_changes_without_doubt() {
    let mut motion = encoder();
    // Ramps between 200 and 600 mm/s within half a second.
    let travel = |t_us: i64| {
        let t = t_us as f64 / 1e6;
        350.0 * t - 150.0 / 6.0 * (6.0 * t).cos()
    };
    assert_eq!(drive(&mut motion, 0..3_000_000, travel), None);
    let origin_mm = travel(0);
    for t_us in [500_000, 1_234_567, 2_990_000] {
        let apart_mm = motion.travel_mm(t_us) - (travel(t_us) - origin_mm);
        assert!(apart_mm.abs() < 2.0, "{apart_mm} mm at {t_us}");
    }
}

#[test]
fn a_belt_that_stops_softly_stands_still_and_predicts_nothing() {
    let mut motion = encoder();
    let stop_us = 1_000_000;
    let ramp_s = 0.3;
    let travel = |t_us: i64| {
        let after = (t_us - stop_us).max(0) as f64 / 1e6;
        let t = after.min(ramp_s);
        steady(t_us.min(stop_us)) + NOMINAL * (t - t * t / (2.0 * ramp_s))
    };
    assert_eq!(drive(&mut motion, 0..2_000_000, travel), None);
    assert_eq!(motion.time_us(motion.travel_mm(2_000_000) + 10.0), NEVER_US);
    assert!(!motion.is_silent(2_100_000));
    assert!(motion.is_silent(2_300_000));
}

#[test]
fn a_belt_whose_speed_only_the_camera_knows_is_unknown_without_it() {
    let (mut motion, mut fixed) = (camera(), Motion::fixed(400.0));
    for frame in 1..=20 {
        let t_us = frame * 50_000;
        for motion in [&mut motion, &mut fixed] {
            motion.shift(t_us - 50_000, t_us, Some(20.0)).unwrap();
        }
    }
    assert!(!motion.is_silent(1_600_000));
    assert!(motion.is_silent(1_600_001));
    assert!(!fixed.is_silent(60_000_000));
}

#[test]
fn places_become_uncertain_while_only_the_camera_knows_the_speed_and_sees_nothing() {
    let mut motion = camera();
    for t_us in [50_000, 100_000] {
        motion.shift(t_us - 50_000, t_us, Some(20.0)).unwrap();
    }
    let error_mm = |motion: &Motion, now_us: i64| motion.error_mm(500.0, now_us, now_us + 100_000);
    let at_first_mm = error_mm(&motion, 100_000);
    for t_us in (150_000..2_000_000).step_by(50_000) {
        motion.shift(t_us - 50_000, t_us, None).unwrap();
    }
    let later_mm = error_mm(&motion, 2_000_000);
    // A belt of 400 mm/s may be 20 mm/s faster after a second.
    assert!(
        (35.0..45.0).contains(&(later_mm - at_first_mm)),
        "{later_mm} {at_first_mm}"
    );
    motion.shift(1_950_000, 2_000_000, Some(20.0)).unwrap();
    assert!(error_mm(&motion, 2_000_000) < at_first_mm + 1.0);
}

#[test]
fn places_are_as_uncertain_as_the_last_count_is_old() {
    let mut motion = encoder();
    assert_eq!(drive(&mut motion, 0..1_000_001, steady), None);
    let error_mm = |now_us: i64| motion.error_mm(500.0, now_us, now_us + 100_000);
    // From 0 to 400 mm/s in 400 ms: half of 1 mm/ms² times the square of the time ahead.
    assert!((error_mm(1_000_000) - PLACE_ERROR_MM - 5.0).abs() < 1e-9);
    assert!((error_mm(1_100_000) - PLACE_ERROR_MM - 20.0).abs() < 1e-9);
}

#[test]
fn impossible_counts_are_doubted_soon() {
    let fault_us = 1_000_000;
    let stuck = |t_us: i64| steady(t_us.min(fault_us));
    let jump = |t_us: i64| steady(t_us) + if t_us >= fault_us { 60.0 } else { 0.0 };
    let back = |t_us: i64| steady(t_us) - if t_us >= fault_us { 60.0 } else { 0.0 };
    for (name, travel) in [
        ("stuck", &stuck as &dyn Fn(i64) -> f64),
        ("jump", &jump),
        ("back", &back),
    ] {
        let (t_us, doubt) = drive(&mut encoder(), 0..2_000_000, travel).expect(name);
        assert_eq!(doubt, Doubt::Implausible, "{name}");
        assert!(
            (fault_us..fault_us + 40_000).contains(&t_us),
            "{name}: {t_us}"
        );
    }
}

#[test]
fn overspeed_is_not_an_implausible_belt() {
    // From 400 to 800 mm/s within a second.
    let travel = |t_us: i64| {
        let t = t_us as f64 / 1e6;
        NOMINAL * t + 200.0 * t * t
    };
    let (t_us, doubt) = drive(&mut encoder(), 0..1_000_000, travel).unwrap();
    assert_eq!(doubt, Doubt::Overspeed);
    assert!((500_000..600_000).contains(&t_us), "{t_us}");
}

#[test]
fn the_camera_contradicts_a_belt_that_does_not_move_as_it_should() {
    let mut motion = Motion::fixed(NOMINAL);
    assert_eq!(motion.shift(0, 50_000, Some(20.0)), Ok(()));
    assert_eq!(motion.shift(50_000, 100_000, None), Ok(()));
    assert_eq!(motion.shift(100_000, 150_000, Some(0.0)), Ok(()));
    assert_eq!(
        motion.shift(150_000, 200_000, Some(0.0)),
        Err(Doubt::Implausible)
    );
}

proptest! {
    /// The nominal speed is only where the camera starts from. Shifts add up, so that the speed over a
    /// window is wrong by the places of its two ends only; what was blind before it does not matter.
    #[test]
    fn the_camera_finds_the_belts_speed(
        share in 0.75..1.25f64,
        noise in prop::collection::vec(-NOISE_MM..NOISE_MM, 40),
        blind_from in 10..20usize,
    ) {
        let mut motion = camera();
        let speed_mm_s = share * NOMINAL;
        for (frame, pair) in noise.windows(2).enumerate() {
            let [since_us, t_us] = [frame, frame + 1].map(|f| f as i64 * 50_000);
            let shift_mm = speed_mm_s * 0.05 + pair[1] - pair[0];
            let seen = !(blind_from..blind_from + 8).contains(&frame);
            motion.shift(since_us, t_us, seen.then_some(shift_mm)).unwrap();
        }
        let found_mm_s = (motion.travel_mm(3_000_000) - motion.travel_mm(2_000_000)).abs();
        let most_mm_s = 2.0 * NOISE_MM * 1e6 / CAMERA_WINDOW_US as f64;
        prop_assert!((found_mm_s - speed_mm_s).abs() < most_mm_s + 1e-6, "{found_mm_s} {speed_mm_s}");
    }

    /// A belt does not stop at once, at whatever speed it runs; nor is it at speed at once when the encoder
    /// works again.
    #[test]
    fn an_encoder_that_sticks_or_comes_back_is_doubted(share in 0.3..1.4f64, stuck_us in 100_000i64..5_000_000) {
        let mm = |t_us: i64| share * steady(t_us);
        let (begin_us, end_us) = (1_000_000, 1_000_000 + stuck_us);
        let stuck = |t_us: i64| mm(t_us.min(begin_us));
        let lost = |t_us: i64| stuck(t_us) + mm(t_us.max(end_us)) - mm(end_us);
        let mut motion = encoder();
        let before = drive(&mut motion, 0..begin_us, mm);
        prop_assert_eq!(before, None);
        let (t_us, doubt) = drive(&mut motion, begin_us..end_us, stuck).unwrap();
        prop_assert_eq!(doubt, Doubt::Implausible);
        prop_assert!(t_us < begin_us + 50_000, "{}", t_us);
        let (t_us, doubt) = drive(&mut motion, end_us..end_us + 1_000_000, lost).unwrap();
        prop_assert_eq!(doubt, Doubt::Implausible);
        prop_assert!(t_us < end_us + 50_000, "{}", t_us);
    }

    /// Travel never goes back further than a belt settles, and `time_us` undoes `travel_mm`.
    #[test]
    fn any_counts_whatever_are_taken(counts in prop::collection::vec((0i64..40_000, any::<i64>()), 1..60)) {
        let mut motion = encoder();
        let mut t_us = 0;
        for (step_us, pulses) in counts {
            t_us += step_us;
            let before_mm = motion.travel_mm(t_us);
            let _ = motion.count(t_us, pulses);
            let after_mm = motion.travel_mm(t_us);
            prop_assert!(after_mm.is_finite() && before_mm.is_finite());
            prop_assert!(motion.speed_mm_s.is_finite() && motion.speed_mm_s >= 0.0);
        }
        let ahead_mm = motion.travel_mm(t_us) + 50.0;
        let at_us = motion.time_us(ahead_mm);
        if at_us != NEVER_US {
            // A time is a whole number of microseconds.
            let rounding_mm = 0.5e-6 * motion.speed_mm_s + 1e-6;
            prop_assert!((motion.travel_mm(at_us) - ahead_mm).abs() <= rounding_mm);
        }
    }
}
