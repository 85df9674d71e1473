//! Runs the line in real time: five threads around the pure state machine.
//!
//! ```text
//! capture ──newest frame──▶ line ──views──▶ classifier
//!                            ▲ │                │
//!                            │ └──firings──▶ gates
//!                            ├──────scores──────┘
//!              sensors ──────┘
//! ```
//!
//! - The newest frame wins: a frame that has not been looked at when the next comes is dropped and
//!   counted. Views wait in a queue of two, which the line itself never overfills.
//! - Gates are switched at absolute times by a thread that does nothing else, and that switches a
//!   gate off after its longest time whatever the line says.
//! - When anything ends (a signal, an error, a panic in any thread), everything ends, and the gates
//!   are switched off first.

mod inbox;
pub(crate) mod realtime;
mod switchboard;

use crate::actuate::Gates;
use crate::capture::{CaptureError, Frame, FrameSource};
use crate::clock::Clock;
use crate::journal::JournaledLine;
use crate::line::detect::Detector;
use crate::line::geometry::PixelBox;
use crate::line::{Command, Event};
use crate::observe::Observer;
use crate::recognise::Recognise;
use crate::sense::Sensors;
use crate::timing::Movement;
use anyhow::{anyhow, bail};
use inbox::{Inbox, Input};
use models::RgbView;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard::Switchboard;

/// What runs.
pub(crate) struct Runtime<'a> {
    pub(crate) source: &'a mut dyn FrameSource,
    pub(crate) sensors: &'a mut dyn Sensors,
    pub(crate) gates: &'a mut dyn Gates,
    /// Longest time each gate may be on.
    pub(crate) max_on_us: Vec<i64>,
    pub(crate) detector: Detector,
    pub(crate) line: JournaledLine,
    pub(crate) recognise: &'a mut dyn Recognise,
    pub(crate) observer: &'a Mutex<dyn Observer>,
    pub(crate) clock: Clock,
}

/// The line's own step, when nothing else happens.
const TICK: Duration = Duration::from_millis(5);
/// The sensors' thread looks up this often even if nothing is said.
const SENSE: Duration = Duration::from_millis(50);
/// Without a frame for this long the camera counts as lost.
const CAMERA_TIMEOUT_US: i64 = 1_000_000;
/// Views that wait to be classified or are being classified.
const VIEWS: usize = 2;
/// Frames in use at the same time at the most: one being taken, one waiting, one being looked at,
/// and those whose views are being classified.
const FRAMES: usize = 3 + VIEWS;

/// Movements of gates that wait to be reported.
const MOVEMENTS: usize = 1024;

/// Says what could not be had; sorting goes on without it.
fn note(result: Result<(), String>) {
    if let Err(message) = result {
        eprintln!("note: {message}");
    }
}

/// A view to be classified.
struct View {
    track: u32,
    frame: Arc<Frame>,
    area: PixelBox,
}

/// Sets the flag that ends everything, also when its thread panics.
struct EndAll<'a> {
    stop: &'a AtomicBool,
    inbox: &'a Inbox,
    switchboard: &'a Switchboard,
}

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.switchboard.wake();
        self.inbox.wake();
    }
}

impl Runtime<'_> {
    /// Runs until the frames end, `stop` is set, or something fails. The gates are off afterwards.
    ///
    /// # Errors
    /// The first failure of a part. A panic in a thread is one too.
    pub(crate) fn run(self, stop: &AtomicBool) -> anyhow::Result<()> {
        let Self {
            source,
            sensors,
            gates,
            max_on_us,
            mut detector,
            mut line,
            recognise,
            observer,
            clock,
        } = self;
        let inbox = Inbox::new(FRAMES);
        let switchboard = Switchboard::new(max_on_us);
        let (views, views_in) = sync_channel(VIEWS);
        let (movements, moved) = sync_channel(MOVEMENTS);
        note(realtime::lock_memory());
        let end = &|| EndAll {
            stop,
            inbox: &inbox,
            switchboard: &switchboard,
        };
        let looks = Looks {
            moved,
            inbox: &inbox,
            switchboard: &switchboard,
            observer,
            clock: &clock,
            stop,
        };
        std::thread::scope(|scope| {
            let (switchboard, clock) = (&switchboard, &clock);
            let gate_thread = scope.spawn(move || {
                let _end = end();
                note(realtime::enter());
                switchboard.run(gates, &movements, clock, stop)
            });
            let capture_thread = scope.spawn(|| {
                let _end = end();
                capture(source, &inbox, clock, stop)
            });
            let sensor_thread = scope.spawn(|| {
                let _end = end();
                sense(sensors, &inbox, switchboard, stop)
            });
            let inbox = &inbox;
            let classifier_thread = scope.spawn(move || {
                let _end = end();
                classify(recognise, &views_in, inbox, observer, clock);
            });
            // When the line ends it lets go of `views`, which ends the classifier's thread.
            let line_thread = scope.spawn(move || {
                let _end = end();
                let result = looks.run(&mut detector, &mut line, views);
                if let Err(error) = line.finish() {
                    eprintln!("warning: {error:#}");
                }
                result
            });
            let results = [
                gate_thread.join().map(|r| r.map_err(Into::into)),
                capture_thread.join(),
                sensor_thread.join(),
                classifier_thread.join().map(Ok),
                line_thread.join(),
            ];
            let mut results = results.into_iter().map(|joined| {
                joined.unwrap_or_else(|_| Err(anyhow!("a thread broke down; see above")))
            });
            let failure = results.find_map(Result::err);
            failure.map_or(Ok(()), Err)
        })
    }
}

