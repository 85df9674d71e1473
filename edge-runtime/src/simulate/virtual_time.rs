//! Runs the line against a simulated belt in virtual time: lock-step, as fast as the machine can.
//!
//! Everything that takes time in reality takes a modelled time here, so that the result depends on
//! the seed alone: a frame is known to the line some milliseconds after its capture, the scores of a
//! view after the modelled classification, and gates move exactly when planned.

use super::extras::Extras;
use crate::actuate::Gates;
use crate::capture::simulated::SimulatedCamera;
use crate::capture::{CaptureError, Frame};
use crate::clock::Clock;
use crate::journal::JournaledLine;
use crate::line::detect::{Detection, Detector};
use crate::line::geometry::PixelBox;
use crate::line::{Command, Event};
use crate::observe::Observer;
use crate::recognise::{NoScores, Recognise};
use crate::sense::simulated::SimulatedEncoder;
use crate::timing::Movement;
use anyhow::bail;
use models::RgbView;
use std::collections::BTreeMap;
use std::time::Instant;

/// The parts of a virtual run.
pub(crate) struct VirtualRun<'a> {
    pub(crate) camera: SimulatedCamera,
    pub(crate) gates: Box<dyn Gates>,
    pub(crate) clock: Clock,
    pub(crate) detector: Detector,
    pub(crate) line: JournaledLine,
    pub(crate) recognise: &'a mut dyn Recognise,
    pub(crate) observer: &'a mut dyn Observer,
    pub(crate) extras: &'a mut Extras,
    /// Modelled time to classify a view.
    pub(crate) compute_us: i64,
    pub(crate) encoder: Option<SimulatedEncoder>,
}

/// Modelled time from the capture of a frame to its detections.
const LOOK_US: i64 = 5_000;
/// How often the encoder is read.
const COUNT_US: i64 = 5_000;
/// The line's own step.
const TICK_US: i64 = 10_000;

/// What is going to happen.
enum Due {
    Capture,
    Frame(Vec<Detection>),
    Scored(Event),
    Switch { gate: usize, on: bool },
    Count,
    Tick,
}

struct Agenda {
    due: BTreeMap<(i64, u64), Due>,
    count: u64,
}

impl Agenda {
    fn add(&mut self, t_us: i64, due: Due) {
        self.due.insert((t_us, self.count), due);
        self.count += 1;
    }
}

impl VirtualRun<'_> {
    /// Runs until the belt is empty; returns the camera with its world.
    ///
    /// # Errors
    /// A picture that cannot be had, a view that cannot be classified, a file that cannot be written.
    pub(crate) fn run(mut self) -> anyhow::Result<SimulatedCamera> {
        let mut agenda = Agenda {
            due: BTreeMap::new(),
            count: 0,
        };
        agenda.add(0, Due::Capture);
        agenda.add(0, Due::Tick);
        agenda.add(0, Due::Count);
        let mut frame = Frame::default();
        let mut commands = Vec::new();
        let mut busy_until_us = 0;
        while let Some(((t_us, _), due)) = agenda.due.pop_first() {
            self.clock.set(t_us);
            let event = match due {
                Due::Capture => {
                    match self.camera.take(&mut frame) {
                        Ok(()) => {}
                        Err(CaptureError::Finished) => break,
                        Err(error) => bail!("{error}"),
                    }
                    let detections = self.look(&frame)?;
                    agenda.add(t_us + LOOK_US, Due::Frame(detections));
                    agenda.add(self.camera.next_us(), Due::Capture);
                    continue;
                }
                Due::Switch { gate, on } => {
                    self.gates.set(gate, on)?;
                    self.observer.switched(&Movement {
                        gate,
                        on,
                        planned_us: t_us,
                        actual_us: t_us,
                        read_back_us: t_us,
                    });
                    continue;
                }
                Due::Frame(detections) => Event::Frame {
                    t_us,
                    captured_us: frame.captured_us,
                    detections,
                },
                Due::Scored(event) => event,
                Due::Count => {
                    agenda.add(t_us + COUNT_US, Due::Count);
                    match &self.encoder {
                        Some(encoder) => encoder.count(t_us),
                        None => continue,
                    }
                }
                Due::Tick => {
                    agenda.add(t_us + TICK_US, Due::Tick);
                    Event::Tick { t_us }
                }
            };
            self.line.handle(&event, &mut commands);
            for command in commands.drain(..) {
                self.observer.commanded(&command);
                self.extras.commanded(&command);
                match command {
                    Command::Classify {
                        track,
                        captured_us,
                        area,
                    } => {
                        let scores = self.classify(&frame, area)?;
                        self.extras
                            .classified(track, &frame, area, &scores, &self.camera)?;
                        busy_until_us = t_us.max(busy_until_us) + self.compute_us;
                        let event = Event::Scored {
                            t_us: busy_until_us,
                            track,
                            captured_us,
                            scores,
                        };
                        agenda.add(busy_until_us, Due::Scored(event));
                    }
                    Command::Fire {
                        gate,
                        on_us,
                        off_us,
                    } => {
                        agenda.add(on_us, Due::Switch { gate, on: true });
                        agenda.add(off_us, Due::Switch { gate, on: false });
                    }
                    Command::AllOff { .. } => self.gates.all_off()?,
                    Command::Decided { .. } | Command::Ended { .. } => {}
                }
            }
            if let Event::Frame { detections, .. } = &event {
                self.extras.framed(&frame, detections)?;
            }
        }
        self.line.finish()?;
        Ok(self.camera)
    }

    fn look(&mut self, frame: &Frame) -> anyhow::Result<Vec<Detection>> {
        let image = &frame.image;
        let view = RgbView::new(image, image.width(), image.height())?;
        let mut detections = Vec::new();
        self.detector.detect(&view, &mut detections);
        self.observer.framed(0);
        Ok(detections)
    }

    fn classify(&mut self, frame: &Frame, area: PixelBox) -> anyhow::Result<Vec<f32>> {
        let mut scores = Vec::new();
        let begin = Instant::now();
        match self.recognise.scores(frame, area, &mut scores) {
            Ok(()) => {}
            Err(NoScores::Failed(message)) => bail!("cannot classify a view: {message}"),
            Err(why) => {
                self.observer.failed(&why);
                return Ok(scores);
            }
        }
        self.observer
            .computed(i64::try_from(begin.elapsed().as_micros()).unwrap_or(i64::MAX));
        Ok(scores)
    }
}
