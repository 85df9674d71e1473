//! `edge-runtime run`: sorts on a real belt.

use crate::actuate::Gates;
use crate::bundle::BundleArgs;
use crate::capture::FrameSource;
use crate::clock::Clock;
use crate::journal::{JournalArgs, JournaledLine};
use crate::keeper::Keeper;
use crate::line::detect::{Detector, DetectorConfig};
use crate::line::route;
use crate::line::{Command, End, Line, LineConfig, Reason, Routes};
use crate::observe::Observer;
use crate::recognise::NoScores;
use crate::recognise::quality::{Limits, Selective};
use crate::runtime::Runtime;
use crate::sense::Sensors;
use crate::threads::ThreadArgs;
use crate::timing::{Movement, Timing};
use anyhow::Context;
use boards::{Destination, Profile};
use models::Bundle;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// Sort on a real belt: the board's camera, the bundle's classifier, the board's gates.
///
/// Ends on Ctrl-C or SIGTERM, and whenever a part fails; the gates are switched off first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edge-runtime run --board boards/profiles/raspberry-pi-4.toml --bundle garbage.sortline
  edge-runtime run --board my.toml --bundle garbage.sortline --dry-run
  edge-runtime run --board my.toml --bundle garbage.sortline --dry-run --frames pictures/
  edge-runtime run --board my.toml --bundle garbage.sortline --dry-run --frames belt.y4m
  edge-runtime run --board my.toml --bundle garbage.sortline --journal journal/ --journal-mb 1000")]
pub(crate) struct Args {
    /// The board profile: what is wired where
    #[arg(long, value_name = "FILE")]
    pub(crate) board: PathBuf,
    #[command(flatten)]
    pub(crate) bundle: BundleArgs,
    /// Only say which gates would be switched; open no output
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take the frames from a recording instead of the camera: a folder of pictures, or a video (Y4M, Motion JPEG
    /// as AVI or as it is; `ffmpeg -i FILE out.y4m` makes one of any other)
    #[arg(long, value_name = "DIR|FILE", requires = "dry_run")]
    pub(crate) frames: Option<PathBuf>,
    /// Restart the machine when the program hangs: its watchdog, as /dev/watchdog
    #[arg(long, value_name = "DEVICE")]
    pub(crate) watchdog: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
}

/// Counts what happens, in bounded memory, and says it line by line.
#[derive(Debug, Default)]
struct Journal {
    categories: Vec<String>,
    gates: Vec<String>,
    verdicts: BTreeMap<u32, usize>,
    sorted: BTreeMap<usize, u64>,
    rejected: BTreeMap<Reason, u64>,
    frames: u64,
    dropped: u64,
    failed: BTreeMap<&'static str, u64>,
    timing: Timing,
}

impl Observer for Journal {
    fn commanded(&mut self, command: &Command) {
        match *command {
            Command::Decided {
                track,
                verdict: Ok(category),
                ..
            } => {
                self.verdicts.insert(track, category);
            }
            Command::Ended { track, end, .. } => {
                let category = self.verdicts.remove(&track);
                let name = category.map_or("nothing known", |c| self.categories[c].as_str());
                match end {
                    End::Fired(gate) => {
                        say(&format!("item {track}: {name}, gate {}", self.gates[gate]))
                    }
                    End::PassedThrough => say(&format!("item {track}: {name}, passes through")),
                    End::Rejected(reason) => {
                        say(&format!("item {track}: {name}, rejected: {reason}"))
                    }
                }
                match (end, category) {
                    (End::Rejected(reason), _) => *self.rejected.entry(reason).or_default() += 1,
                    (_, Some(category)) => *self.sorted.entry(category).or_default() += 1,
                    (_, None) => {}
                }
            }
            _ => {}
        }
    }

    fn switched(&mut self, movement: &Movement) {
        self.timing.add(movement);
    }

    fn left_out(&mut self, firings: u64) {
        self.timing.left_out += firings;
    }

    fn computed(&mut self, _: i64) {}

    fn framed(&mut self, dropped: u64) {
        self.frames += 1;
        self.dropped += dropped;
    }

