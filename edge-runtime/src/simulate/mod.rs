//! `edge-runtime simulate`: sorts simulated items and reports how well.

mod extras;
mod feed;
mod ledger;
mod report;
mod virtual_time;

use crate::actuate::BoardGates;
use crate::actuate::recorded::RecordedPin;
use crate::capture::simulated::{Feed, SimulatedCamera};
use crate::clock::Clock;
use crate::journal::{JournalArgs, JournaledLine};
use crate::line::detect::{Detector, DetectorConfig};
use crate::line::geometry::Geometry;
use crate::line::{Line, LineConfig, Routes, route};
use crate::recognise::quality::{Limits, Selective};
use crate::recognise::{Nobody, Recognise, Slowed};
use crate::run::{max_loss_us, max_on_us, say};
use crate::runtime::Runtime;
use crate::sense::simulated::SimulatedEncoder;
use crate::sense::{NoSensors, Sensors};
use anyhow::{Context, bail};
use boards::{MotionSource, Profile};
use extras::{CropWriter, Extras, FrameWriter};
use feed::{DrawnFeed, PhotoFeed};
use inference::Classifier;
use ledger::{Ledger, Truth};
use models::{Bundle, LabelSet};
use report::{ClockKind, Document, Report};
use simulator::{GatePlace, Spacing, View, World, WorldConfig, drawn};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use virtual_time::VirtualRun;

/// Sort simulated items on a simulated belt, and report where each landed.
///
/// Time is virtual unless --realtime is given: the run goes as fast as the machine can, the line sees
/// a modelled classification time, and the same seed gives the same result.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edge-runtime simulate --bundle drawn-10.sortline --items synthetic --count 100
  edge-runtime simulate --bundle garbage.sortline --items photos/ --split val --rate 120 --json report.json
  edge-runtime simulate --items synthetic --count 2000 --save-crops views/   (no bundle: only the views)
  edge-runtime simulate --motion camera --belt-error 0.1 --belt-swing 0.1
  edge-runtime simulate --realtime --rate 300 --count 1500 --journal journal/")]
pub(crate) struct Args {
    /// The bundle that recognises the items [default for drawn items: one inside this program]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// A folder of labelled photos, or `synthetic` for drawn items
    #[arg(long, value_name = "DIR|synthetic", default_value = "synthetic")]
    items: String,
    /// Only photos of this split
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Items per minute
    #[arg(long, default_value_t = 60.0, value_name = "N")]
    rate: f64,
    /// Items in all
    #[arg(long, default_value_t = 200, value_name = "N")]
    count: usize,
    /// Everything that is left to chance follows from it
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// A board profile; without it, one gate per category and a belt as fast as the rate needs
    #[arg(long, value_name = "FILE")]
    board: Option<PathBuf>,
    /// Items are turned by up to this angle either way [default: 180 for drawn items, 5 for photos]
    #[arg(long, value_name = "DEG")]
    turn: Option<f64>,
    /// This share of the items touches the one before, from 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    touching: f64,
    /// How the line knows the belt's motion, on the board that is made when none is named
    #[arg(long, default_value = "fixed", value_name = "fixed|encoder|camera", value_parser = motion, conflicts_with = "board")]
    motion: MotionSource,
    /// The belt really runs faster than the board says by this share of its speed
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "SHARE",
        allow_hyphen_values = true
    )]
    belt_error: f64,
    /// The belt's speed swings by this share either way, once in 6 s
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    belt_swing: f64,
    /// Time to classify a view: modelled in virtual time [default: 40]; in real time at least this long [default: 0]
    #[arg(long, value_name = "MS")]
    compute_ms: Option<f64>,
    /// Run in wall time, with the threads and queues of `run`
    #[arg(long, conflicts_with_all = ["frames", "save_crops"])]
    realtime: bool,
    /// Threads of the classifier
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: usize,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write annotated frames (the first 300 with a classified view) as PNG files
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,
    /// Write views of the items, as the classifier gets them, into DIR/CATEGORY/ITEM to train on
    #[arg(long, value_name = "DIR")]
    save_crops: Option<PathBuf>,
    #[command(flatten)]
    journal: JournalArgs,
    /// Views written of one item
    #[arg(long, default_value_t = 2, value_name = "N", requires = "save_crops")]
    crops_per_item: u32,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    check(args)?;
    // Opened now: a report that cannot be written should not be found out after the run.
    let json = args.json.as_deref().map(create).transpose()?;
    let bundle = open_bundle(args)?;
    let setup = Setup::new(args, bundle.as_ref())?;
    let mut recognise: Box<dyn Recognise> = match &bundle {
        Some(bundle) => Box::new(Classifier::new(bundle, args.threads)?),
        None => Box::new(Nobody),
    };
    let limits = Limits::new(setup.board.camera());
    let mut recognise = Selective::new(recognise.as_mut(), limits);
    let (clock, report) = if args.realtime {
        let report = simulate_in_real_time(args, setup, &mut recognise)?;
        (ClockKind::Real, report)
    } else {
        let report = simulate_virtual(args, setup, &mut recognise)?;
        (ClockKind::Virtual, report)
    };
    if bundle.is_some() {
        say(&report.table(clock));
    } else {
        say(&format!(
            "{} items passed; no bundle, so nothing was sorted",
            report.items
        ));
    }
    if let (Some(mut json), Some(file)) = (json, &args.json) {
        let document = Document {
            clock,
            seed: args.seed,
            report: &report,
        };
        let text = serde_json::to_string_pretty(&document)? + "\n";
        json.write_all(text.as_bytes())
            .with_context(|| format!("{}: cannot write the report", file.display()))?;
    }
    Ok(())
}

