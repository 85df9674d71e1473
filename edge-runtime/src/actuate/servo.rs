//! A servo, whose position is the length of a pulse.

use super::Actuator;
use embedded_hal::pwm::SetDutyCycle;

/// There is nothing to read back: where the servo really is, nobody knows.
pub(crate) struct Servo<P> {
    pwm: P,
    closed: u16,
    open: u16,
    is_open: bool,
}

impl<P: SetDutyCycle + Send> Servo<P> {
    /// Closes it. `pwm` has a pulse every `period_us`.
    ///
    /// # Errors
    /// When the pulse cannot be set.
    pub(crate) fn new(
        pwm: P,
        (closed_us, open_us): (f64, f64),
        period_us: f64,
    ) -> Result<Self, String> {
        let most = f64::from(pwm.max_duty_cycle());
        let duty = |us: f64| (us / period_us * most).round() as u16;
        let mut servo = Self {
            pwm,
            closed: duty(closed_us),
            open: duty(open_us),
            is_open: false,
        };
        servo.set(false)?;
        Ok(servo)
    }
}

impl<P: SetDutyCycle + Send> Actuator for Servo<P> {
    fn set(&mut self, open: bool) -> Result<(), String> {
        self.is_open = open;
        let duty = if open { self.open } else { self.closed };
        self.pwm.set_duty_cycle(duty).map_err(|e| format!("{e:?}"))
    }

    fn is_open(&mut self) -> Result<bool, String> {
        Ok(self.is_open)
    }

    fn advance(&mut self, _: i64) -> Result<Option<i64>, String> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Writes down the duties.
    struct Duties(Vec<u16>);

    impl embedded_hal::pwm::ErrorType for &mut Duties {
        type Error = Infallible;
    }

    impl SetDutyCycle for &mut Duties {
        fn max_duty_cycle(&self) -> u16 {
            20_000
        }

        fn set_duty_cycle(&mut self, duty: u16) -> Result<(), Infallible> {
            self.0.push(duty);
            Ok(())
        }
    }

    #[test]
    fn its_pulses_are_as_long_as_the_board_says_and_it_begins_closed() {
        let mut duties = Duties(Vec::new());
        let mut servo = Servo::new(&mut duties, (1_000.0, 2_000.0), 20_000.0).unwrap();
        assert_eq!(servo.is_open(), Ok(false));
        servo.set(true).unwrap();
        assert_eq!(servo.is_open(), Ok(true));
        servo.set(false).unwrap();
        assert_eq!(duties.0, [1_000, 2_000, 1_000]);
    }
}
