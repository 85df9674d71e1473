//! When gates are switched: firing times from places on the belt, and what one firing may contain.

use super::End;
use super::geometry::Belt;
use boards::Gate;

/// A gate in the line's units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GateTiming {
    pub(crate) distance_mm: f64,
    pub(crate) window_mm: f64,
    pub(crate) lead_us: i64,
    pub(crate) hold_us: i64,
    pub(crate) min_gap_us: i64,
    pub(crate) max_on_us: i64,
}

/// Items are located to within this.
const PLACE_ERROR_MM: f64 = 10.0;

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
    pub(crate) fn firing_us(&self, place_mm: f64, belt: &Belt) -> (i64, i64) {
        let passes_us = belt.time_us(place_mm, self.distance_mm);
        let on_us = passes_us - self.hold_us / 2 - self.lead_us;
        (on_us, on_us + self.lead_us + self.hold_us)
    }

    /// Whether a firing may move an item at this place, seen with due caution.
    pub(crate) fn may_hit(&self, (on_us, off_us): (i64, i64), place_mm: f64, belt: &Belt) -> bool {
        let reach_mm = self.window_mm / 2.0 + PLACE_ERROR_MM;
        let enters_us = belt.time_us(place_mm, self.distance_mm - reach_mm);
        let leaves_us = belt.time_us(place_mm, self.distance_mm + reach_mm);
        on_us <= leaves_us && enters_us <= off_us
    }
}

/// A firing that waits for its time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) track: u32,
    pub(crate) gate: usize,
    pub(crate) on_us: i64,
    pub(crate) off_us: i64,
    /// What the item's end will be when the gate has been fired.
    pub(crate) end: End,
}

/// The firings to come, and when each gate was last closed.
#[derive(Debug)]
pub(crate) struct Schedule {
    plans: Vec<Plan>,
    free_us: Vec<i64>,
}

impl Schedule {
    pub(crate) fn new(gates: usize) -> Self {
        Self {
            plans: Vec::new(),
            free_us: vec![i64::MIN; gates],
        }
    }

    pub(crate) fn add(&mut self, plan: Plan) {
        let at = self.plans.partition_point(|p| p.on_us <= plan.on_us);
        self.plans.insert(at, plan);
    }

    /// The earliest firing, if it is to be switched on before `until_us`.
    pub(crate) fn take_due(&mut self, until_us: i64) -> Option<Plan> {
        let due = self.plans.first().is_some_and(|p| p.on_us <= until_us);
        due.then(|| self.plans.remove(0))
    }

    /// From when the gate may be switched on again.
    pub(crate) fn free_us(&self, gate: usize) -> i64 {
        self.free_us[gate]
    }

    pub(crate) fn set_free_us(&mut self, gate: usize, free_us: i64) {
        self.free_us[gate] = free_us;
    }

    /// The next firing of a gate if it is to begin before `until_us`.
    pub(crate) fn next_of(&self, gate: usize, until_us: i64) -> Option<&Plan> {
        let mut of_gate = self.plans.iter().filter(|p| p.gate == gate);
        of_gate.next().filter(|p| p.on_us <= until_us)
    }

    pub(crate) fn remove(&mut self, track: u32) -> Option<Plan> {
        let at = self.plans.iter().position(|p| p.track == track)?;
        Some(self.plans.remove(at))
    }

    pub(crate) fn clear(&mut self) {
        self.plans.clear();
    }
}
