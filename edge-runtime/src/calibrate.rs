//! `edge-runtime calibrate`: measures the belt's speed and the places of gates and photo-eyes with an
//! item that travels under the camera.

mod passage;

use crate::capture::v4l2::V4l2Camera;
use crate::capture::{CaptureError, Frame, FrameSource as _};
use crate::clock::Clock;
use crate::line::Event;
use crate::line::detect::{Detection, Detector, DetectorConfig};
use crate::line::geometry::Geometry;
use crate::run::say;
use crate::sense::Sensors;
use anyhow::{Context as _, bail};
use boards::Profile;
use models::RgbView;
use passage::{Follower, Passage};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Measure the belt's speed, and where a gate or a photo-eye is, with an item on the belt.
///
/// Nothing is moved but by you: let the belt run, empty at first, then let one item after the other
/// pass under the camera. Each gives the speed. With --gate, press Enter when the middle of the item is
/// in front of the gate; with --eye, the photo-eye itself says when the item passes. What to write into
/// the board file is said at the end. The belt must run steadily, and `view_mm` must be right.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edge-runtime calibrate --board my.toml
  edge-runtime calibrate --board my.toml --gate kitchen --passes 10
  edge-runtime calibrate --board my.toml --eye exit")]
pub(crate) struct Args {
    /// The board profile: what is wired where
    #[arg(long, value_name = "FILE")]
    board: PathBuf,
    /// Find out the distance of this gate
    #[arg(long, value_name = "NAME", conflicts_with = "eye")]
    gate: Option<String>,
    /// Find out the position of this photo-eye, or of what it stands at
    #[arg(long, value_name = "NAME")]
    eye: Option<String>,
    /// How many items are to pass
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    passes: u32,
}

/// Between two frames the inputs are looked at this often.
const WAIT: Duration = Duration::from_millis(20);

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let file = args.board.display();
    let board = Profile::open(&args.board)?;
    if let Some(name) = &args.gate
        && !board.gates().iter().any(|g| g.name == *name)
    {
        bail!("{file}: no gate \"{name}\"");
    }
    let eye = args.eye.as_ref().map(|name| {
        let found = board.photo_eyes().iter().position(|e| e.name == *name);
        found.with_context(|| format!("{file}: no photo-eye \"{name}\""))
    });
    let eye = eye.transpose()?;
    let mut camera = V4l2Camera::open(board.camera(), Clock::Monotonic)?;
    let mut marks = match (&args.gate, eye) {
        (Some(_), _) => Marks::Keys(keys()),
        (None, Some(eye)) => {
            let sensors = crate::open_sensors(&board)
                .map_err(|list| anyhow::anyhow!("{file}: {}", list.join("; ")))?;
            let blocked_us = None;
            Marks::Eye {
                sensors,
                eye,
                blocked_us,
            }
        }
        (None, None) => Marks::Nobody,
    };
    say("keep the belt empty for a second, then let items pass, one at a time");
    let mut measured = Measured::default();
    let mut looker = Looker::new(&board);
    while measured.speeds_mm_s.len() < args.passes as usize {
        let passage = looker.next_passage(&mut camera, &mut marks)?;
        if passage.speed_mm_s <= 0.0 {
            bail!("{file}: the item travels against `direction`: turn that round");
        }
        let position_mm = match looker.mark(&mut camera, &mut marks)? {
            Some(t_us) => Some(passage.position_mm(t_us)),
            None => None,
        };
        measured.add(&passage, position_mm);
    }
    measured.sum_up(args);
    Ok(())
}

/// When an item is in front of something.
enum Marks {
    Nobody,
    /// Instants at which Enter was pressed.
    Keys(Receiver<i64>),
    Eye {
        sensors: Box<dyn Sensors>,
        eye: usize,
        blocked_us: Option<i64>,
    },
}

fn keys() -> Receiver<i64> {
    let (pressed, keys) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while matches!(std::io::stdin().read_line(&mut line), Ok(1..)) {
            if pressed.send(Clock::Monotonic.now_us()).is_err() {
                return;
            }
        }
    });
    keys
}

