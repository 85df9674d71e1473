use super::*;
use crate::error::{Fault, Problem};
use crate::gate::{Drive, GpioLine, PwmChannel};
use proptest::prelude::*;

const GOOD: &str = r#"name = "test"
reject = "pass through"
[camera]
device = "simulated"
width_px = 640
height_px = 480
rate_hz = 30
view_mm = [400, 300]
[belt]
speed_mm_s = 400
direction = "left-to-right"
decision_mm = 100
[gates.a]
line = "A"
distance_mm = 500
opening_lead_ms = 20
hold_ms = 120
min_gap_ms = 20
max_on_ms = 1000
[gates.b]
chip = "chip"
offset = 4
distance_mm = 700
opening_lead_ms = 20
hold_ms = 120
min_gap_ms = 20
max_on_ms = 1000
[routes]
x = "a"
y = "b"
z = "pass through"
"#;

fn faults_of(text: &str) -> Vec<Fault> {
    match Profile::from_toml("t.toml", text) {
        Err(ProfileError::Invalid { faults, .. }) => faults,
        other => panic!("expected faults, got {other:?}"),
    }
}

#[track_caller]
fn check(from: &str, to: &str, line: usize, problem: Problem) {
    assert!(GOOD.contains(from), "{from:?} is not in the good profile");
    assert_eq!(
        faults_of(&GOOD.replacen(from, to, 1)),
        [Fault { line, problem }]
    );
}

fn shipped() -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir("profiles").unwrap();
    files.map(|f| f.unwrap().path()).collect()
}

#[test]
fn every_shipped_profile_is_valid_and_named_as_its_file() {
    let mut names = Vec::new();
    for file in shipped() {
        let profile = Profile::open(&file).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(profile.name(), file.file_stem().unwrap().to_str().unwrap());
        names.push(profile.name().to_owned());
    }
    names.sort();
    let boards = [
        "jetson-nano",
        "jetson-orin-nano",
        "qemu-virt",
        "raspberry-pi-4",
        "raspberry-pi-5",
        "simulated",
    ];
    assert_eq!(names, boards);
}

#[test]
fn the_shipped_simulated_profile_is_the_derived_one() {
    let shipped = Profile::open(Path::new("profiles/simulated.toml")).unwrap();
    let categories: Vec<String> = shipped.routes().iter().map(|(c, _)| c.clone()).collect();
    let derived =
        Profile::simulated(&categories, shipped.belt().speed_mm_s, MotionSource::Fixed).unwrap();
    assert_eq!(shipped, derived);
}

#[test]
fn a_good_profile_resolves() {
    let profile = Profile::from_toml("t.toml", GOOD).unwrap();
    assert_eq!(profile.route("y"), Some(Destination::Gate(1)));
    assert_eq!(profile.route("z"), Some(Destination::PassThrough));
    assert_eq!(profile.route("w"), None);
    assert_eq!(profile.reject(), Destination::PassThrough);
    assert_eq!(profile.gates()[0].window_mm, 40.0);
    assert_eq!(profile.view_length_mm(), 400.0);
    let line = GpioLine::Offset {
        chip: "chip".into(),
        offset: 4,
    };
    let drive = Drive::Pulse(Pin {
        line,
        active_low: false,
    });
    assert_eq!(profile.gates()[1].drive, drive);
}

