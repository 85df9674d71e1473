use super::*;
use crate::actuate::recorded::RecordedPin;
use crate::actuate::{BoardGates, GateError};
use crate::line::Routes;
use crate::line::detect::DetectorConfig;
use crate::line::{Line, LineConfig};
use crate::recognise::{NoScores, Nobody};
use crate::sense::{NoSensors, SensorError};
use boards::{Destination, MotionSource, Profile};

#[derive(Default)]
struct Silent {
    frames: u64,
}

impl Observer for Silent {
    fn commanded(&mut self, _: &Command) {}
    fn switched(&mut self, _: &Movement) {}
    fn left_out(&mut self, _: u64) {}
    fn computed(&mut self, _: i64) {}
    fn framed(&mut self, dropped: u64) {
        self.frames += 1 + dropped;
    }
    fn failed(&mut self, _: &NoScores) {}
}

/// Gives so many grey frames, then what it is told to.
struct Script {
    frames: u32,
    then: fn() -> CaptureError,
}

impl FrameSource for Script {
    fn next_frame(&mut self, frame: &mut Frame, timeout: Duration) -> Result<(), CaptureError> {
        if self.frames == 0 {
            return match (self.then)() {
                CaptureError::TimedOut(_) => {
                    std::thread::sleep(timeout);
                    Err(CaptureError::TimedOut(timeout))
                }
                other => Err(other),
            };
        }
        self.frames -= 1;
        frame.image = image::RgbImage::from_pixel(64, 48, image::Rgb([80; 3]));
        frame.captured_us = Clock::Monotonic.now_us();
        Ok(())
    }
}

fn run(then: fn() -> CaptureError, stop: &AtomicBool) -> (anyhow::Result<()>, u64) {
    let categories = ["a".to_owned()];
    let board = Profile::simulated(&categories, 400.0, MotionSource::Fixed).unwrap();
    let routes = Routes::plain(&[Destination::Gate(0)], 0.0, Destination::PassThrough);
    let (pins, _edges) = RecordedPin::row(1, &Clock::Monotonic);
    let observer = Mutex::new(Silent::default());
    let runtime = Runtime {
        source: &mut Script { frames: 20, then },
        sensors: &mut NoSensors,
        gates: &mut BoardGates::of_pins(pins),
        max_on_us: vec![1],
        max_loss_us: 5_000_000,
        keepers: &mut [],
        detector: Detector::new(DetectorConfig::new([1.0, 1.0], board.belt().direction)),
        line: JournaledLine::new(Line::new(LineConfig::new(&board, routes)), None),
        recognise: &mut Nobody,
        observer: &observer,
        clock: Clock::Monotonic,
    };
    let result = runtime.run(stop);
    let frames = observer.lock().unwrap().frames;
    (result, frames)
}

#[test]
fn it_ends_with_its_frames() {
    let (result, frames) = run(|| CaptureError::Finished, &AtomicBool::new(false));
    assert!(result.is_ok());
    assert!(frames <= 20);
}

#[test]
fn a_camera_that_fails_ends_it_with_the_reason() {
    let fail = || CaptureError::Failed("unplugged".to_owned());
    let (result, _) = run(fail, &AtomicBool::new(false));
    assert!(result.unwrap_err().to_string().contains("unplugged"));
}

#[test]
fn a_panic_in_a_thread_ends_it() {
    let (result, _) = run(|| panic!("on purpose"), &AtomicBool::new(false));
    assert!(result.unwrap_err().to_string().contains("broke down"));
}

#[test]
fn a_stop_from_outside_ends_it() {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            stop.store(true, Ordering::Release);
        });
        let (result, _) = run(|| CaptureError::TimedOut(Duration::ZERO), &stop);
        assert!(result.is_ok());
    });
}

#[test]
fn firings_are_cut_to_the_longest_time_and_end_in_the_safe_state() {
    let clock = Clock::Monotonic;
    let switchboard = Switchboard::new(vec![20_000, 60_000_000]);
    let (pins, edges) = RecordedPin::row(2, &clock);
    let stop = AtomicBool::new(false);
    let watch = Watch::new(&stop, &clock);
    let (movements, moved) = sync_channel(16);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut gates = BoardGates::of_pins(pins);
            switchboard.run(&mut gates, &movements, &clock, &watch)
        });
        let now_us = clock.now_us();
        switchboard
            .fire(0, now_us + 10_000, now_us + 5_000_000)
            .unwrap();
        switchboard
            .fire(1, now_us + 10_000, now_us + 50_000_000)
            .unwrap();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(edges.recv().unwrap());
        }
        stop.store(true, Ordering::Release);
        switchboard.wake();
        seen.push(edges.recv().unwrap());
        let order: Vec<_> = seen.iter().map(|e| (e.gate, e.on)).collect();
        assert_eq!(order, [(0, true), (1, true), (0, false), (1, false)]);
        assert!(seen[0].t_us >= now_us + 10_000);
        assert!(seen[2].t_us >= now_us + 30_000);
        let moved: Vec<Movement> = moved.try_iter().collect();
        assert_eq!(
            moved.len(),
            3,
            "what is switched off in the end was not planned: {moved:?}"
        );
        for movement in moved {
            assert!(movement.planned_us <= movement.actual_us);
            assert!(movement.actual_us <= movement.read_back_us);
        }
    });
}

