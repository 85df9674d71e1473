use super::*;
use proptest::prelude::*;

fn output(fd: RawFd, safe: Safe, name: &str) -> Guarded {
    let name = name.to_owned();
    Guarded { fd, safe, name }
}

/// A gate that may be on for 200 ms, and the belt.
fn custody() -> Custody {
    Custody {
        outputs: vec![("gate a".into(), Some(200_000)), ("belt".into(), None)],
        on_since_us: vec![None; 2],
        heard_us: None,
        looked_us: 0,
    }
}

/// Looks every 10 ms from 0 until there is a breach, or for 4 s; with the time of the breach in ms.
fn judge(heard: impl Fn(i64) -> Heard, on: impl Fn(i64) -> [bool; 2]) -> Option<(i64, Breach)> {
    let mut custody = custody();
    (0..4_000).step_by(10).find_map(|ms| {
        let breach = custody.judge(ms * 1000, heard(ms), &on(ms));
        breach.map(|breach| (ms, breach))
    })
}

const OFF: [bool; 2] = [false; 2];

#[test]
fn outputs_survive_the_command_line() {
    let outputs = [
        output(3, Safe::Off(Some(800_000)), "gate a: b"),
        output(4, Safe::Off(None), "belt_run"),
        output(5, Safe::OnFor(60_000), "gate 可回收物"),
        output(6, Safe::PulseNs(1_500_000), "gate c"),
    ];
    for output in outputs {
        assert_eq!(parse(&argument(&output)), Some(output));
    }
    for wrong in [
        "",
        "off",
        "off:x:1:a",
        "on:3::a",
        "up:3:1:a",
        "pulse:3:-1:a",
    ] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_closed_pipe_is_death_and_an_ending_is_not() {
    let at = |word| move |ms| if ms == 50 { word } else { Heard::Well };
    assert_eq!(judge(at(Heard::Closed), |_| OFF), Some((50, Breach::Died)));
    assert_eq!(judge(at(Heard::Ending), |_| OFF), Some((50, Breach::Ended)));
}

#[test]
fn silence_counts_from_the_first_word() {
    assert_eq!(judge(|_| Heard::Nothing, |_| OFF), None);
    let until = |ms| {
        if ms <= 500 {
            Heard::Well
        } else {
            Heard::Nothing
        }
    };
    let hangs = Breach::Hangs { ms: 2010 };
    assert_eq!(judge(until, |_| OFF), Some((2510, hangs)));
}

#[test]
fn a_gate_that_stays_on_is_a_breach_and_a_belt_that_runs_is_none() {
    let name = "gate a".to_owned();
    let long = Breach::TooLong { name, ms: 240 };
    let on = |ms| [ms >= 100, true];
    assert_eq!(judge(|_| Heard::Well, on), Some((340, long)));
}

#[test]
fn time_in_which_the_guardian_itself_was_stopped_does_not_count() {
    let mut custody = custody();
    assert_eq!(custody.judge(0, Heard::Well, &[true, true]), None);
    let later_us = 60_000_000;
    assert_eq!(custody.judge(later_us, Heard::Nothing, &[true, true]), None);
    let breach = custody.judge(later_us + 10_000, Heard::Nothing, &[true, true]);
    assert_eq!(breach, None);
}

/// Held up for 100 ms after every look, it takes longer, but acts.
#[test]
fn a_guardian_that_is_held_up_again_and_again_still_acts() {
    let mut custody = custody();
    let looks = (0..100).map(|look| look * 110_000);
    let breach = looks
        .into_iter()
        .find_map(|us| Some((us, custody.judge(us, Heard::Well, &[true, true])?)));
    let (at_us, breach) = breach.unwrap();
    assert!(matches!(breach, Breach::TooLong { .. }), "{breach:?}");
    assert!(at_us < 2_000_000, "{at_us}");
}

proptest! {
    #[test]
    fn a_program_that_keeps_to_the_rules_is_left_alone(
        pulses in prop::collection::vec((1i64..20, 1i64..20), 1..50),
        beat in 1i64..190,
    ) {
        let mut ends = Vec::new();
        let mut at = 0;
        for (off, on) in pulses {
            ends.push((at + off * 10, at + (off + on) * 10));
            at += (off + on) * 10;
        }
        let heard = |ms: i64| if ms % (beat * 10) == 0 { Heard::Well } else { Heard::Nothing };
        let on = |ms| [ends.iter().any(|(from, to)| (*from..*to).contains(&ms)), true];
        prop_assert_eq!(judge(heard, on), None);
    }
}