#[test]
fn single_faults_are_named_with_their_line() {
    let unknown = |section: &str, key: &str| Problem::UnknownKey {
        section: section.into(),
        key: key.into(),
    };
    check(
        "rate_hz = 30",
        "rate_hz = 30\nshutter = 1",
        8,
        unknown("[camera]", "shutter"),
    );
    check(
        "line = \"A\"",
        "line = \"A\"\ncolour = 1",
        15,
        unknown("[gates.a]", "colour"),
    );
    let missing = Problem::Missing {
        section: "[gates.a]".into(),
        key: "hold_ms".into(),
    };
    check("hold_ms = 120\n", "", 13, missing);
    let range = Problem::OutOfRange {
        key: "rate_hz".into(),
        value: 0.0,
        min: 2.0,
        max: 1000.0,
    };
    check("rate_hz = 30", "rate_hz = 0", 7, range);
    let kind = Problem::WrongType {
        key: "view_mm".into(),
        expected: "two numbers, [a, b]",
    };
    check("view_mm = [400, 300]", "view_mm = 400", 8, kind);
    check(
        "line = \"A\"\n",
        "",
        13,
        Problem::NoLine("[gates.a]".into()),
    );
    check(
        "x = \"a\"",
        "x = \"c\"",
        29,
        Problem::UnknownGate("c".into()),
    );
    let out = Problem::DecisionOutOfView {
        decision_mm: 201.0,
        end_mm: 200.0,
    };
    check("decision_mm = 100", "decision_mm = 201", 12, out);
    let fast = Problem::FastBelt {
        rate_hz: 3.0,
        speed_mm_s: 400.0,
        step_mm: 400.0 / 3.0,
        length_mm: 400.0,
    };
    check("rate_hz = 30", "rate_hz = 3", 10, fast);
    let belt = "[detection]\nbelt_px = [0, 10, 641, 400]\n[routes]";
    check("[routes]", belt, 29, Problem::BeltOutOfPicture);
    let early = Problem::GateBeforeDecision {
        gate: "a".into(),
        distance_mm: 120.0,
        opens_at_mm: 88.0,
        decision_mm: 100.0,
    };
    check("distance_mm = 500", "distance_mm = 120", 15, early);
    let long = Problem::FiringTooLong {
        gate: "a".into(),
        on_ms: 140.0,
        max_on_ms: 100.0,
    };
    check("max_on_ms = 1000", "max_on_ms = 100", 19, long);
    let both = "chip = \"chip\"\noffset = 4";
    check(
        "line = \"A\"",
        both,
        21,
        Problem::SharedLine("[gates.a]".into(), "[gates.b]".into()),
    );
}

#[test]
fn the_belts_motion_and_its_inputs_resolve() {
    let inputs = r#"[encoder]
line = "E"
mm_per_pulse = 0.5
[emergency_stop]
line = "G"
[photo_eyes.exit]
line = "F"
active_low = true
position_mm = 900
[routes]"#;
    let text = GOOD.replacen("[routes]", inputs, 1).replacen(
        "decision_mm",
        "motion = \"encoder\"\ndecision_mm",
        1,
    );
    let profile = Profile::from_toml("t.toml", &text).unwrap();
    assert_eq!(profile.belt().motion, MotionSource::Encoder);
    assert_eq!(profile.belt().max_speed_mm_s, 600.0);
    assert_eq!(profile.belt().ramp_ms, 400.0);
    assert_eq!(profile.encoder().unwrap().mm_per_pulse, 0.5);
    let eye = &profile.photo_eyes()[0];
    assert_eq!(
        (eye.position_mm, eye.jam_mm, eye.line.active_low),
        (900.0, 600.0, true)
    );
    let shared = faults_of(&text.replacen("\"F\"", "\"A\"", 1));
    let problem = Problem::SharedLine("[gates.a]".into(), "[photo_eyes.exit]".into());
    assert_eq!(shared, [Fault { line: 34, problem }]);
    assert!(!profile.emergency_stop().unwrap().active_low);
}

#[test]
fn a_belt_that_contradicts_itself_is_a_fault() {
    check(
        "decision_mm",
        "motion = \"encoder\"\ndecision_mm",
        12,
        Problem::EncoderAlone,
    );
    let limit = Problem::SpeedLimit {
        max_speed_mm_s: 400.0,
        speed_mm_s: 400.0,
    };
    check(
        "decision_mm",
        "max_speed_mm_s = 400\ndecision_mm",
        12,
        limit,
    );
    let kind = Problem::WrongType {
        key: "motion".into(),
        expected: MotionSource::NAMES,
    };
    check("decision_mm", "motion = \"magic\"\ndecision_mm", 12, kind);
}

#[test]
fn a_pixel_format_is_one_of_those_that_are_understood() {
    let text = GOOD.replacen("view_mm", "format = \"YUYV\"\nview_mm", 1);
    let profile = Profile::from_toml("t.toml", &text).unwrap();
    assert_eq!(profile.camera().format.as_deref(), Some("YUYV"));
    let problem = Problem::WrongType {
        key: "format".into(),
        expected: "\"RGB3\", \"BGR3\", \"YUYV\", \"NV12\", \"MJPG\" or \"GREY\"",
    };
    check("view_mm", "format = \"H264\"\nview_mm", 8, problem);
}

