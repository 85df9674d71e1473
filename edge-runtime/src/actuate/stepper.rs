//! A stepper motor behind a driver that takes steps and a direction.

use super::{Actuator, set_pin};
use embedded_hal::digital::OutputPin;

/// Counts its steps from closed, where it must be when the program starts. A motor that loses steps is
/// not noticed: there is nothing to read back.
pub(crate) struct Stepper<P> {
    step: P,
    direction: P,
    enable: Option<P>,
    /// From closed to open.
    steps: u32,
    /// Half of the time from step to step.
    half_us: i64,
    position: u32,
    target: u32,
    high: bool,
    towards_open: Option<bool>,
    next_us: Option<i64>,
}

impl<P: OutputPin + Send> Stepper<P> {
    pub(crate) fn new(step: P, direction: P, enable: Option<P>, steps: u32, steps_hz: f64) -> Self {
        Self {
            step,
            direction,
            enable,
            steps,
            half_us: (500_000.0 / steps_hz).round().max(1.0) as i64,
            position: 0,
            target: 0,
            high: false,
            towards_open: None,
            next_us: None,
        }
    }

    /// It is held where it is open; closed it is let go.
    fn rest(&mut self) -> Result<Option<i64>, String> {
        if self.position == 0
            && let Some(enable) = &mut self.enable
        {
            set_pin(enable, false)?;
        }
        self.next_us = None;
        Ok(None)
    }
}

impl<P: OutputPin + Send> Actuator for Stepper<P> {
    fn set(&mut self, open: bool) -> Result<(), String> {
        self.target = if open { self.steps } else { 0 };
        if self.target != self.position
            && let Some(enable) = &mut self.enable
        {
            set_pin(enable, true)?;
        }
        Ok(())
    }

    /// What it is moving to, or has moved to.
    fn is_open(&mut self) -> Result<bool, String> {
        Ok(self.target != 0)
    }

    fn advance(&mut self, now_us: i64) -> Result<Option<i64>, String> {
        if self.next_us.is_some_and(|next_us| now_us < next_us) {
            return Ok(self.next_us);
        }
        let opens = self.target > self.position;
        if self.high {
            set_pin(&mut self.step, false)?;
            self.high = false;
        } else if self.target == self.position {
            return self.rest();
        } else if self.towards_open != Some(opens) {
            // The direction stands for half a period before the edge that it is for.
            set_pin(&mut self.direction, opens)?;
            self.towards_open = Some(opens);
        } else {
            set_pin(&mut self.step, true)?;
            self.high = true;
            self.position = self
                .position
                .saturating_add_signed(if opens { 1 } else { -1 });
        }
        self.next_us = Some(now_us + self.half_us);
        Ok(self.next_us)
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{GateEdge, RecordedPin};
    use super::*;
    use crate::clock::Clock;
    use proptest::prelude::*;

    const STEPS: u32 = 20;
    const HALF_US: i64 = 500;
    const STEP: usize = 0;
    const DIRECTION: usize = 1;
    const ENABLE: usize = 2;

    /// Runs `orders` (a time and whether to open), called every 100 us; the motor's edges.
    fn edges(orders: &[(i64, bool)]) -> Vec<GateEdge> {
        let clock = Clock::virtual_time();
        let (pins, edges) = RecordedPin::row(3, &clock);
        let mut pins = pins.into_iter();
        let mut pin = || pins.next().unwrap();
        let mut motor = Stepper::new(pin(), pin(), Some(pin()), STEPS, 1000.0);
        for now_us in (0..100_000).step_by(100) {
            clock.set(now_us);
            for (_, open) in orders.iter().filter(|(t_us, _)| *t_us == now_us) {
                motor.set(*open).unwrap();
            }
            motor.advance(now_us).unwrap();
        }
        assert_eq!(motor.advance(200_000), Ok(None), "it has come to rest");
        edges.try_iter().collect()
    }

    /// Where the steps have led, with the furthest places on the way.
    fn travel(edges: &[GateEdge]) -> (i64, i64, i64) {
        let (mut at, mut least, mut most, mut opens) = (0, 0, 0, false);
        for edge in edges {
            match (edge.gate, edge.on) {
                (DIRECTION, on) => opens = on,
                (STEP, true) => at += if opens { 1 } else { -1 },
                _ => {}
            }
            (least, most) = (least.min(at), most.max(at));
        }
        (at, least, most)
    }

    #[test]
    fn it_opens_in_time_and_is_let_go_when_it_is_closed() {
        let opened = edges(&[(1_000, true)]);
        assert_eq!(travel(&opened), (20, 0, 20));
        let last = opened.iter().rfind(|e| e.gate == STEP).unwrap();
        assert!(last.t_us <= 1_000 + 21_000, "20 steps at 1 kHz: {last:?}");
        assert!(!opened.iter().any(|e| e.gate == ENABLE && !e.on));
        let closed = edges(&[(1_000, true), (50_000, false)]);
        assert_eq!(travel(&closed), (0, 0, 20));
        let last = closed.last().unwrap();
        assert_eq!((last.gate, last.on), (ENABLE, false));
    }

    proptest! {
        #[test]
        fn whatever_it_is_told_it_keeps_within_its_way_and_its_speed(
            orders in prop::collection::vec((0i64..600, any::<bool>()), 0..20),
        ) {
            let mut orders: Vec<_> = orders.iter().map(|(t, open)| (t * 100, *open)).collect();
            orders.sort();
            let edges = edges(&orders);
            let (at, least, most) = travel(&edges);
            let expect = i64::from(orders.last().is_some_and(|o| o.1)) * i64::from(STEPS);
            prop_assert_eq!(at, expect);
            prop_assert!(least >= 0 && most <= i64::from(STEPS));
            let moving: Vec<_> = edges.iter().filter(|e| e.gate != ENABLE).collect();
            for pair in moving.windows(2) {
                prop_assert!(pair[1].t_us - pair[0].t_us >= HALF_US, "{:?}", pair);
            }
        }
    }
}