    fn failed(&mut self, why: &NoScores) {
        let kind = match why {
            NoScores::Blurred => "blurred",
            NoScores::BadlyExposed => "badly exposed",
            NoScores::Failed(_) => "not to be classified",
        };
        let count = self.failed.entry(kind).or_default();
        *count += 1;
        if *count == 1 {
            eprintln!("warning: a view was not classified: {why}");
        }
    }
}

impl Journal {
    fn summary(&self) {
        say(&format!(
            "\n{} frames, {} of them dropped",
            self.frames + self.dropped,
            self.dropped
        ));
        for (kind, n) in &self.failed {
            say(&format!("{n:>7}  views {kind}"));
        }
        for (category, n) in &self.sorted {
            say(&format!("{n:>7}  {}", self.categories[*category]));
        }
        for (reason, n) in &self.rejected {
            say(&format!("{n:>7}  rejected: {reason}"));
        }
        say(&format!("\n{}", self.timing.text()));
    }
}

/// Board and bundle, checked against each other.
pub(crate) struct Plan {
    pub(crate) board: Profile,
    bundle: Bundle,
    routes: Routes,
}

/// Reads what the command names.
pub(crate) fn plan(args: &Args) -> anyhow::Result<Plan> {
    let bundle = args.bundle.open()?;
    let manifest = &bundle.manifest;
    let labels = &manifest.labels;
    let board = Profile::open_for(&args.board, &route::known(labels))?;
    let routes = Routes::new(&board, labels, &manifest.reject_thresholds);
    let items = (0..labels.len()).map(|item| labels.path(item));
    let own = items.filter(|path| board.route(path).is_some());
    for name in labels.categories().iter().cloned().chain(own) {
        let way = match route::way(&board, &name, &name) {
            _ if board.route(&name).is_none() => "rejected, for want of a route",
            Destination::Gate(gate) => &board.gates()[gate].name,
            Destination::PassThrough => "passes through",
        };
        say(&format!("{name}: {way}"));
    }
    Ok(Plan {
        board,
        bundle,
        routes,
    })
}

/// Whoever is to be told that all is well.
pub(crate) type Keepers = Vec<Box<dyn Keeper>>;

/// The parts of the machine that sort.
pub(crate) struct Devices<'a> {
    pub(crate) camera: &'a mut dyn FrameSource,
    pub(crate) sensors: &'a mut dyn Sensors,
    pub(crate) gates: &'a mut dyn Gates,
    /// Called when sorting begins: a watchdog does not wait for the classifier to be loaded.
    pub(crate) keepers: &'a dyn Fn() -> Result<Keepers, String>,
}

/// Sorts until the frames end, a signal comes or something fails.
pub(crate) fn run(args: &Args, plan: Plan, devices: Devices<'_>) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .context("cannot catch the signals that end the program")?;
    }
    let mut classifier = args
        .threads
        .classifier(&plan.bundle)
        .with_context(|| args.bundle.name())?;
    let mut recognise = Selective::new(&mut classifier, Limits::new(plan.board.camera()));
    let journal = Mutex::new(Journal {
        categories: plan.bundle.manifest.labels.categories().to_vec(),
        gates: plan.board.gates().iter().map(|g| g.name.clone()).collect(),
        ..Journal::default()
    });
    let line = Line::new(LineConfig::new(&plan.board, plan.routes));
    let mut keepers = (devices.keepers)().map_err(anyhow::Error::msg)?;
    let runtime = Runtime {
        source: devices.camera,
        sensors: devices.sensors,
        gates: devices.gates,
        max_on_us: max_on_us(&plan.board),
        max_loss_us: max_loss_us(&plan.board),
        keepers: &mut keepers,
        detector: Detector::new(DetectorConfig::of_board(&plan.board)),
        line: JournaledLine::new(line, args.journal.open(false)?),
        recognise: &mut recognise,
        observer: &journal,
        clock: Clock::Monotonic,
    };
    say("running; Ctrl-C ends it");
    let result = runtime.run(&stop);
    keepers.iter_mut().for_each(|keeper| keeper.ending());
    let journal = journal.into_inner().unwrap_or_else(PoisonError::into_inner);
    journal.summary();
    result
}

/// Prints a line; a reader that has gone away (as `| head` does) is no reason to stop sorting.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Longest time of each of the board's gates.
pub(crate) fn max_on_us(board: &Profile) -> Vec<i64> {
    let us = |ms: f64| (ms * 1000.0).round() as i64;
    board.gates().iter().map(|g| us(g.max_on_ms)).collect()
}

/// For how long the board may be without a picture.
pub(crate) fn max_loss_us(board: &Profile) -> i64 {
    (board.camera().max_loss_ms * 1000.0).round() as i64
}