impl Marks {
    /// The middle of the item's passing, if that has come to pass.
    fn poll(&mut self) -> anyhow::Result<Option<i64>> {
        match self {
            Self::Nobody => Ok(None),
            Self::Keys(keys) => Ok(keys.try_iter().last()),
            Self::Eye {
                sensors,
                eye,
                blocked_us,
            } => {
                let mut events = Vec::new();
                sensors.poll(Duration::ZERO, &mut events)?;
                let mut middle_us = None;
                for event in events {
                    match event {
                        Event::Eye {
                            t_us,
                            eye: which,
                            blocked,
                        } if which == *eye => match blocked {
                            true => *blocked_us = Some(t_us),
                            false => {
                                let since_us = blocked_us.take();
                                middle_us = since_us.map(|since_us| (since_us + t_us) / 2);
                            }
                        },
                        _ => {}
                    }
                }
                Ok(middle_us)
            }
        }
    }
}

/// What looks at the belt.
struct Looker {
    geometry: Geometry,
    detector: Detector,
    follower: Follower,
    frame: Frame,
    detections: Vec<Detection>,
}

impl Looker {
    fn new(board: &Profile) -> Self {
        let geometry = Geometry::new(board);
        Self {
            detector: Detector::new(DetectorConfig::of_board(board)),
            follower: Follower::new(2.0 * geometry.half_length_mm()),
            geometry,
            frame: Frame::default(),
            detections: Vec::new(),
        }
    }

    /// Looks at a frame, if there is one; a passage that has ended with it.
    fn look(&mut self, camera: &mut V4l2Camera) -> anyhow::Result<Option<Passage>> {
        match camera.next_frame(&mut self.frame, WAIT) {
            Ok(()) => {}
            Err(CaptureError::TimedOut(_)) => return Ok(None),
            Err(error) => bail!("{error}"),
        }
        let image = &self.frame.image;
        let view = RgbView::new(image, image.width(), image.height())?;
        self.detector.detect(&view, &mut self.detections);
        let spans = self.detections.iter().map(|d| self.geometry.span(d.area));
        let middles: Vec<f64> = spans
            .filter_map(|span| Some((span.front_mm? + span.rear_mm?) / 2.0))
            .collect();
        Ok(self.follower.see(self.frame.captured_us, &middles))
    }

    fn next_passage(
        &mut self,
        camera: &mut V4l2Camera,
        marks: &mut Marks,
    ) -> anyhow::Result<Passage> {
        loop {
            // What is marked while no item is waited for is not meant.
            marks.poll()?;
            if let Some(passage) = self.look(camera)? {
                return Ok(passage);
            }
        }
    }

    /// Waits for the mark; `None` where there is nothing to mark.
    fn mark(&mut self, camera: &mut V4l2Camera, marks: &mut Marks) -> anyhow::Result<Option<i64>> {
        match marks {
            Marks::Nobody => return Ok(None),
            Marks::Keys(_) => say("press Enter when its middle is in front of the gate"),
            Marks::Eye { .. } => {}
        }
        loop {
            if let Some(t_us) = marks.poll()? {
                return Ok(Some(t_us));
            }
            self.look(camera)?;
        }
    }
}

/// What has been measured so far.
#[derive(Default)]
struct Measured {
    speeds_mm_s: Vec<f64>,
    positions_mm: Vec<f64>,
}

impl Measured {
    fn add(&mut self, passage: &Passage, position_mm: Option<f64>) {
        self.speeds_mm_s.push(passage.speed_mm_s);
        let at = position_mm.map_or(String::new(), |mm| format!(", marked at {mm:.1} mm"));
        self.positions_mm.extend(position_mm);
        say(&format!(
            "item {}: {:.1} mm/s, from {} frames that agree to within {:.1} mm{at}",
            self.speeds_mm_s.len(),
            passage.speed_mm_s,
            passage.frames,
            passage.error_mm
        ));
    }

    fn sum_up(&mut self, args: &Args) {
        let (speed, spread) = passage::median_and_spread(&mut self.speeds_mm_s);
        say(&format!(
            "\n[belt]\nspeed_mm_s = {speed:.1}     # measured from {:.1} less to {:.1} more",
            spread[0], spread[1]
        ));
        let table = match (&args.gate, &args.eye) {
            (Some(name), _) => format!("[gates.{name}]\ndistance_mm"),
            (None, Some(name)) => format!("[photo_eyes.{name}]\nposition_mm"),
            (None, None) => return,
        };
        let (position, spread) = passage::median_and_spread(&mut self.positions_mm);
        say(&format!(
            "{table} = {position:.1}    # measured from {:.1} less to {:.1} more",
            spread[0], spread[1]
        ));
    }
}