fn create(file: &Path) -> anyhow::Result<File> {
    File::create(file).with_context(|| format!("{}: cannot write the report", file.display()))
}

fn motion(name: &str) -> Result<MotionSource, String> {
    MotionSource::from_name(name).ok_or_else(|| "it is fixed, encoder or camera".to_owned())
}

fn check(args: &Args) -> anyhow::Result<()> {
    if args.count == 0 {
        bail!("--count is 0: at least one item is needed");
    }
    if !args.rate.is_finite() || args.rate <= 0.0 {
        bail!("--rate is {}: items per minute must be above 0", args.rate);
    }
    if !(0.0..=1.0).contains(&args.touching) {
        bail!("--touching is {}: it must be from 0 to 1", args.touching);
    }
    if let Some(ms) = args.compute_ms.filter(|ms| !(0.0..=1e6).contains(ms)) {
        bail!("--compute-ms is {ms}: it must be from 0 to 1000000");
    }
    if !(-0.9..=9.0).contains(&args.belt_error) {
        bail!(
            "--belt-error is {}: it must be from -0.9 to 9",
            args.belt_error
        );
    }
    if !(0.0..=0.9).contains(&args.belt_swing) {
        bail!(
            "--belt-swing is {}: it must be from 0 to 0.9",
            args.belt_swing
        );
    }
    if args.turn.is_some_and(|turn| !(0.0..=180.0).contains(&turn)) {
        bail!("--turn must be from 0 to 180 degrees");
    }
    Ok(())
}

/// The bundle that ships with the program; it knows the drawn items.
static DRAWN_10: &[u8] = include_bytes!("../../../models/bundles/drawn-10.sortline");

fn open_bundle(args: &Args) -> anyhow::Result<Option<Bundle>> {
    match &args.bundle {
        Some(file) => Ok(Some(crate::bundle::open(file)?)),
        None if args.save_crops.is_some() => Ok(None),
        None if args.items == "synthetic" => {
            let shipped = Bundle::read(DRAWN_10).context("the bundle inside this program")?;
            Ok(Some(shipped))
        }
        None => bail!(
            "no bundle for the photos in {}: name one with --bundle FILE (host-train export makes them)",
            args.items
        ),
    }
}

/// What a run is made of, before any time has passed.
struct Setup {
    board: Profile,
    routes: Routes,
    truth: Truth,
    feed: Box<dyn Feed>,
    /// Of the pictures.
    labels: LabelSet,
    /// Of what recognises them.
    known: LabelSet,
    world: WorldConfig,
}

/// What a view takes in virtual time.
const COMPUTE_MS: f64 = 40.0;
/// Belt per item at the least, when the speed is chosen for the rate.
const PITCH_MM: f64 = 400.0;
const MIN_GAP_MM: f64 = 30.0;
const LEAD_IN_US: i64 = 1_000_000;

