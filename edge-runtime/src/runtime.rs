//! Runs the line in real time: threads around the pure state machine.
//!
//! ```text
//! capture ──newest frame──▶ detector ──▶ line ──views──▶ classifier
//!                                        ▲ │                │
//!                                        │ └──firings──▶ gates
//!                                        ├──────scores──────┘
//!                          sensors ──────┘
//! ```
//!
//! - The newest frame wins: a frame that has not been looked at when the next comes is dropped and
//!   counted. Views wait in a queue of two, which the line itself never overfills.
//! - The line's thread does nothing that takes long, so that firings are released in time however
//!   long detecting and classifying take.
//! - Gates are switched at absolute times by a thread that does nothing else, and that switches a
//!   gate off after its longest time whatever the line says.
//! - A thread of its own sees whether the others make progress, and tells the keepers: the outputs'
//!   guardian, systemd, a watchdog.
//! - When anything ends (a signal, an error, a panic in any thread), everything ends, and the gates
//!   are switched off first.

mod frames;
mod halt;
mod inbox;
pub(crate) mod realtime;
pub(crate) mod switchboard;
pub(crate) mod watch;

use crate::actuate::Gates;
use crate::capture::{CaptureError, Frame, FrameSource};
use crate::clock::Clock;
use crate::journal::JournaledLine;
use crate::keeper::Keeper;
use crate::line::detect::Detector;
use crate::line::geometry::PixelBox;
use crate::line::{Command, Event};
use crate::observe::Observer;
use crate::recognise::Recognise;
use crate::sense::Sensors;
use crate::timing::Movement;
use anyhow::{anyhow, bail};
use frames::Frames;
use halt::{Cause, Halt};
use inbox::{Inbox, Input};
use models::RgbView;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard::Switchboard;
use watch::{Part, Watch};