#[test]
fn controls_of_the_camera_are_whole_numbers_in_the_order_of_the_file() {
    let with = |value: &str| {
        let controls =
            format!("[camera.controls]\n\"Gain, Digital\" = 0x10\nFocus = {value}\n[belt]");
        GOOD.replacen("[belt]", &controls, 1)
    };
    let profile = Profile::from_toml("t.toml", &with("false")).unwrap();
    let expect = [("Gain, Digital".to_owned(), 16), ("Focus".to_owned(), 0)];
    assert_eq!(profile.camera().controls, expect);
    let negative = Profile::from_toml("t.toml", &with("-5")).unwrap();
    assert_eq!(negative.camera().controls[1].1, -5);
    for wrong in ["1.5", "\"auto\""] {
        let problem = Problem::WrongType {
            key: "Focus".into(),
            expected: "a whole number, true or false",
        };
        assert_eq!(faults_of(&with(wrong)), [Fault { line: 11, problem }]);
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let text = GOOD
        .replacen("rate_hz = 30", "rate_hz = \"fast\"", 1)
        .replacen("direction = \"left-to-right\"", "direction = \"up\"", 1)
        .replacen("y = \"b\"", "y = \"nowhere\"", 1);
    let lines: Vec<usize> = faults_of(&text).iter().map(|f| f.line).collect();
    assert_eq!(lines, [7, 11, 30]);
    let message = Profile::from_toml("t.toml", &text).unwrap_err().to_string();
    assert!(
        message.starts_with("t.toml: 3 faults\n  t.toml:7: "),
        "{message}"
    );
}

#[test]
fn every_route_for_something_unknown_is_reported_along_with_all_else() {
    let known = Known {
        categories: vec!["y".into(), "w".into()],
        items: vec!["w/z".into()],
    };
    let routes = "[routes]\nx = \"a\"\ny = \"b\"\n\"w/z\" = \"nowhere\"\n\"w/x\" = \"a\"\n";
    let (head, _) = GOOD.split_once("[routes]").unwrap();
    let text = format!("{head}{routes}").replacen("distance_mm = 500", "distance_mm = 120", 1);
    let Err(ProfileError::Invalid { faults, .. }) = Profile::parse("t", &text, Some(&known)) else {
        panic!("this has faults");
    };
    let lines: Vec<usize> = faults.iter().map(|f| f.line).collect();
    assert_eq!(lines, [15, 29, 31, 32]);
    let unknown = |name: &str| Problem::UnknownCategory(name.into(), "y, w".into());
    assert_eq!(faults[1].problem, unknown("x"));
    assert_eq!(faults[3].problem, unknown("w/x"));
    let good = text.replacen("distance_mm = 120", "distance_mm = 500", 1);
    let good = good
        .replacen("nowhere", "b", 1)
        .replacen("x = \"a\"\n", "", 1);
    let good = good.replacen("\"w/x\" = \"a\"\n", "", 1);
    assert!(Profile::parse("t", &good, Some(&known)).is_ok());
}

#[test]
fn what_is_no_toml_is_one_fault() {
    let faults = faults_of("name = \"a\"\nthis is nothing\n");
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].line, 2);
    assert!(matches!(faults[0].problem, Problem::Syntax(_)));
    let empty = faults_of("");
    assert!(empty.iter().any(|f| f.problem == Problem::NoGates));
}

#[test]
fn category_names_of_any_kind_reach_the_simulated_board() {
    let names = ["可回收物".to_owned(), "a \"quoted\" one".to_owned()];
    let profile = Profile::simulated(&names, 250.0, MotionSource::Encoder).unwrap();
    assert_eq!(profile.route(&names[1]), Some(Destination::Gate(1)));
}

/// The good profile with another gate of this text.
fn with_gate(text: &str) -> String {
    let times = "distance_mm = 900\nopening_lead_ms = 100\nhold_ms = 120\nmin_gap_ms = 20\nmax_on_ms = 1000\n";
    GOOD.replacen(
        "[routes]",
        &format!("[gates.c]\n{text}\n{times}[routes]"),
        1,
    )
}

#[test]
fn gates_of_every_kind_resolve() {
    let pin = |name: &str, active_low| Pin {
        line: GpioLine::Named(name.into()),
        active_low,
    };
    let kinds = [
        (
            "kind = \"pulse\"\nline = \"P\"\nactive_low = true",
            Drive::Pulse(pin("P", true)),
        ),
        (
            "kind = \"paddle\"\nopen.line = \"O\"\nclose = { line = \"C\" }\nstroke_ms = 60",
            Drive::Paddle {
                open: pin("O", false),
                close: pin("C", false),
                stroke_ms: 60.0,
            },
        ),
        (
            "kind = \"stepper\"\nstep.line = \"S\"\ndirection.line = \"D\"\nsteps = 50\nsteps_hz = 500\n\
             enable = { line = \"E\", active_low = true }",
            Drive::Stepper {
                step: pin("S", false),
                direction: pin("D", false),
                enable: Some(pin("E", true)),
                steps: 50,
                steps_hz: 500.0,
            },
        ),
        (
            "kind = \"servo\"\npwm = { chip = \"fe20c000.pwm\", channel = 1 }\nclosed_us = 1000\nopen_us = 2000",
            Drive::Servo {
                pwm: PwmChannel {
                    chip: "fe20c000.pwm".into(),
                    channel: 1,
                },
                closed_us: 1000.0,
                open_us: 2000.0,
                period_us: 20_000.0,
            },
        ),
    ];
    for (text, drive) in kinds {
        let profile = Profile::from_toml("t.toml", &with_gate(text)).unwrap();
        assert_eq!(profile.gates()[2].drive, drive);
    }
}

