//! When gates are switched: firing times from places on the belt, and what one firing may contain.

use super::event::End;
use super::motion::Motion;
use boards::Gate;
use serde::{Deserialize, Serialize};

/// A gate in the line's units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct GateTiming {
    pub(crate) distance_mm: f64,
    pub(crate) window_mm: f64,
    pub(crate) lead_us: i64,
    pub(crate) hold_us: i64,
    pub(crate) min_gap_us: i64,
    pub(crate) max_on_us: i64,
}

/// From when to when a gate is switched on.
pub(crate) type Span = (i64, i64);

impl GateTiming {
    pub(crate) fn new(gate: &Gate) -> Self {
        let us = |ms: f64| (ms * 1000.0).round() as i64;
        Self {
            distance_mm: gate.distance_mm,
            window_mm: gate.window_mm,
            lead_us: us(gate.opening_lead_ms),
            hold_us: us(gate.hold_ms),
            min_gap_us: us(gate.min_gap_ms),
            max_on_us: us(gate.max_on_ms),
        }
    }

    /// When to switch on and off for an item at this place on the belt.
    pub(crate) fn firing_us(&self, place_mm: f64, motion: &Motion) -> Span {
        let passes_us = motion.time_us(self.distance_mm - place_mm);
        let on_us = passes_us - self.hold_us / 2 - self.lead_us;
        (on_us, on_us + self.lead_us + self.hold_us)
    }

    /// The positions at which a firing may move items that are located to within `error_mm`.
    pub(crate) fn reach_mm(&self, error_mm: f64) -> (f64, f64) {
        let half_mm = self.window_mm / 2.0 + error_mm;
        (self.distance_mm - half_mm, self.distance_mm + half_mm)
    }
}

/// A firing that waits for its time, which depends on how the belt moves until then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) track: u32,
    pub(crate) gate: usize,
    /// What the item's end will be when the gate has been fired.
    pub(crate) end: End,
}

/// A firing that was given out and has not ended yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Firing {
    pub(crate) gate: usize,
    pub(crate) off_us: i64,
    /// The items it is for, and their ends.
    pub(crate) ends: Vec<(u32, End)>,
}

/// The firings to come, those under way, and when each gate may be switched on again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    pub(crate) plans: Vec<Plan>,
    pub(crate) firings: Vec<Firing>,
    free_us: Vec<i64>,
}

impl Schedule {
    pub(crate) fn new(gates: usize) -> Self {
        Self {
            plans: Vec::new(),
            firings: Vec::new(),
            free_us: vec![i64::MIN; gates],
        }
    }

    /// From when the gate may be switched on again.
    pub(crate) fn free_us(&self, gate: usize) -> i64 {
        self.free_us[gate]
    }

    pub(crate) fn set_free_us(&mut self, gate: usize, free_us: i64) {
        self.free_us[gate] = free_us;
    }

    /// Takes out the first firing that has ended by `now_us`.
    pub(crate) fn take_ended(&mut self, now_us: i64) -> Option<Firing> {
        let at = self.firings.iter().position(|f| f.off_us <= now_us)?;
        Some(self.firings.remove(at))
    }
}