/// What runs.
pub(crate) struct Runtime<'a> {
    pub(crate) source: &'a mut dyn FrameSource,
    pub(crate) sensors: &'a mut dyn Sensors,
    pub(crate) gates: &'a mut dyn Gates,
    /// Longest time each gate may be on.
    pub(crate) max_on_us: Vec<i64>,
    /// Without a picture for longer than this, everything stops.
    pub(crate) max_loss_us: i64,
    /// Who is told that all is well.
    pub(crate) keepers: &'a mut [Box<dyn Keeper>],
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
/// The detector's thread looks up this often even if no frame comes.
const IDLE: Duration = Duration::from_millis(100);
/// Without a frame for this long the camera counts as lost: with the wait for a frame, within a second.
const CAMERA_TIMEOUT_US: i64 = 900_000;
const FRAME_WAIT: Duration = Duration::from_millis(100);
/// Views that wait to be classified or are being classified.
const VIEWS: usize = 2;
/// Frames in use at the same time at the most: one being taken, one waiting, one being looked at, one
/// waiting for the line, one in the line, and those whose views are being classified.
const FRAMES: usize = 5 + VIEWS;

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
    frames: &'a Frames,
    inbox: &'a Inbox,
    switchboard: &'a Switchboard,
}

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.switchboard.wake();
        self.frames.wake();
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
            max_loss_us,
            keepers,
            mut detector,
            mut line,
            recognise,
            observer,
            clock,
        } = self;
        let frames = Frames::new(FRAMES);
        let inbox = Inbox::new();
        let switchboard = Switchboard::new(max_on_us);
        let (views, views_in) = sync_channel(VIEWS);
        let (movements, moved) = sync_channel(MOVEMENTS);
        note(realtime::lock_memory());
        let end = &|| EndAll {
            stop,
            frames: &frames,
            inbox: &inbox,
            switchboard: &switchboard,
        };
        let watch = Watch::new(stop, &clock);
        let halt = Halt::new(&inbox, &switchboard);
        let line_loop = LineLoop {
            moved,
            frames: &frames,
            inbox: &inbox,
            switchboard: &switchboard,
            observer,
            clock: &clock,
            watch: &watch,
        };
        std::thread::scope(|scope| {
            let (switchboard, clock) = (&switchboard, &clock);
            let (frames, inbox, watch, halt) = (&frames, &inbox, &watch, &halt);
            let watch_thread = scope.spawn(move || {
                let _end = end();
                watch.run(keepers)
            });
            let gate_thread = scope.spawn(move || {
                let _end = end();
                note(realtime::enter(realtime::GATES));
                switchboard.run(gates, &movements, clock, watch)
            });
            let capture_thread = scope.spawn(|| {
                let _end = end();
                let camera = Camera {
                    frames,
                    inbox,
                    halt,
                    clock,
                    max_loss_us,
                };
                camera.run(source, watch)
            });
            let detector_thread = scope.spawn(|| {
                let _end = end();
                detect(&mut detector, frames, inbox, observer, clock, watch)
            });
            let sensor_thread = scope.spawn(|| {
                let _end = end();
                sense(sensors, inbox, halt, watch)
            });
            let classifier_thread = scope.spawn(move || {
                let _end = end();
                classify(
                    recognise,
                    &views_in,
                    (frames, inbox),
                    observer,
                    clock,
                    watch,
                );
            });
            // When the line ends it lets go of `views`, which ends the classifier's thread.
            let line_thread = scope.spawn(move || {
                let _end = end();
                // Where it is refused, the gates' thread has said so.
                let _ = realtime::enter(realtime::LINE);
                let result = line_loop.run(&mut line, views);
                if let Err(error) = line.finish() {
                    eprintln!("warning: {error:#}");
                }
                result
            });
            let mut results = vec![
                gate_thread.join().map(|r| r.map_err(Into::into)),
                capture_thread.join(),
                detector_thread.join(),
                sensor_thread.join(),
                classifier_thread.join().map(Ok),
                line_thread.join(),
            ];
            tell(observer, |o| o.left_out(switchboard.left_out()));
            watch.ended();
            watch_thread.thread().unpark();
            results.push(watch_thread.join());
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
    halt: &Halt<'_>,
    watch: &Watch<'_>,
) -> anyhow::Result<()> {
    let mut events = Vec::new();
    let mut begun = false;
    while watch.goes_on(Part::Sensors) {
        sensors.poll(SENSE, &mut events)?;
        if !std::mem::replace(&mut begun, true) {
            // What speaks against it comes with the first news.
            halt.release(Cause::EmergencyStop, watch.now_us());
        }
        for event in events.drain(..) {
            match event {
                Event::Stop { t_us } => halt.stop(Cause::EmergencyStop, t_us),
                Event::Resume { t_us } => halt.release(Cause::EmergencyStop, t_us),
                event => inbox.put(event),
            }
        }
    }
    Ok(())
}

/// What takes the frames.
struct Camera<'a> {
    frames: &'a Frames,
    inbox: &'a Inbox,
    halt: &'a Halt<'a>,
    clock: &'a Clock,
    max_loss_us: i64,
}

impl Camera<'_> {
    fn run(&self, source: &mut dyn FrameSource, watch: &Watch<'_>) -> anyhow::Result<()> {
        let mut last_us = self.clock.now_us();
        let (mut lost, mut halted) = (false, true);
        let (mut first, mut next_sequence) = (true, 0);
        while watch.goes_on(Part::Capture) {
            let mut frame = self.frames.spare();
            let Some(writable) = Arc::get_mut(&mut frame) else {
                bail!("a spare frame is in use");
            };
            match source.next_frame(writable, FRAME_WAIT) {
                Ok(()) => {
                    (last_us, lost) = (self.clock.now_us(), false);
                    // A camera that was opened again counts from the start.
                    let missing = frame.sequence.saturating_sub(next_sequence);
                    next_sequence = frame.sequence + 1;
                    self.frames.put(frame, if first { 0 } else { missing });
                    first = false;
                    if std::mem::take(&mut halted) {
                        self.halt.release(Cause::NoPicture, last_us);
                    }
                }
                Err(CaptureError::TimedOut(_)) => {
                    self.frames.give_back(frame);
                    let t_us = self.clock.now_us();
                    if !lost && t_us - last_us >= CAMERA_TIMEOUT_US {
                        lost = true;
                        self.inbox.put(Event::CameraLost { t_us });
                    }
                    if !halted && t_us - last_us >= self.max_loss_us {
                        halted = true;
                        eprintln!("warning: no picture for too long: everything is switched off");
                        self.halt.stop(Cause::NoPicture, t_us);
                    }
                }
                Err(CaptureError::Finished) => return Ok(()),
                Err(CaptureError::Failed(message)) => bail!("the camera failed: {message}"),
            }
        }
        Ok(())
    }
}

