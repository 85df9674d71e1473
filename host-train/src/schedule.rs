//! The learning rate of every step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate goes over a stage. It always rises linearly first, see
/// [`ScheduleConfig::warmup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    /// Held, then down as half a cosine, from the top again in every cycle (Loshchilov and Hutter,
    /// "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017).
    Cosine,
    /// Down by a factor whenever validation stops getting better.
    Plateau,
    /// The same throughout.
    Constant,
}

/// Settings of a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScheduleConfig {
    /// Highest learning rate.
    pub(crate) lr: f64,
    /// Lowest learning rate, as a part of the highest.
    pub(crate) lr_floor: f64,
    /// Part of the stage's steps in which it rises from nothing.
    pub(crate) warmup: f64,
    pub(crate) schedule: Shape,
    /// Cosine: part of the steps after the warm-up in which it is held before it falls.
    pub(crate) hold: f64,
    /// Cosine: how often it falls, in equal times.
    pub(crate) cycles: u32,
    /// Plateau: epochs without a lower validation loss that are waited for.
    pub(crate) plateau_patience: u32,
    /// Plateau: factor of the learning rate then.
    pub(crate) plateau_factor: f64,
}

/// A validation loss is lower than another one if it is so by this part of it.
const PLATEAU_THRESHOLD: f64 = 1e-4;

impl ScheduleConfig {
    /// Warm-up and one cosine.
    pub(crate) fn cosine(lr: f64, warmup: f64) -> ScheduleConfig {
        ScheduleConfig {
            lr,
            lr_floor: 0.0,
            warmup,
            schedule: Shape::Cosine,
            hold: 0.0,
            cycles: 1,
            plateau_patience: 5,
            plateau_factor: 0.5,
        }
    }

    /// The learning rate of `step` in `0..steps`, after epochs with these validation losses.
    pub(crate) fn learning_rate(&self, step: u64, steps: u64, losses: &[f64]) -> f64 {
        let position = (step as f64 + 1.0) / steps.max(1) as f64;
        if position < self.warmup {
            return self.lr * position / self.warmup;
        }
        let rest = (position - self.warmup) / (1.0 - self.warmup).max(f64::MIN_POSITIVE);
        let part = match self.schedule {
            Shape::Constant => 1.0,
            Shape::Plateau => self.plateau_factor.powi(self.reductions(losses)),
            Shape::Cosine => self.cosine_part(rest.min(1.0)),
        };
        self.lr * part.max(self.lr_floor)
    }

    /// The part of the highest learning rate at `rest` in `0..=1` of the time after the warm-up.
    fn cosine_part(&self, rest: f64) -> f64 {
        let falling = ((rest - self.hold) / (1.0 - self.hold).max(f64::MIN_POSITIVE)).max(0.0);
        let cycles = f64::from(self.cycles) * falling;
        // The last step of a cycle is its lowest one, not the top of the next.
        let place = if cycles > 0.0 {
            cycles - ((cycles - 1e-9).ceil() - 1.0)
        } else {
            0.0
        };
        self.lr_floor + (1.0 - self.lr_floor) * 0.5 * (1.0 + (PI * place).cos())
    }

    /// How often the learning rate was lowered in epochs with these losses.
    fn reductions(&self, losses: &[f64]) -> i32 {
        let (mut best, mut waited, mut reductions) = (f64::INFINITY, 0, 0);
        for &loss in losses {
            if loss < best * (1.0 - PLATEAU_THRESHOLD) {
                (best, waited) = (loss, 0);
            } else {
                waited += 1;
            }
            if waited > self.plateau_patience {
                (waited, reductions) = (0, reductions + 1);
            }
        }
        reductions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates(config: &ScheduleConfig, steps: u64) -> Vec<f64> {
        let rate = |step| config.learning_rate(step, steps, &[]);
        (0..steps).map(rate).collect()
    }

    #[test]
    fn warm_up_hold_and_cosine_are_the_formulas() {
        let config = ScheduleConfig {
            lr_floor: 0.1,
            hold: 0.25,
            ..ScheduleConfig::cosine(2.0, 0.2)
        };
        let rates = rates(&config, 1000);
        for (step, &rate) in rates.iter().enumerate() {
            let done = step as f64 + 1.0;
            let expected = match done {
                done if done < 200.0 => 2.0 * done / 200.0,
                done if done < 400.0 => 2.0,
                done => 0.2 + 1.8 * (1.0 + (PI * (done - 400.0) / 600.0).cos()) / 2.0,
            };
            assert!((rate - expected).abs() < 1e-9, "{step}: {rate} {expected}");
        }
        assert!((rates[999] - 0.2).abs() < 1e-9);
    }

    #[test]
    fn every_cycle_falls_from_the_top_to_the_floor() {
        let config = ScheduleConfig {
            cycles: 4,
            ..ScheduleConfig::cosine(1.0, 0.0)
        };
        for (step, &rate) in rates(&config, 400).iter().enumerate() {
            let within = (step % 100) as f64 + 1.0;
            let expected = (1.0 + (PI * within / 100.0).cos()) / 2.0;
            assert!((rate - expected).abs() < 1e-9, "{step}: {rate} {expected}");
        }
    }

    /// The rates that PyTorch 2.15's ReduceLROnPlateau gives for these losses.
    #[test]
    fn a_plateau_lowers_the_rate_when_pytorch_does() {
        let config = ScheduleConfig {
            schedule: Shape::Plateau,
            plateau_patience: 2,
            ..ScheduleConfig::cosine(1.0, 0.0)
        };
        let losses = [
            1.0, 0.9, 0.95, 0.9, 0.91, 0.92, 0.8, 0.85, 0.8, 0.8, 0.8, 0.79, 0.8, 0.8, 0.8,
        ];
        let expected = [
            1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.125,
        ];
        for epochs in 0..losses.len() {
            let rate = config.learning_rate(10, 100, &losses[..=epochs]);
            assert_eq!(rate, expected[epochs], "after {epochs}");
        }
    }

    proptest! {
        #[test]
        fn rates_stay_between_floor_and_top(
            lr_floor in 0.0..1.0, warmup in 0.0..1.0, hold in 0.0..1.0, cycles in 1u32..9,
            steps in 1u64..300, shape in 0..3,
        ) {
            let schedule = [Shape::Cosine, Shape::Plateau, Shape::Constant][shape as usize];
            let config = ScheduleConfig {
                lr_floor, hold, cycles, schedule, ..ScheduleConfig::cosine(3.0, warmup)
            };
            for (step, rate) in rates(&config, steps).into_iter().enumerate() {
                let warm = (step as f64 + 1.0) / steps as f64 >= warmup;
                prop_assert!(rate > 0.0 || (warm && lr_floor == 0.0), "{step}: {rate}");
                prop_assert!(rate <= 3.0 && (!warm || rate >= 3.0 * lr_floor - 1e-9), "{rate}");
            }
        }
    }
}
