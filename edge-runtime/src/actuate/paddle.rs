//! A paddle with two positions, driven into each by an output of its own.

use super::{Actuator, set_pin};
use embedded_hal::digital::StatefulOutputPin;

/// At most one of the outputs is on, for the time of a stroke. It begins with a stroke that closes it.
pub(crate) struct Paddle<P> {
    open: P,
    close: P,
    stroke_us: i64,
    is_open: bool,
    stroke: Stroke,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stroke {
    /// Its output is to be switched on.
    Due,
    /// Its output is on; since when is seen at the next step.
    Begun,
    /// Its output is on until then.
    Until(i64),
    Done,
}

impl<P: StatefulOutputPin + Send> Paddle<P> {
    pub(crate) fn new(open: P, close: P, stroke_us: i64) -> Self {
        Self {
            open,
            close,
            stroke_us,
            is_open: false,
            stroke: Stroke::Due,
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        let (on, off) = match self.is_open {
            true => (&mut self.open, &mut self.close),
            false => (&mut self.close, &mut self.open),
        };
        set_pin(off, false)?;
        set_pin(on, true)?;
        self.stroke = Stroke::Begun;
        Ok(())
    }
}

impl<P: StatefulOutputPin + Send> Actuator for Paddle<P> {
    fn set(&mut self, open: bool) -> Result<(), String> {
        if self.is_open == open && self.stroke != Stroke::Due {
            return Ok(());
        }
        self.is_open = open;
        self.begin()
    }

    /// Read back while a stroke lasts; afterwards what it was for.
    fn is_open(&mut self) -> Result<bool, String> {
        if self.stroke == Stroke::Done {
            return Ok(self.is_open);
        }
        self.open.is_set_high().map_err(|e| format!("{e:?}"))
    }

    fn advance(&mut self, now_us: i64) -> Result<Option<i64>, String> {
        if self.stroke == Stroke::Due {
            self.begin()?;
        }
        if self.stroke == Stroke::Begun {
            self.stroke = Stroke::Until(now_us + self.stroke_us);
        }
        match self.stroke {
            Stroke::Until(end_us) if end_us <= now_us => {
                set_pin(&mut self.open, false)?;
                set_pin(&mut self.close, false)?;
                self.stroke = Stroke::Done;
                Ok(None)
            }
            Stroke::Until(end_us) => Ok(Some(end_us)),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::RecordedPin;
    use super::*;
    use crate::clock::Clock;
    use proptest::prelude::*;

    const STROKE_US: i64 = 60;

    /// Runs `orders` (a time and whether to open); the edges as (output, on, time), 0 opens and 1 closes.
    fn edges(orders: &[(i64, bool)]) -> Vec<(usize, bool, i64)> {
        let clock = Clock::virtual_time();
        let (mut pins, edges) = RecordedPin::row(2, &clock);
        let close = pins.pop().unwrap();
        let mut paddle = Paddle::new(pins.pop().unwrap(), close, STROKE_US);
        for now_us in 0..2_000 {
            clock.set(now_us);
            for (_, open) in orders.iter().filter(|(t_us, _)| *t_us == now_us) {
                paddle.set(*open).unwrap();
                assert_eq!(paddle.is_open(), Ok(*open));
            }
            paddle.advance(now_us).unwrap();
        }
        edges.try_iter().map(|e| (e.gate, e.on, e.t_us)).collect()
    }

    #[test]
    fn each_way_is_a_stroke_and_the_first_closes() {
        let expect = [
            (1, true, 0),
            (1, false, 60),
            (0, true, 100),
            (0, false, 160),
            (1, true, 300),
            (1, false, 360),
        ];
        assert_eq!(edges(&[(100, true), (300, false)]), expect);
    }

    #[test]
    fn a_stroke_is_cut_by_the_next() {
        let seen = edges(&[(100, true), (130, false)]);
        assert_eq!(
            seen[2..],
            [
                (0, true, 100),
                (0, false, 130),
                (1, true, 130),
                (1, false, 190)
            ]
        );
    }

    proptest! {
        #[test]
        fn never_both_outputs_and_none_longer_than_a_stroke(
            orders in prop::collection::vec((0i64..1_500, any::<bool>()), 0..40),
        ) {
            let mut since = [None; 2];
            for (output, on, t_us) in edges(&orders) {
                if let Some(since_us) = since[output].replace(t_us).filter(|_| !on) {
                    prop_assert!(t_us - since_us <= STROKE_US);
                }
                if !on {
                    since[output] = None;
                }
                prop_assert!(since[0].is_none() || since[1].is_none());
            }
            prop_assert_eq!(since, [None; 2]);
        }
    }
}
