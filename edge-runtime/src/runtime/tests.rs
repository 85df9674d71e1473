use super::*;
use crate::actuate::PinGates;
use crate::actuate::recorded::RecordedPin;
use crate::line::LineConfig;
use crate::line::Routes;
use crate::line::detect::DetectorConfig;
use crate::recognise::Nobody;
use boards::Profile;

#[derive(Default)]
struct Silent {
    frames: u64,
}

impl Observer for Silent {
    fn commanded(&mut self, _: &Command) {}
    fn switched(&mut self, _: i64) {}
    fn computed(&mut self, _: i64) {}
    fn framed(&mut self, dropped: u64) {
        self.frames += 1 + dropped;
    }
    fn failed(&mut self, _: &str) {}
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
    let board = Profile::simulated(&categories, 400.0).unwrap();
    let routes = Routes::new(&board, &categories, &[0.0]).unwrap();
    let (pins, _edges) = RecordedPin::row(1, &Clock::Monotonic);
    let observer = Mutex::new(Silent::default());
    let runtime = Runtime {
        source: &mut Script { frames: 20, then },
        gates: &mut PinGates::new(pins),
        max_on_us: vec![1],
        detector: Detector::new(DetectorConfig::new([1.0, 1.0], board.belt().direction)),
        line: Line::new(LineConfig::new(&board, routes)),
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
    let observer = Mutex::new(Silent::default());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut gates = PinGates::new(pins);
            switchboard.run(&mut gates, &observer, &clock, &stop)
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
    });
}

#[test]
fn a_flood_of_firings_is_refused() {
    let switchboard = Switchboard::new(vec![1000]);
    let results = (0..1000).map(|n| switchboard.fire(0, n * 10_000, n * 10_000 + 5));
    assert_eq!(results.filter(Result::is_ok).count(), 128);
}