impl Setup {
    fn new(args: &Args, bundle: Option<&Bundle>) -> anyhow::Result<Self> {
        let drawn_labels = drawn::labels();
        let known = bundle.map_or(&drawn_labels, |b| &b.manifest.labels);
        let (feed, labels, turn): (Box<dyn Feed>, LabelSet, f64) = if args.items == "synthetic" {
            let feed = DrawnFeed::new(args.seed, args.count);
            (Box::new(feed), drawn::labels(), 180.0)
        } else {
            let folder = Path::new(&args.items);
            let split = args.split.as_deref();
            let (feed, labels) = PhotoFeed::open(folder, split, known, (args.seed, args.count))?;
            (Box::new(feed), labels, 5.0)
        };
        // Without a bundle, what lies on the belt is what is known.
        let known = if bundle.is_some() { known } else { &labels };
        let categories = known.categories();
        let board = match &args.board {
            Some(file) => Profile::open_for(file, &route::known(known))?,
            None => {
                let speed_mm_s = (args.rate / 60.0 * PITCH_MM).max(200.0);
                Profile::simulated(categories, speed_mm_s, args.motion)
                    .with_context(|| format!("no belt can carry {} items/min", args.rate))?
            }
        };
        let thresholds = bundle.map_or(vec![0.0; categories.len()], |b| {
            b.manifest.reject_thresholds.clone()
        });
        let routes = Routes::new(&board, known, &thresholds);
        let category_of = categories_of(&labels, categories, &args.items)?;
        let way = |path: &str, category: usize| route::way(&board, path, &categories[category]);
        let kinds = category_of.iter().enumerate();
        let truth = Truth {
            way_of: kinds.map(|(kind, &c)| way(&labels.path(kind), c)).collect(),
            ways: (0..categories.len())
                .map(|c| way(&categories[c], c))
                .collect(),
            categories: categories.to_vec(),
            reject: board.reject(),
            category_of,
        };
        let world = world_config(args, &board, args.turn.unwrap_or(turn));
        Ok(Self {
            board,
            routes,
            truth,
            feed,
            known: known.clone(),
            labels,
            world,
        })
    }
}

/// For each item the index of its category among the bundle's, by name.
fn categories_of(
    labels: &LabelSet,
    categories: &[String],
    items: &str,
) -> anyhow::Result<Vec<usize>> {
    let index = |name: &String| categories.iter().position(|c| c == name);
    let unknown: Vec<&str> = labels
        .categories()
        .iter()
        .filter(|c| index(c).is_none())
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        bail!(
            "{items}: the bundle does not know the categor{} {} of these items; it knows {}",
            if unknown.len() == 1 { "y" } else { "ies" },
            unknown.join(", "),
            categories.join(", "),
        );
    }
    let of_item = |item| index(&labels.categories()[labels.category_of(item)]);
    Ok((0..labels.len()).filter_map(of_item).collect())
}

fn world_config(args: &Args, board: &Profile, max_turn_deg: f64) -> WorldConfig {
    let camera = board.camera();
    let (width_px, height_px) = if board.belt().direction.is_horizontal() {
        (camera.width_px, camera.height_px)
    } else {
        (camera.height_px, camera.width_px)
    };
    let spacing = if args.touching > 0.0 {
        Spacing::Touching {
            share: args.touching,
            min_gap_mm: MIN_GAP_MM,
        }
    } else {
        Spacing::Apart {
            min_gap_mm: MIN_GAP_MM,
        }
    };
    WorldConfig {
        seed: args.seed,
        speed_mm_s: board.belt().speed_mm_s * (1.0 + args.belt_error),
        swing: args.belt_swing,
        view: View {
            width_px,
            height_px,
            length_mm: board.view_length_mm(),
        },
        rate_per_min: args.rate,
        spacing,
        max_turn_deg,
        gates: board
            .gates()
            .iter()
            .map(|gate| GatePlace {
                position_mm: gate.distance_mm,
                window_mm: gate.window_mm,
                opening_us: (gate.opening_lead_ms * 1000.0).round() as i64,
            })
            .collect(),
        lead_in_us: LEAD_IN_US,
    }
}

