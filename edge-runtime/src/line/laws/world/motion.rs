//! How the belt really moves, what the encoder says of it, and what else happens to a plant.

use super::*;

/// The belt's true motion: constant speed between the instants listed.
pub(super) struct Belt {
    /// Time, travel, speed from then on.
    pub(super) legs: VecDeque<(i64, f64, f64)>,
}

impl Belt {
    fn leg_at(&self, t_us: i64) -> (i64, f64, f64) {
        let after = self.legs.partition_point(|leg| leg.0 <= t_us);
        self.legs[after.saturating_sub(1)]
    }

    pub(super) fn travel_mm(&self, t_us: i64) -> f64 {
        let (since_us, mm, mm_s) = self.leg_at(t_us);
        mm + mm_s * (t_us - since_us) as f64 / 1e6
    }

    pub(super) fn set_speed(&mut self, t_us: i64, mm_s: f64) {
        let mm = self.travel_mm(t_us);
        self.legs.push_back((t_us, mm, mm_s));
        if self.legs.len() > 4000 {
            self.legs.pop_front();
        }
    }
}

impl World {
    pub(super) fn count(&mut self, t_us: i64) {
        self.add(t_us + COUNT_US, Due::Count);
        if t_us < self.silent_until_us {
            return;
        }
        let turned = (self.belt.travel_mm(t_us) / MM_PER_PULSE).floor() as i64;
        let pulses = self.stuck_at.unwrap_or(turned) + self.pulse_offset;
        let delay_us = self.rng.random_range(0..3_000);
        self.tell(Event::Encoder {
            t_us: t_us + delay_us,
            counted_us: t_us,
            pulses,
        });
    }

    /// Every 20 ms the belt comes nearer to the speed that it is to have; now and then that changes.
    pub(super) fn drive(&mut self, t_us: i64) {
        self.add(t_us + 20_000, Due::Drive);
        let encoder = self.trouble.motion == BeltMotion::Encoder;
        if self.chance(if encoder { 0.01 } else { 0.004 }) {
            let shares: &[f64] = if encoder {
                &[1.0, 1.0, 0.0, 0.5, 1.2, 1.7]
            } else {
                &[1.0, 0.85, 1.15]
            };
            let pick = self.rng.random_range(0..shares.len());
            self.target_mm_s = shares[pick] * NOMINAL_MM_S;
        }
        // From standing to full speed within 0.4 s, or 20 s where only the camera sees it.
        let step = NOMINAL_MM_S * 0.02 / if encoder { 0.4 } else { 20.0 };
        let change = (self.target_mm_s - self.speed_mm_s).clamp(-step, step);
        if change != 0.0 {
            self.speed_mm_s += change;
            self.belt.set_speed(t_us, self.speed_mm_s);
        }
    }

    pub(super) fn mischief(&mut self, t_us: i64) {
        let wait_us = self.rng.random_range(1_000_000..8_000_000);
        self.add(t_us + wait_us, Due::Mischief);
        let long_us = self.rng.random_range(100_000..1_500_000);
        match self.rng.random_range(0..6) {
            0 if self.trouble.stops => {
                self.tell(Event::Stop { t_us });
                self.tell(Event::Resume {
                    t_us: t_us + long_us,
                });
            }
            1 if self.trouble.stalls => self.stalled_until_us = t_us + long_us / 2,
            2 if self.trouble.glitches
                && self.trouble.motion == BeltMotion::Encoder
                && t_us >= self.blind_until_us =>
            {
                let turned = (self.belt.travel_mm(t_us) / MM_PER_PULSE).floor() as i64;
                match self.rng.random_range(0..4) {
                    0 => self.pulse_offset += 200,
                    1 => self.pulse_offset -= 200,
                    2 => self.stuck_at = Some(turned),
                    _ => self.silent_until_us = t_us + long_us,
                }
            }
            3 if self.stuck_at.is_some() => {
                // It goes on from where it stuck: the pulses in between are lost.
                let turned = (self.belt.travel_mm(t_us) / MM_PER_PULSE).floor() as i64;
                self.pulse_offset -= turned - self.stuck_at.take().unwrap_or(turned);
            }
            4 if self.trouble.blindness && self.stuck_at.is_none() => {
                self.blind_until_us = t_us + 2 * long_us;
                if 2 * long_us > LOST_US {
                    let t_us = t_us + LOST_US;
                    self.tell(Event::CameraLost { t_us });
                }
            }
            5 if self.trouble.glitches => {
                let eye = 0;
                self.tell(Event::Eye {
                    t_us,
                    eye,
                    blocked: true,
                });
                self.tell(Event::Eye {
                    t_us: t_us + 2 * long_us,
                    eye,
                    blocked: false,
                });
            }
            _ => {}
        }
    }
}