/// A pin that is slow, as a thread is that gets no CPU.
struct Slow<P>(P);

impl<P: embedded_hal::digital::ErrorType> embedded_hal::digital::ErrorType for Slow<P> {
    type Error = P::Error;
}

impl<P: embedded_hal::digital::OutputPin> embedded_hal::digital::OutputPin for Slow<P> {
    fn set_low(&mut self) -> Result<(), P::Error> {
        self.0.set_low()
    }

    fn set_high(&mut self) -> Result<(), P::Error> {
        std::thread::sleep(Duration::from_millis(100));
        self.0.set_high()
    }
}

impl<P: embedded_hal::digital::StatefulOutputPin> embedded_hal::digital::StatefulOutputPin
    for Slow<P>
{
    fn is_set_high(&mut self) -> Result<bool, P::Error> {
        self.0.is_set_high()
    }

    fn is_set_low(&mut self) -> Result<bool, P::Error> {
        self.0.is_set_low()
    }
}

#[test]
fn a_firing_that_is_over_before_it_can_begin_is_left_out() {
    let clock = Clock::Monotonic;
    let switchboard = Switchboard::new(vec![60_000_000; 3]);
    let (pins, edges) = RecordedPin::row(3, &clock);
    let stop = AtomicBool::new(false);
    let watch = Watch::new(&stop, &clock);
    let (movements, _moved) = sync_channel(16);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut gates = BoardGates::of_pins(pins.into_iter().map(Slow).collect());
            switchboard.run(&mut gates, &movements, &clock, &watch)
        });
        let now_us = clock.now_us() + 50_000;
        // While the first is being switched on, the second is over, and the third's end is not.
        for (gate, on_us, off_us) in [(0, 0, 900_000), (1, 10_000, 20_000), (2, 10_000, 800_000)] {
            switchboard
                .fire(gate, now_us + on_us, now_us + off_us)
                .unwrap();
        }
        let seen: Vec<_> = (0..4).map(|_| edges.recv().unwrap()).collect();
        let order: Vec<_> = seen.iter().map(|e| (e.gate, e.on)).collect();
        assert_eq!(order, [(0, true), (2, true), (2, false), (0, false)]);
        assert_eq!(switchboard.left_out(), 1);
        stop.store(true, Ordering::Release);
        switchboard.wake();
    });
}

#[test]
fn the_emergency_stop_does_not_wait_for_the_line() {
    let clock = Clock::Monotonic;
    let switchboard = Switchboard::new(vec![60_000_000]);
    let inbox = Inbox::new();
    let (pins, edges) = RecordedPin::row(1, &clock);
    let (movements, _moved) = sync_channel(16);
    let stop = AtomicBool::new(false);
    let watch = Watch::new(&stop, &clock);
    let halt = Halt::new(&inbox, &switchboard);
    let now_us = clock.now_us();
    let off_us = now_us + 50_000_000;
    switchboard.fire(0, now_us + 1_000, off_us).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut gates = BoardGates::of_pins(pins);
            switchboard.run(&mut gates, &movements, &clock, &watch)
        });
        assert!(edges.recv().unwrap().on);
        let mut sensors = Said(vec![Event::Stop { t_us: now_us }]);
        let result = sense(&mut sensors, &inbox, &halt, &watch);
        assert!(result.is_err(), "a sensor that is broken ends everything");
        // Nobody takes anything from the inbox, and the gate is off all the same.
        let edge = edges.recv().unwrap();
        assert!(!edge.on && edge.t_us < off_us, "{edge:?}");
        stop.store(true, Ordering::Release);
        switchboard.wake();
    });
    assert!(matches!(
        inbox.take(Duration::ZERO),
        Some(Input {
            event: Event::Stop { .. },
            frame: None
        })
    ));
}

/// Says what it was given, and then that it is broken.
struct Said(Vec<Event>);

impl Sensors for Said {
    fn poll(&mut self, _: Duration, events: &mut Vec<Event>) -> Result<(), SensorError> {
        if self.0.is_empty() {
            return Err(SensorError("broken".to_owned()));
        }
        events.append(&mut self.0);
        Ok(())
    }
}

/// A pin that is stuck.
struct Stuck;

impl embedded_hal::digital::ErrorType for Stuck {
    type Error = std::convert::Infallible;
}