#[track_caller]
fn check_gate(text: &str, line: usize, problem: Problem) {
    assert_eq!(faults_of(&with_gate(text)), [Fault { line, problem }]);
}

#[test]
fn faults_in_gates_of_every_kind_are_named_with_their_line() {
    let stepper =
        "kind = \"stepper\"\nstep.line = \"S\"\ndirection.line = \"A\"\nsteps_hz = 500\nsteps = ";
    let shared = Problem::SharedLine("[gates.a]".into(), "[gates.c.direction]".into());
    check_gate(&format!("{stepper}50"), 31, shared);
    let slow = Problem::OpensTooSlowly {
        gate: "c".into(),
        needs_ms: 102.0,
        opening_lead_ms: 100.0,
    };
    check_gate(&format!("{stepper}51").replace("\"A\"", "\"D\""), 33, slow);
    let servo =
        "kind = \"servo\"\npwm = { chip = \"p\", channel = 0 }\nclosed_us = 1500\nopen_us = 1500";
    let still = Problem::NoServoPositions {
        gate: "c".into(),
        closed_us: 1500.0,
        open_us: 1500.0,
        period_us: 20_000.0,
    };
    check_gate(servo, 32, still);
    let missing = Problem::Missing {
        section: "[gates.c]".into(),
        key: "close".into(),
    };
    check_gate(
        "kind = \"paddle\"\nopen.line = \"O\"\nstroke_ms = 60",
        28,
        missing,
    );
    let unwired = Problem::NoLine("[gates.c.close]".into());
    check_gate(
        "kind = \"paddle\"\nopen.line = \"O\"\nstroke_ms = 60\nclose = { chip = \"x\" }",
        32,
        unwired,
    );
    let kind = Problem::WrongType {
        key: "kind".into(),
        expected: Drive::NAMES,
    };
    check_gate("kind = \"magic\"", 29, kind);
}

#[test]
fn the_belts_output_and_the_longest_loss_of_the_camera_resolve() {
    let profile = Profile::from_toml("t.toml", GOOD).unwrap();
    assert_eq!(profile.belt_run(), None);
    assert_eq!(profile.camera().max_loss_ms, 5000.0);
    let text = GOOD
        .replacen("[routes]", "[belt_run]\nline = \"B\"\n[routes]", 1)
        .replacen("rate_hz = 30", "rate_hz = 30\nmax_loss_ms = 2000", 1);
    let profile = Profile::from_toml("t.toml", &text).unwrap();
    assert_eq!(
        profile.belt_run().unwrap().line,
        GpioLine::Named("B".into())
    );
    assert_eq!(profile.camera().max_loss_ms, 2000.0);
    let shared = Problem::SharedLine("[gates.a]".into(), "[belt_run]".into());
    let faults = faults_of(&text.replacen("\"B\"", "\"A\"", 1));
    assert_eq!(
        faults,
        [Fault {
            line: 29,
            problem: shared
        }]
    );
}

proptest! {
    #[test]
    fn any_text_is_a_profile_or_faults_with_lines_of_the_text(
        cut in 0..GOOD.len(), more in ".{0,60}", key in "[a-z_]{1,12}", value in "[-0-9a-z.\"\\[\\]{}, ]{0,12}",
    ) {
        let inserted = format!("{}\n{key} = {value}\n{}", &GOOD[..cut], &GOOD[cut..]);
        let replaced = format!("{}{more}{}", &GOOD[..cut], &GOOD[cut..]);
        for text in [more.clone(), GOOD[..cut].to_owned(), inserted, replaced] {
            if let Err(ProfileError::Invalid { faults, .. }) = Profile::from_toml("t", &text) {
                let lines = 1 + text.bytes().filter(|b| *b == b'\n').count();
                prop_assert!(!faults.is_empty());
                prop_assert!(faults.iter().all(|f| (1..=lines).contains(&f.line)), "{faults:?}");
            }
        }
    }
}
