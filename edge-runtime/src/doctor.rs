//! `edge-runtime doctor`: whether this machine has what a board file asks for.

use crate::actuate::gpio::{find, not_found};
use crate::actuate::pwm;
use crate::capture::cameras;
use crate::capture::convert::{self, Pixels};
use crate::capture::rate::LEAST_SHARE;
use crate::capture::v4l2::{Stamp, V4l2Camera};
use crate::capture::{Frame, FrameSource};
use crate::clock::Clock;
use crate::line::Event;
use crate::line::geometry::PixelBox;
use crate::line::route;
use crate::recognise::quality::Quality;
use crate::run::say;
use crate::runtime::realtime;
use crate::timing::{Histogram, Percentiles};
use anyhow::bail;
use boards::{Camera, Drive, GpioLine, Profile, SIMULATED};
use gpiocdev::chip::{Chip, chips};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Say what of a board is there, what is not, and what to do about it.
///
/// Nothing is moved. Ends with failure when something is missing without which the board cannot sort.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  edge-runtime doctor --board boards/profiles/raspberry-pi-4.toml")]
pub(crate) struct Args {
    /// The board profile: what is wired where
    #[arg(long, value_name = "FILE")]
    board: PathBuf,
    /// Check the board's routes against this bundle too
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

/// How long the camera is watched.
const WATCH: Duration = Duration::from_secs(2);

/// So many sleeps of such a length show how exact the clock is; a median above this is too coarse.
const WAKINGS: u32 = 200;
const WAKING_US: i64 = 1_000;
const SLOPPY_MS: f64 = 2.0;

/// What was found, said as it is found.
#[derive(Default)]
struct Report {
    faults: usize,
}

impl Report {
    fn good(&self, what: &str) {
        say(&format!("ok     {what}"));
    }

    fn note(&self, what: &str) {
        say(&format!("note   {what}"));
    }