fn sense(
    sensors: &mut dyn Sensors,
    inbox: &Inbox,
    switchboard: &Switchboard,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let mut events = Vec::new();
    while !stop.load(Ordering::Acquire) {
        sensors.poll(SENSE, &mut events)?;
        for event in events.drain(..) {
            if matches!(event, Event::Stop { .. }) {
                // At once, whatever the line is busy with; it says so too when it learns of it.
                switchboard.all_off();
            }
            inbox.put(event);
        }
    }
    Ok(())
}

fn capture(
    source: &mut dyn FrameSource,
    inbox: &Inbox,
    clock: &Clock,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let timeout = Duration::from_millis(100);
    let mut last_us = clock.now_us();
    let mut lost = false;
    let (mut first, mut next_sequence) = (true, 0);
    while !stop.load(Ordering::Acquire) {
        let mut frame = inbox.spare();
        let Some(writable) = Arc::get_mut(&mut frame) else {
            bail!("a spare frame is in use");
        };
        match source.next_frame(writable, timeout) {
            Ok(()) => {
                (last_us, lost) = (clock.now_us(), false);
                // A camera that was opened again counts from the start.
                let missing = frame.sequence.saturating_sub(next_sequence);
                next_sequence = frame.sequence + 1;
                inbox.put_frame(frame, if first { 0 } else { missing });
                first = false;
            }
            Err(CaptureError::TimedOut(_)) => {
                inbox.give_back(frame);
                let t_us = clock.now_us();
                if !lost && t_us - last_us >= CAMERA_TIMEOUT_US {
                    lost = true;
                    inbox.put(Event::CameraLost { t_us });
                }
            }
            Err(CaptureError::Finished) => return Ok(()),
            Err(CaptureError::Failed(message)) => bail!("the camera failed: {message}"),
        }
    }
    Ok(())
}

fn classify(
    recognise: &mut dyn Recognise,
    views: &Receiver<View>,
    inbox: &Inbox,
    observer: &Mutex<dyn Observer>,
    clock: &Clock,
) {
    for view in views {
        let begin_us = clock.now_us();
        let mut scores = Vec::new();
        let result = recognise.scores(&view.frame, view.area, &mut scores);
        let t_us = clock.now_us();
        {
            let mut observer = observer.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(()) => observer.computed(t_us - begin_us),
                Err(message) => observer.failed(&message),
            }
        }
        let captured_us = view.frame.captured_us;
        inbox.give_back(view.frame);
        inbox.put(Event::Scored {
            t_us,
            track: view.track,
            captured_us,
            scores,
        });
    }
}

/// The thread in which the line itself runs.
struct Looks<'a> {
    moved: Receiver<Movement>,
    inbox: &'a Inbox,
    switchboard: &'a Switchboard,
    observer: &'a Mutex<dyn Observer>,
    clock: &'a Clock,
    stop: &'a AtomicBool,
}

impl Looks<'_> {
    fn run(
        &self,
        detector: &mut Detector,
        line: &mut JournaledLine,
        views: SyncSender<View>,
    ) -> anyhow::Result<()> {
        let mut commands = Vec::new();
        let mut detections = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            let mut seen = None;
            let event = match self.inbox.take(TICK) {
                Some(Input::Frame { frame, dropped }) => {
                    let image = &frame.image;
                    let view = RgbView::new(image, image.width(), image.height())?;
                    detector.detect(&view, &mut detections);
                    self.observe(|o| o.framed(dropped));
                    let captured_us = frame.captured_us;
                    seen = Some(frame);
                    Event::Frame {
                        t_us: self.clock.now_us(),
                        captured_us,
                        detections: std::mem::take(&mut detections),
                    }
                }
                Some(Input::Event(event)) => event,
                None => Event::Tick {
                    t_us: self.clock.now_us(),
                },
            };
            line.handle(&event, &mut commands);
            self.observe(|o| {
                self.moved.try_iter().for_each(|m| o.switched(&m));
                commands.iter().for_each(|c| o.commanded(c));
            });
            for command in commands.drain(..) {
                self.obey(command, seen.as_ref(), &views)?;
            }
            if let Event::Frame { detections: d, .. } = event {
                detections = d;
            }
            if let Some(frame) = seen {
                self.inbox.give_back(frame);
            }
        }
        Ok(())
    }

    fn obey(
        &self,
        command: Command,
        frame: Option<&Arc<Frame>>,
        views: &SyncSender<View>,
    ) -> anyhow::Result<()> {
        match command {
            Command::Classify { track, area, .. } => {
                let Some(frame) = frame else {
                    bail!("a view was asked for without its frame");
                };
                let frame = Arc::clone(frame);
                let view = View { track, frame, area };
                if views.try_send(view).is_err() {
                    bail!("the classifier does not take any more views");
                }
            }
            Command::Fire {
                gate,
                on_us,
                off_us,
            } => self.switchboard.fire(gate, on_us, off_us)?,
            Command::AllOff { .. } => self.switchboard.all_off(),
            Command::Decided { .. } | Command::Ended { .. } => {}
        }
        Ok(())
    }

    fn observe(&self, tell: impl FnOnce(&mut dyn Observer)) {
        let mut observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        tell(&mut *observer);
    }
}

#[cfg(test)]
mod tests;