fn detect(
    detector: &mut Detector,
    frames: &Frames,
    inbox: &Inbox,
    observer: &Mutex<dyn Observer>,
    clock: &Clock,
    watch: &Watch<'_>,
) -> anyhow::Result<()> {
    let mut unheard = 0;
    while watch.goes_on(Part::Detector) {
        let Some((frame, dropped)) = frames.take(IDLE) else {
            continue;
        };
        let image = &frame.image;
        let view = RgbView::new(image, image.width(), image.height())?;
        let mut detections = Vec::new();
        detector.detect(&view, &mut detections);
        tell(observer, |o| o.framed(dropped + unheard));
        let event = Event::Frame {
            t_us: clock.now_us(),
            captured_us: frame.captured_us,
            detections,
        };
        let older = inbox.put_seen(event, frame);
        unheard = u64::from(older.is_some());
        older.into_iter().for_each(|frame| frames.give_back(frame));
    }
    Ok(())
}

fn classify(
    recognise: &mut dyn Recognise,
    views: &Receiver<View>,
    (frames, inbox): (&Frames, &Inbox),
    observer: &Mutex<dyn Observer>,
    clock: &Clock,
    watch: &Watch<'_>,
) {
    for view in views {
        watch.goes_on(Part::Classifier);
        let begin_us = clock.now_us();
        let mut scores = Vec::new();
        let result = recognise.scores(&view.frame, view.area, &mut scores);
        let t_us = clock.now_us();
        tell(observer, |o| match result {
            Ok(()) => o.computed(t_us - begin_us),
            Err(why) => o.failed(&why),
        });
        let captured_us = view.frame.captured_us;
        frames.give_back(view.frame);
        inbox.put(Event::Scored {
            t_us,
            track: view.track,
            captured_us,
            scores,
        });
        watch.rests(Part::Classifier);
    }
}

/// The loop in which the line itself runs.
struct LineLoop<'a> {
    moved: Receiver<Movement>,
    frames: &'a Frames,
    inbox: &'a Inbox,
    switchboard: &'a Switchboard,
    observer: &'a Mutex<dyn Observer>,
    clock: &'a Clock,
    watch: &'a Watch<'a>,
}

impl LineLoop<'_> {
    fn run(&self, line: &mut JournaledLine, views: SyncSender<View>) -> anyhow::Result<()> {
        let mut commands = Vec::new();
        while self.watch.goes_on(Part::Line) {
            let Input { event, frame } = self.inbox.take(TICK).unwrap_or_else(|| Input {
                event: Event::Tick {
                    t_us: self.clock.now_us(),
                },
                frame: None,
            });
            line.handle(&event, &mut commands);
            tell(self.observer, |o| {
                for movement in self.moved.try_iter() {
                    line.moved(&movement);
                    o.switched(&movement);
                }
                commands.iter().for_each(|c| o.commanded(c));
            });
            for command in commands.drain(..) {
                self.obey(command, frame.as_ref(), &views)?;
            }
            if let Some(frame) = frame {
                self.frames.give_back(frame);
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
}

fn tell(observer: &Mutex<dyn Observer>, news: impl FnOnce(&mut dyn Observer)) {
    let mut observer = observer.lock().unwrap_or_else(PoisonError::into_inner);
    news(&mut *observer);
}

#[cfg(test)]
mod tests;