    fn fault(&mut self, what: &str) {
        self.faults += 1;
        say(&format!("FAULT  {what}"));
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let board = match &args.bundle {
        None => Profile::open(&args.board)?,
        Some(bundle) => {
            let labels = crate::bundle::open(bundle)?.manifest.labels;
            Profile::open_for(&args.board, &route::known(&labels))?
        }
    };
    let mut report = Report::default();
    report.good(&format!("board {}: {}", board.name(), args.board.display()));
    all_cameras(&report);
    camera(&board, &mut report);
    lines(&board, &mut report);
    stop_input(&board, &mut report);
    machine(&mut report);
    conversion(board.camera(), &report);
    match report.faults {
        0 => Ok(()),
        1 => bail!("{}: 1 fault", args.board.display()),
        n => bail!("{}: {n} faults", args.board.display()),
    }
}

/// Every camera of the machine, so that one can be chosen for the board file.
fn all_cameras(report: &Report) {
    for camera in cameras::found() {
        let path = camera.path.display();
        match camera.says {
            Ok((card, formats)) => {
                let names = camera.stable.iter().map(|link| link.display().to_string());
                let names = names.collect::<Vec<_>>().join(", ");
                let names = Some(names).filter(|n| !n.is_empty());
                report.good(&format!(
                    "camera at {path}: {card}; formats {}; stable names: {}",
                    formats.join(", "),
                    names.as_deref().unwrap_or("none")
                ));
            }
            Err(error) => report.note(&format!(
                "{path}: {error}; members of its group may open it (`ls -l`, then `usermod -aG`)"
            )),
        }
    }
}

fn camera(board: &Profile, report: &mut Report) {
    let wanted = board.camera();
    if wanted.device == SIMULATED {
        return report.note("the camera is the simulated one: use `edge-runtime simulate`");
    }
    let mut camera = match V4l2Camera::open(wanted, Clock::Monotonic) {
        Ok(camera) => camera,
        Err(error) => return report.fault(&error.to_string()),
    };
    let format = camera.pixels();
    let mut frame = Frame::default();
    let mut captured_us = Vec::new();
    let mut sequences = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < WATCH {
        match camera.next_frame(&mut frame, Duration::from_secs(1)) {
            Ok(()) => {
                captured_us.push(frame.captured_us);
                sequences.push(frame.sequence);
            }
            Err(error) => return report.fault(&format!("camera {}: {error}", wanted.device)),
        }
    }
    let (Some(first), Some(last)) = (captured_us.first(), captured_us.last()) else {
        return report.fault(&format!("camera {}: no frame", wanted.device));
    };
    let taken = captured_us.len() - 1;
    let rate_hz = taken as f64 * 1e6 / (last - first).max(1) as f64;
    let span = sequences
        .last()
        .zip(sequences.first())
        .map_or(0, |(l, f)| l - f);
    let lost = span.saturating_sub(taken as u64);
    let what = format!(
        "camera {}: {}x{} {format:?}, {rate_hz:.1} frames/s, {lost} lost",
        wanted.device, wanted.width_px, wanted.height_px
    );
    if rate_hz < wanted.rate_hz * LEAST_SHARE {
        return report.fault(&format!(
            "{what}; the board asks for {}: more light (or a shorter exposure under \
             [camera.controls]), a faster port, or a smaller picture",
            wanted.rate_hz
        ));
    }
    report.good(&what);
    stamps(&camera, report);
    quality(&frame, wanted, report);
}

/// How sharp and how well exposed the whole picture is.
fn quality(frame: &Frame, camera: &Camera, report: &mut Report) {
    let all = PixelBox {
        x0: 0,
        y0: 0,
        x1: camera.width_px,
        y1: camera.height_px,
    };
    let Quality { sharpness, clipped } = Quality::of(&frame.image, all);
    let percent = clipped * 100.0;
    if clipped > camera.max_clipped {
        let what = "of the picture is black or white: change light or exposure";
        return report.fault(&format!("{percent:.0} % {what}"));
    }
    match sharpness {
        Some(sharpness) => report.good(&format!(
            "sharpness {sharpness:.2} (1 is the best, 0.25 the worst), {percent:.1} % clipped"
        )),
        None => report.note("nothing is in view by which sharpness could be told"),
    }
}

/// When the picture was taken, as far as the driver tells.
fn stamps(camera: &V4l2Camera, report: &mut Report) {
    let (stamp, exposure_us) = camera.stamp();
    let from = match stamp {
        Stamp::Start => "the driver's, at the start of the exposure",
        Stamp::End => "the driver's, at the end of the exposure",
        Stamp::Arrival => {
            return report.note("the driver's time stamps are of no use: frames are dated late");
        }
    };
    match exposure_us {
        Some(us) => report.good(&format!(
            "frames' instants are {from}, moved to its middle by {:.1} ms",
            us as f64 / 2000.0
        )),
        None => report.good(&format!(
            "frames' instants are {from}; how long it exposes is not known or not fixed"
        )),
    }
}

fn lines(board: &Profile, report: &mut Report) {
    for path in chips().unwrap_or_default() {
        match Chip::from_path(&path).and_then(|chip| chip.info()) {
            Ok(info) => report.good(&format!(
                "GPIO chip {}: {}, {} lines",
                info.label,
                path.display(),
                info.num_lines
            )),
            Err(error) => report.note(&format!(
                "{}: {error}; members of its group may open it (`ls -l`, then `usermod -aG`)",
                path.display()
            )),
        }
    }
    let gates = board.gates().iter().flat_map(|gate| {
        let pins = gate.drive.pins().into_iter();
        pins.map(move |(role, pin)| (format!("gate {}, {role}", gate.name), &pin.line))
    });
    let eyes = board
        .photo_eyes()
        .iter()
        .map(|e| (format!("photo-eye {}", e.name), &e.line.line));
    let single = [
        ("encoder", board.encoder().map(|e| &e.line)),
        ("emergency stop", board.emergency_stop()),
        ("belt_run", board.belt_run()),
    ];
    let single = single
        .into_iter()
        .filter_map(|(name, pin)| Some((name.to_owned(), &pin?.line)));
    for (name, line) in gates.chain(eyes).chain(single) {
        match user_of(line) {
            Ok(None) => report.good(&format!("{name}: {line}, free")),
            Ok(Some(user)) => {
                report.fault(&format!("{name}: {line} is held by {user}: end that first"))
            }
            Err(what) => report.fault(&format!("{name}: {line}: {what}")),
        }
    }
    for gate in board.gates() {
        if let Drive::Servo { pwm, .. } = &gate.drive {
            match pwm::find(Path::new(pwm::CLASS), &pwm.chip) {
                Ok(chip) => report.good(&format!("gate {}: {pwm}, {}", gate.name, chip.display())),
                Err(what) => report.fault(&format!("gate {}: {pwm}: {what}", gate.name)),
            }
        }
    }
}

/// Who holds a line.
fn user_of(line: &GpioLine) -> Result<Option<String>, String> {
    let (path, offset) = find(line).ok_or_else(not_found)?;
    let info = Chip::from_path(&path)
        .and_then(|chip| chip.line_info(offset))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    let name = || match info.consumer.is_empty() {
        true => "the kernel".to_owned(),
        false => info.consumer.clone(),
    };
    Ok(info.used.then(name))
}

fn stop_input(board: &Profile, report: &mut Report) {
    if board.emergency_stop().is_none() {
        return report.note(
            "no emergency stop reaches the program: it must cut the gates' supply by itself",
        );
    }
    let Ok(mut sensors) = crate::open_sensors(board) else {
        return; // Said already, line by line.
    };
    let mut events = Vec::new();
    match sensors.poll(Duration::ZERO, &mut events) {
        Ok(()) if events.iter().any(|e| matches!(e, Event::Stop { .. })) => {
            report.note("the emergency stop is pressed, or its wire is cut");
        }
        Ok(()) => report.good("the emergency stop lets the belt run"),
        Err(error) => report.fault(&error.to_string()),
    }
}

fn machine(report: &mut Report) {
    let gates = std::thread::spawn(|| (realtime::enter(realtime::GATES), wakings())).join();
    match gates {
        Ok((allowed, wakings)) => {
            match allowed {
                Ok(()) => report.good("the gates' thread may have real-time priority"),
                Err(message) => report.note(&message),
            }
            clock(&wakings, report);
        }
        Err(_) => report.note("real-time priority could not be tried"),
    }
    match realtime::lock_memory() {
        Ok(()) => report.good("memory may be locked"),
        Err(message) => report.note(&message),
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    report.good(&format!("{threads} CPUs; {}", cpu_features()));
}

/// By how much a thread like the gates' wakes up late.
fn wakings() -> Percentiles {
    let mut late = Histogram::default();
    let mut next_us = Clock::Monotonic.now_us();
    for _ in 0..WAKINGS {
        next_us += WAKING_US;
        realtime::sleep_until_us(next_us);
        late.add(Clock::Monotonic.now_us() - next_us);
    }
    late.percentiles()
}

fn clock(late: &Percentiles, report: &Report) {
    let what = format!(
        "the clock: a thread that sleeps until an instant wakes {:.3} ms (p50), {:.3} ms (max) after it",
        late.p50, late.max
    );
    if late.p50 > SLOPPY_MS {
        report.note(&format!(
            "{what}: the kernel has no fine timers (CONFIG_HIGH_RES_TIMERS), or others keep the processor"
        ));
    } else {
        report.good(&what);
    }
}

/// How long it takes to make a picture of the board's size RGB, from every format.
fn conversion(camera: &Camera, report: &Report) {
    let size = (camera.width_px as usize, camera.height_px as usize);
    let speeds: Vec<String> = Pixels::ALL
        .into_iter()
        .map(|pixels| {
            let speed = convert::measure(pixels, size);
            format!("{pixels:?} {:.2} ms ({:.0} MB/s)", speed.ms, speed.mb_s)
        })
        .collect();
    report.good(&format!(
        "a picture made RGB, in MB of RGB: {}",
        speeds.join(", ")
    ));
}

/// What makes the classifier fast.
#[cfg(target_arch = "aarch64")]
fn cpu_features() -> String {
    let has = |name, there: bool| format!("{name} {}", if there { "yes" } else { "no" });
    [
        has(
            "dotprod",
            std::arch::is_aarch64_feature_detected!("dotprod"),
        ),
        has("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
    ]
    .join(", ")
}

/// What makes the classifier fast.
#[cfg(target_arch = "x86_64")]
fn cpu_features() -> String {
    let has = |name, there: bool| format!("{name} {}", if there { "yes" } else { "no" });
    [
        has("avx2", std::arch::is_x86_feature_detected!("avx2")),
        has("avx512", std::arch::is_x86_feature_detected!("avx512f")),
    ]
    .join(", ")
}

/// What makes the classifier fast.
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
fn cpu_features() -> String {
    std::env::consts::ARCH.to_owned()
}