impl embedded_hal::digital::OutputPin for Stuck {
    fn set_low(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl embedded_hal::digital::StatefulOutputPin for Stuck {
    fn is_set_high(&mut self) -> Result<bool, Self::Error> {
        Ok(false)
    }

    fn is_set_low(&mut self) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

#[test]
fn an_output_that_is_not_what_it_was_set_to_ends_everything() {
    let clock = Clock::Monotonic;
    let switchboard = Switchboard::new(vec![20_000]);
    let (movements, _moved) = sync_channel(16);
    switchboard
        .fire(0, clock.now_us(), clock.now_us() + 1_000)
        .unwrap();
    let mut gates = BoardGates::of_pins(vec![Stuck]);
    let stop = AtomicBool::new(false);
    let watch = Watch::new(&stop, &clock);
    let result = switchboard.run(&mut gates, &movements, &clock, &watch);
    assert_eq!(result, Err(GateError::Contradicts { gate: 0, on: true }));
}

#[test]
fn a_flood_of_firings_is_refused() {
    let switchboard = Switchboard::new(vec![1000]);
    let results = (0..1000).map(|n| switchboard.fire(0, n * 10_000, n * 10_000 + 5));
    assert_eq!(results.filter(Result::is_ok).count(), 128);
}

#[test]
fn the_belt_runs_when_nobody_objects_and_ends_off() {
    use crate::actuate::{Actuator, Pulse};
    let clock = Clock::Monotonic;
    let (switchboard, inbox) = (Switchboard::new(Vec::new()), Inbox::new());
    let halt = Halt::new(&inbox, &switchboard);
    let (mut pins, edges) = RecordedPin::row(1, &clock);
    let belt: Box<dyn Actuator> = Box::new(Pulse::new(pins.remove(0)));
    let (movements, _moved) = sync_channel(16);
    let stop = AtomicBool::new(false);
    let watch = Watch::new(&stop, &clock);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut gates = BoardGates::new(Vec::new(), Some(belt));
            switchboard.run(&mut gates, &movements, &clock, &watch)
        });
        let quiet = || edges.recv_timeout(Duration::from_millis(100)).is_err();
        let switched = || edges.recv().unwrap().on;
        halt.release(Cause::EmergencyStop, 0);
        assert!(quiet(), "there is no picture yet");
        halt.release(Cause::NoPicture, 0);
        assert!(switched());
        halt.stop(Cause::EmergencyStop, 1);
        assert!(!switched());
        halt.stop(Cause::NoPicture, 2);
        halt.release(Cause::EmergencyStop, 3);
        assert!(quiet(), "one of two causes is left");
        halt.release(Cause::NoPicture, 4);
        assert!(switched());
        stop.store(true, Ordering::Release);
        switchboard.wake();
        assert!(!switched(), "the end is a safe state");
    });
    let told = std::iter::from_fn(|| inbox.take(Duration::ZERO));
    let told: Vec<(bool, i64)> = told
        .map(|input| {
            (
                matches!(input.event, Event::Stop { .. }),
                input.event.t_us(),
            )
        })
        .collect();
    assert_eq!(told, [(false, 0), (true, 1), (true, 2), (false, 4)]);
}

/// Gives a frame, then none for a while, then one again, then no more.
struct Gap {
    calls: u32,
}

impl FrameSource for Gap {
    fn next_frame(&mut self, frame: &mut Frame, timeout: Duration) -> Result<(), CaptureError> {
        self.calls += 1;
        match self.calls {
            1 | 6 => {
                frame.captured_us = Clock::Monotonic.now_us();
                Ok(())
            }
            2..6 => {
                std::thread::sleep(timeout);
                Err(CaptureError::TimedOut(timeout))
            }
            _ => Err(CaptureError::Finished),
        }
    }
}

#[test]
fn without_a_picture_for_too_long_everything_stops_until_there_is_one() {
    let clock = Clock::Monotonic;
    let (switchboard, inbox) = (Switchboard::new(Vec::new()), Inbox::new());
    let halt = Halt::new(&inbox, &switchboard);
    halt.release(Cause::EmergencyStop, 0);
    let stop = AtomicBool::new(false);
    let watch = Watch::new(&stop, &clock);
    let frames = Frames::new(FRAMES);
    let camera = Camera {
        frames: &frames,
        inbox: &inbox,
        halt: &halt,
        clock: &clock,
        max_loss_us: 250_000,
    };
    camera.run(&mut Gap { calls: 0 }, &watch).unwrap();
    let told = std::iter::from_fn(|| inbox.take(Duration::ZERO));
    let told: Vec<&str> = told
        .map(|input| match input.event {
            Event::Stop { .. } => "stop",
            Event::Resume { .. } => "resume",
            _ => "other",
        })
        .collect();
    assert_eq!(told, ["resume", "stop", "resume"]);
}
