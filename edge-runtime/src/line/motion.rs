//! How far the belt has travelled, at any time.
//!
//! Items lie still on the belt: their *place* on it is their position less the belt's travel, and does
//! not change. Travel is known at some instants ([`Motion::count`], [`Motion::shift`]), lies on a
//! straight line between two of them, and goes on after the last at the present speed.
//!
//! Whatever the source, what the camera sees is held against it: items that move otherwise than the
//! belt is said to mean that places are worth nothing.

use boards::{MotionSource, Profile};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The belt's motion so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Motion {
    source: Source,
    nominal_mm_s: f64,
    max_mm_s: f64,
    /// As fast as the speed may change.
    ramp_mm_s2: f64,
    /// Over which the speed is measured.
    window_us: i64,
    /// Never empty; the newest last.
    samples: VecDeque<Sample>,
    speed_mm_s: f64,
    /// By how much the camera's shifts disagree with the travel, frames in a row and in all.
    disagreements: u32,
    drift_mm: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Source {
    Fixed,
    Encoder {
        mm_per_pulse: f64,
        pulses: Option<i64>,
    },
    Camera {
        /// As the last frames have it.
        recent_mm_s: f64,
        /// When it was last seen.
        seen_us: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Sample {
    t_us: i64,
    travel_mm: f64,
}

impl Source {
    fn camera(nominal_mm_s: f64) -> Self {
        Self::Camera {
            recent_mm_s: nominal_mm_s,
            seen_us: 0,
        }
    }
}

/// Why the travel cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Faster than the belt may run.
    Overspeed,
    /// No belt moves like that, or the camera sees it move otherwise.
    Implausible,
}

/// A time that never comes.
pub(crate) const NEVER_US: i64 = i64::MAX / 4;
/// Samples kept: seconds of encoder counts, so that late frames find their instant.
const MOST_SAMPLES: usize = 1024;
/// Speed is measured over at least this time, and this many pulses.
const WINDOW_US: i64 = 50_000;
const WINDOW_PULSES: f64 = 10.0;
/// The same where frames are the samples.
const CAMERA_WINDOW_US: i64 = 500_000;
/// Slower than this share of the nominal speed is standing still.
const STANDSTILL_SHARE: f64 = 0.02;
/// A speed that changes faster than the belt's ramp, by this factor, is not the belt's.
const RAMP_EXCESS: f64 = 1.5;
/// The belt may settle backwards by this much.
const BACKWARDS_MM: f64 = 5.0;
/// An encoder that has not been heard of for so long is lost.
const SILENCE_US: i64 = 200_000;
/// The same of a camera that the motion is taken from.
const CAMERA_SILENCE_US: i64 = 600_000;
/// Items are located to within this on a belt whose travel is known.
const PLACE_ERROR_MM: f64 = 10.0;
/// A belt whose speed only the camera sees changes it, while nothing is in view, by at most this share of
/// the nominal one in a second.
const DRIFT_PER_S: f64 = 0.05;
/// What the travel is wrong by, where items beyond the view are followed at the speed seen in it.
const CAMERA_ERROR_SHARE: f64 = 0.02;
/// How much one frame counts in the speed that the next one is held against.
const RECENT_WEIGHT: f64 = 0.4;
/// What a shift between two frames may be wrong by, and from how much on it is a disagreement.
const SHIFT_ERROR_MM: f64 = 5.0;
const SHIFT_ERROR_SHARE: f64 = 0.2;
/// Frames in a row, and how much in all, that make a disagreement a doubt.
const DISAGREEMENTS: u32 = 2;
const DRIFT_MM: f64 = 12.0;

impl Motion {
    pub(crate) fn new(board: &Profile) -> Self {
        let belt = board.belt();
        let mm_per_pulse = board.encoder().map(|e| e.mm_per_pulse);
        let (source, window_us) = match (belt.motion, mm_per_pulse) {
            (MotionSource::Camera, _) => (Source::camera(belt.speed_mm_s), CAMERA_WINDOW_US),
            (MotionSource::Encoder, Some(mm_per_pulse)) => {
                let pulses_us = WINDOW_PULSES * mm_per_pulse / belt.speed_mm_s * 1e6;
                let pulses = None;
                let source = Source::Encoder {
                    mm_per_pulse,
                    pulses,
                };
                (source, WINDOW_US.max(pulses_us as i64))
            }
            _ => (Source::Fixed, WINDOW_US),
        };
        Self {
            max_mm_s: belt.max_speed_mm_s,
            ramp_mm_s2: belt.speed_mm_s / (belt.ramp_ms / 1e3),
            ..Self::with(source, belt.speed_mm_s, window_us)
        }
    }

    fn with(source: Source, nominal_mm_s: f64, window_us: i64) -> Self {
        let start = Sample {
            t_us: 0,
            travel_mm: 0.0,
        };
        Self {
            source,
            nominal_mm_s,
            max_mm_s: 1.5 * nominal_mm_s,
            ramp_mm_s2: 2.5 * nominal_mm_s,
            window_us,
            samples: VecDeque::from([start]),
            speed_mm_s: nominal_mm_s,
            disagreements: 0,
            drift_mm: 0.0,
        }
    }

    /// A belt that always runs at this speed.
    #[cfg(test)]
    pub(crate) fn fixed(speed_mm_s: f64) -> Self {
        Self::with(Source::Fixed, speed_mm_s, WINDOW_US)
    }

    /// Travel at `t_us`.
    pub(crate) fn travel_mm(&self, t_us: i64) -> f64 {
        let after = self.samples.partition_point(|s| s.t_us <= t_us);
        let along =
            |from: Sample, mm_s: f64| from.travel_mm + mm_s * (t_us - from.t_us) as f64 / 1e6;
        match after {
            0 => along(self.samples[0], self.speed_mm_s),
            n if n == self.samples.len() => along(self.samples[n - 1], self.speed_mm_s),
            n => {
                let (from, to) = (self.samples[n - 1], self.samples[n]);
                let mm_s = (to.travel_mm - from.travel_mm) * 1e6 / (to.t_us - from.t_us) as f64;
                along(from, mm_s)
            }
        }
    }

    /// When the travel is `travel_mm`, if the belt goes on as it does: [`NEVER_US`] when it stands
    /// still before that.
    pub(crate) fn time_us(&self, travel_mm: f64) -> i64 {
        let last = self.samples[self.samples.len() - 1];
        let ahead_mm = travel_mm - last.travel_mm;
        if self.speed_mm_s <= 0.0 {
            return if ahead_mm > 0.0 { NEVER_US } else { -NEVER_US };
        }
        let ahead_us = (ahead_mm / self.speed_mm_s * 1e6).round() as i64;
        last.t_us + ahead_us.clamp(-NEVER_US, NEVER_US)
    }

    /// Whether the source of the motion has gone silent.
    pub(crate) fn is_silent(&self, now_us: i64) -> bool {
        let last_us = self.last_us();
        let longest_us = match self.source {
            Source::Fixed => return false,
            Source::Encoder { .. } => SILENCE_US,
            Source::Camera { .. } => CAMERA_SILENCE_US,
        };
        now_us - last_us > longest_us
    }

    /// Takes in the encoder's pulses since some beginning, as counted at `t_us`.
    ///
    /// # Errors
    /// When they say that the belt did what it cannot or may not do. They are taken in all the same.
    pub(crate) fn count(&mut self, t_us: i64, count: i64) -> Result<(), Doubt> {
        let Source::Encoder {
            mm_per_pulse,
            pulses,
        } = &mut self.source
        else {
            return Ok(());
        };
        let (Some(before), mm_per_pulse) = (*pulses, *mm_per_pulse) else {
            *pulses = Some(count);
            self.samples.clear();
            self.speed_mm_s = 0.0;
            self.push(t_us, 0.0);
            return Ok(());
        };
        let last = self.samples[self.samples.len() - 1];
        if t_us <= last.t_us {
            return Ok(());
        }
        *pulses = Some(count);
        let step_mm = count.saturating_sub(before) as f64 * mm_per_pulse;
        let fastest_mm = self.max_mm_s * (t_us - last.t_us) as f64 / 1e6 + 2.0 * mm_per_pulse;
        let credible_mm = step_mm.clamp(-BACKWARDS_MM, 2.0 * fastest_mm);
        self.push(t_us, last.travel_mm + credible_mm);
        let earlier_mm_s = self.mean_speed_mm_s(t_us - self.window_us);
        self.speed_mm_s = self.steady(self.mean_speed_mm_s(t_us));
        if credible_mm != step_mm {
            return Err(Doubt::Implausible);
        }
        if self.speed_mm_s > self.max_mm_s {
            return Err(Doubt::Overspeed);
        }
        let known = self.samples[0].t_us <= t_us - 2 * self.window_us;
        let change_mm_s = (self.speed_mm_s - earlier_mm_s).abs();
        let window_s = self.window_us as f64 / 1e6;
        let pulses_mm_s = 2.0 * mm_per_pulse / window_s;
        if known && change_mm_s > RAMP_EXCESS * self.ramp_mm_s2 * window_s + pulses_mm_s {
            return Err(Doubt::Implausible);
        }
        Ok(())
    }

    /// Takes in a frame captured at `t_us`, in which everything had moved by `shift_mm` since the one
    /// captured at `since_us`; `None` where that could not be seen.
    ///
    /// # Errors
    /// When what is seen contradicts the travel from another source, or is faster than allowed.
    pub(crate) fn shift(
        &mut self,
        since_us: i64,
        t_us: i64,
        shift_mm: Option<f64>,
    ) -> Result<(), Doubt> {
        if let Source::Camera { recent_mm_s, .. } = self.source {
            return self.follow_camera((since_us, t_us), shift_mm, recent_mm_s);
        }
        let Some(shift_mm) = shift_mm else {
            return Ok(());
        };
        let travelled_mm = self.travel_mm(t_us) - self.travel_mm(since_us);
        self.compare(shift_mm, travelled_mm)
    }

    /// Frames are the samples. A shift that does not fit the ones before is not taken in: it may be
    /// another item that is mistaken for the one that was there.
    fn follow_camera(
        &mut self,
        (since_us, t_us): (i64, i64),
        shift_mm: Option<f64>,
        recent_mm_s: f64,
    ) -> Result<(), Doubt> {
        let last = self.samples[self.samples.len() - 1];
        if t_us <= last.t_us {
            return Ok(());
        }
        let seconds = (t_us - since_us) as f64 / 1e6;
        let expected_mm = recent_mm_s * seconds;
        let verdict = shift_mm.map_or(Ok(()), |mm| self.compare(mm, expected_mm));
        let credible_mm = shift_mm.filter(|_| self.disagreements == 0 || verdict.is_err());
        if let Some(mm) = credible_mm {
            let mm_s = (mm / seconds).max(0.0);
            let weight = if verdict.is_err() { 1.0 } else { RECENT_WEIGHT };
            self.source = Source::Camera {
                recent_mm_s: recent_mm_s + weight * (mm_s - recent_mm_s),
                seen_us: t_us,
            };
        }
        let travel_mm = self.travel_mm(since_us) + credible_mm.unwrap_or(expected_mm);
        self.push(t_us, travel_mm.max(last.travel_mm));
        self.speed_mm_s = self.steady(self.mean_speed_mm_s(t_us));
        if self.speed_mm_s > self.max_mm_s {
            return Err(Doubt::Overspeed);
        }
        verdict
    }

    /// Holds a shift that was seen against the one that should have been.
    fn compare(&mut self, shift_mm: f64, expected_mm: f64) -> Result<(), Doubt> {
        let apart_mm = shift_mm - expected_mm;
        if apart_mm.abs() <= SHIFT_ERROR_MM + SHIFT_ERROR_SHARE * expected_mm.abs() {
            self.disagreements = 0;
            self.drift_mm = 0.0;
            return Ok(());
        }
        self.disagreements += 1;
        self.drift_mm += apart_mm;
        if self.disagreements >= DISAGREEMENTS && self.drift_mm.abs() >= DRIFT_MM {
            return Err(Doubt::Implausible);
        }
        Ok(())
    }

    /// How far the belt can have moved between two instants at the most.
    pub(crate) fn reach_mm(&self, since_us: i64, t_us: i64) -> f64 {
        1.2 * self.max_mm_s * (t_us - since_us) as f64 / 1e6 + SHIFT_ERROR_MM
    }

    /// How far an item may be from where it is thought to be when it is at `x_mm`, at `t_us`, as it looks
    /// at `now_us`.
    pub(crate) fn error_mm(&self, x_mm: f64, now_us: i64, t_us: i64) -> f64 {
        let way_mm = |mm_s2: f64, since_us: i64| {
            let seconds = t_us.saturating_sub(since_us).max(0) as f64 / 1e6;
            0.5 * mm_s2 * seconds * seconds
        };
        PLACE_ERROR_MM
            + match self.source {
                Source::Fixed => 0.0,
                // Since the last count: when the line could not run for a while, counts are late.
                Source::Encoder { .. } => way_mm(self.ramp_mm_s2, self.last_us().min(now_us)),
                Source::Camera { seen_us, .. } => {
                    way_mm(self.ramp_mm_s2, now_us)
                        + CAMERA_ERROR_SHARE * x_mm.abs()
                        + way_mm(DRIFT_PER_S * self.nominal_mm_s, seen_us)
                }
            }
    }

    fn last_us(&self) -> i64 {
        self.samples[self.samples.len() - 1].t_us
    }

    fn push(&mut self, t_us: i64, travel_mm: f64) {
        if self.samples.len() == MOST_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { t_us, travel_mm });
    }

    /// Over the window that ends at `until_us`, as far as it is known.
    fn mean_speed_mm_s(&self, until_us: i64) -> f64 {
        let begin_us = until_us - self.window_us;
        let from_us = begin_us.max(self.samples[0].t_us);
        if from_us >= until_us {
            return self.speed_mm_s;
        }
        let way_mm = self.travel_mm(until_us) - self.travel_mm(from_us);
        way_mm * 1e6 / (until_us - from_us) as f64
    }

    fn steady(&self, mm_s: f64) -> f64 {
        if mm_s < STANDSTILL_SHARE * self.nominal_mm_s {
            0.0
        } else {
            mm_s
        }
    }
}

#[cfg(test)]
mod tests;
