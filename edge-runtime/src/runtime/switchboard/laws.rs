//! What holds for gates of every kind, whatever is fired and however late the thread comes to it.

use super::*;
use crate::actuate::recorded::{GateEdge, RecordedPin};
use crate::actuate::{Actuator, BoardGates, Paddle, Pulse, Servo, Stepper};
use embedded_hal::digital::OutputPin as _;
use embedded_hal::pwm::{ErrorType, SetDutyCycle};
use proptest::prelude::*;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

/// Gates, and the pins of their outputs.
const PULSE: usize = 0;
const PADDLE: usize = 1;
const STEPPER: usize = 2;
const SERVO: usize = 3;
const PADDLE_PINS: [usize; 2] = [1, 2];
const STEP: usize = 3;
const DIRECTION: usize = 4;
/// Behind the motor's enable line.
const LONG_PULSE: usize = 6;
const PINS: usize = 7;

const MAX_ON_US: i64 = 10_000;
const STROKE_US: i64 = 4_000;
const STEPS: u32 = 6;
const STEP_HZ: f64 = 1_000.0;
/// The thread comes round so often at the best.
const ROUND_US: i64 = 100;
const END_US: i64 = 200_000;

/// A channel that is high while its pulse is long.
struct Channel(RecordedPin);

impl ErrorType for Channel {
    type Error = Infallible;
}

impl SetDutyCycle for Channel {
    fn max_duty_cycle(&self) -> u16 {
        20_000
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), Infallible> {
        assert!([1_000, 2_000].contains(&duty), "closed or open: {duty}");
        self.0.set_state((duty == 2_000).into())
    }
}

/// Time passes when the gates' thread comes round; now and then much of it, for want of a processor.
struct Passing<'a> {
    gates: BoardGates,
    clock: Clock,
    pauses_us: std::iter::Cycle<std::vec::IntoIter<i64>>,
    stop: &'a AtomicBool,
}

impl Gates for Passing<'_> {
    fn set(&mut self, gate: usize, on: bool) -> Result<(), GateError> {
        self.gates.set(gate, on)
    }

    fn is_on(&mut self, gate: usize) -> Result<bool, GateError> {
        self.gates.is_on(gate)
    }

    fn all_off(&mut self) -> Result<(), GateError> {
        self.gates.all_off()
    }

    fn run_belt(&mut self, on: bool) -> Result<(), GateError> {
        self.gates.run_belt(on)
    }

    fn advance(&mut self, now_us: i64) -> Result<Option<i64>, GateError> {
        let next_us = self.gates.advance(now_us)?;
        let now_us = now_us + ROUND_US + self.pauses_us.next().unwrap_or(0);
        self.clock.set(now_us);
        self.stop.fetch_or(now_us > END_US, Ordering::AcqRel);
        // It wants to be called again at once, except when all has come to its end.
        let over = self.stop.load(Ordering::Acquire) && next_us.is_none();
        Ok((!over).then_some(now_us))
    }
}

fn board(clock: &Clock) -> (BoardGates, std::sync::mpsc::Receiver<GateEdge>) {
    let (pins, edges) = RecordedPin::row(PINS, clock);
    let mut pins = pins.into_iter();
    let mut pin = || pins.next().unwrap();
    let pulse = Pulse::new(pin());
    let paddle = Paddle::new(pin(), pin(), STROKE_US);
    let stepper = Stepper::new(pin(), pin(), Some(pin()), STEPS, STEP_HZ);
    let servo = Servo::new(Channel(pin()), (1_000.0, 2_000.0), 20_000.0).unwrap();
    let actuators: Vec<Box<dyn Actuator>> = vec![
        Box::new(pulse),
        Box::new(paddle),
        Box::new(stepper),
        Box::new(servo),
    ];
    (BoardGates::new(actuators, None), edges)
}

/// For how long each pin was on each time.
fn on_times(edges: &[GateEdge]) -> Vec<(usize, i64)> {
    let mut since = [None; PINS];
    let mut times = Vec::new();
    for edge in edges {
        match (edge.on, since[edge.gate].take()) {
            (true, _) => since[edge.gate] = Some(edge.t_us),
            (false, Some(since_us)) => times.push((edge.gate, edge.t_us - since_us)),
            (false, None) => {}
        }
    }
    assert_eq!(since, {
        // The direction of a motor that is let go means nothing.
        let mut expect = [None; PINS];
        expect[DIRECTION] = since[DIRECTION];
        expect
    });
    times
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_gate_of_any_kind_is_open_beyond_its_longest_time_and_all_end_closed(
        firings in prop::collection::vec((0..4_usize, 200..20_000_i64, 1..40_000_i64), 1..24),
        pauses_us in prop::collection::vec(prop_oneof![20 => Just(0), 1 => 0..3_000_i64], 1..200),
    ) {
        let clock = Clock::virtual_time();
        let stop = AtomicBool::new(false);
        let watch = Watch::new(&stop, &clock);
        let switchboard = Switchboard::new(vec![MAX_ON_US; 4]);
        let mut free_us = [0; 4];
        for (gate, pause_us, on_us) in firings {
            let begin_us = free_us[gate] + pause_us;
            free_us[gate] = begin_us + on_us.min(MAX_ON_US);
            switchboard.fire(gate, begin_us, begin_us + on_us).unwrap();
        }
        let late_us = pauses_us.iter().max().unwrap() + 2 * ROUND_US;
        let (gates, edges) = board(&clock);
        let pauses_us = pauses_us.into_iter().cycle();
        let mut gates = Passing { gates, clock: clock.clone(), pauses_us, stop: &stop };
        let (movements, _moved) = sync_channel(16);
        switchboard.run(&mut gates, &movements, &clock, &watch).unwrap();
        let edges: Vec<_> = edges.try_iter().collect();
        for (pin, us) in on_times(&edges) {
            let longest_us = match pin {
                PULSE | LONG_PULSE => MAX_ON_US,
                STEP => 500,
                _ if PADDLE_PINS.contains(&pin) => STROKE_US,
                // The motor is held while it is open, and on its ways there and back.
                _ => continue,
            };
            prop_assert!(us <= longest_us + late_us, "pin {} for {} us", pin, us);
        }
        let (mut at, mut towards) = (0_i64, -1);
        let mut last_us = None;
        for edge in &edges {
            match (edge.gate, edge.on) {
                (DIRECTION, opens) => towards = if opens { 1 } else { -1 },
                (STEP, true) => {
                    at += towards;
                    prop_assert!((0..=i64::from(STEPS)).contains(&at));
                    let since_us = last_us.replace(edge.t_us).map_or(i64::MAX, |t| edge.t_us - t);
                    prop_assert!(since_us >= 1_000, "{} us from step to step", since_us);
                }
                _ => {}
            }
        }
        prop_assert_eq!(at, 0, "the motor is back");
        for gate in [PULSE, PADDLE, STEPPER, SERVO] {
            prop_assert_eq!(gates.is_on(gate), Ok(false));
        }
    }
}