fn simulated_encoder(setup: &Setup, clock: &Clock) -> Option<SimulatedEncoder> {
    setup.board.encoder().map(|encoder| SimulatedEncoder {
        world: setup.world.clone(),
        mm_per_pulse: encoder.mm_per_pulse,
        clock: clock.clone(),
        epoch_us: 0,
    })
}

fn simulate_virtual(
    args: &Args,
    setup: Setup,
    recognise: &mut dyn Recognise,
) -> anyhow::Result<Report> {
    let clock = Clock::virtual_time();
    let (pins, edges) = RecordedPin::row(setup.board.gates().len(), &clock);
    let geometry = Geometry::new(&setup.board);
    let rate = (setup.board.camera().rate_hz, setup.board.belt().direction);
    let line = Line::new(LineConfig::new(&setup.board, setup.routes.clone()));
    let journal = args.journal.open(true)?;
    let encoder = simulated_encoder(&setup, &clock);
    let world = World::new(setup.world)?;
    let mut extras = Extras {
        frames: match &args.frames {
            Some(folder) => Some(FrameWriter::new(folder, &setup.known)?),
            None => None,
        },
        crops: args.save_crops.as_ref().map(|folder| {
            let (labels, geometry) = (setup.labels.clone(), geometry.clone());
            CropWriter::new(folder, labels, geometry, args.crops_per_item)
        }),
    };
    let mut ledger = Ledger::default();
    let run = VirtualRun {
        camera: SimulatedCamera::new(world, setup.feed, edges, clock.clone(), rate),
        gates: Box::new(BoardGates::of_pins(pins)),
        clock,
        detector: Detector::new(DetectorConfig::of_board(&setup.board)),
        line: JournaledLine::new(line, journal),
        recognise,
        observer: &mut ledger,
        extras: &mut extras,
        compute_us: (args.compute_ms.unwrap_or(COMPUTE_MS) * 1000.0).round() as i64,
        encoder,
    };
    let camera = run.run()?;
    extras.finish()?;
    let epoch_us = camera.epoch_us();
    let world = camera.finish();
    Ok(ledger.report(&world, epoch_us, &setup.truth))
}

fn simulate_in_real_time(
    args: &Args,
    setup: Setup,
    recognise: &mut dyn Recognise,
) -> anyhow::Result<Report> {
    let minutes = args.count as f64 / args.rate;
    eprintln!("in real time: this takes about {minutes:.1} minutes");
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let clock = Clock::Monotonic;
    let (pins, edges) = RecordedPin::row(setup.board.gates().len(), &clock);
    let rate = (setup.board.camera().rate_hz, setup.board.belt().direction);
    let line = Line::new(LineConfig::new(&setup.board, setup.routes.clone()));
    let journal = args.journal.open(false)?;
    let encoder = simulated_encoder(&setup, &clock);
    let world = World::new(setup.world)?;
    let mut camera = SimulatedCamera::new(world, setup.feed, edges, clock.clone(), rate);
    let mut sensors: Box<dyn Sensors> = match encoder {
        Some(encoder) => Box::new(SimulatedEncoder {
            epoch_us: camera.epoch_us(),
            ..encoder
        }),
        None => Box::new(NoSensors),
    };
    let ledger = Mutex::new(Ledger::in_real_time());
    let at_least_ms = args.compute_ms.unwrap_or(0.0);
    let mut recognise = Slowed::new(recognise, Duration::from_secs_f64(at_least_ms / 1000.0));
    let runtime = Runtime {
        source: &mut camera,
        sensors: sensors.as_mut(),
        gates: &mut BoardGates::of_pins(pins),
        max_on_us: max_on_us(&setup.board),
        max_loss_us: max_loss_us(&setup.board),
        keepers: &mut [],
        detector: Detector::new(DetectorConfig::of_board(&setup.board)),
        line: JournaledLine::new(line, journal),
        recognise: &mut recognise,
        observer: &ledger,
        clock,
    };
    runtime.run(&stop)?;
    let epoch_us = camera.epoch_us();
    let world = camera.finish();
    let ledger = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(ledger.report(&world, epoch_us, &setup.truth))
}

#[cfg(test)]
mod tests;
