//! Switches gates at absolute times, from a thread that does nothing else.

use crate::actuate::{GateError, Gates};
use crate::clock::Clock;
use crate::runtime::realtime;
use crate::runtime::watch::{Part, Watch};
use crate::timing::Movement;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The edges to come.
pub(crate) struct Switchboard {
    state: Mutex<State>,
    changed: Condvar,
    max_on_us: Vec<i64>,
}

struct State {
    /// In the order of their times.
    edges: Vec<Edge>,
    all_off: bool,
    /// What the belt's output is to become.
    belt: Option<bool>,
    /// Firings that were over before they could begin.
    left_out: u64,
}

impl State {
    /// Where the end of the firing is that this edge begins.
    fn off_edge_of(&self, edge: &Edge) -> Option<usize> {
        let mut rest = self.edges.iter();
        let end = || rest.position(|e| e.gate == edge.gate && !e.on);
        edge.on.then(end).flatten()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    t_us: i64,
    gate: usize,
    on: bool,
}

/// Firings are given shortly before their time, so that more than this cannot be meant.
const MOST_EDGES: usize = 256;
/// The thread looks up this often even if nothing is to be done.
const IDLE: Duration = Duration::from_millis(20);
/// So long before an edge it stops listening and sleeps until the very instant.
const CLOSE_US: i64 = 500;

/// At the end, a gate gets so long to close.
const CLOSING_US: i64 = 2_000_000;

/// More firings were asked for than there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MOST_EDGES} gate movements are waiting")]
pub(crate) struct Overfull;

impl Switchboard {
    /// For gates that may be on for so long each.
    pub(crate) fn new(max_on_us: Vec<i64>) -> Self {
        Self {
            state: Mutex::new(State {
                edges: Vec::with_capacity(MOST_EDGES),
                all_off: false,
                belt: None,
                left_out: 0,
            }),
            changed: Condvar::new(),
            max_on_us,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans one firing, cut to the gate's longest time.
    pub(crate) fn fire(&self, gate: usize, on_us: i64, off_us: i64) -> Result<(), Overfull> {
        let longest_us = self.max_on_us.get(gate).copied().unwrap_or(0);
        let off_us = off_us.min(on_us + longest_us);
        let mut state = self.lock();
        if state.edges.len() + 2 > MOST_EDGES {
            return Err(Overfull);
        }
        for (t_us, on) in [(on_us, true), (off_us, false)] {
            let edge = Edge { t_us, gate, on };
            let at = state.edges.partition_point(|e| e.t_us <= t_us);
            state.edges.insert(at, edge);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Switches everything off at once and forgets what was planned.
    pub(crate) fn all_off(&self) {
        let mut state = self.lock();
        state.edges.clear();
        state.all_off = true;
        self.changed.notify_one();
    }

    /// As [`Switchboard::all_off`], and the belt's output too.
    pub(crate) fn halt(&self) {
        let mut state = self.lock();
        state.edges.clear();
        state.all_off = true;
        state.belt = Some(false);
        self.changed.notify_one();
    }

    /// Lets the belt run.
    pub(crate) fn run_belt(&self) {
        self.lock().belt = Some(true);
        self.changed.notify_one();
    }

    /// How many firings were left out because the thread was held up until they were over.
    pub(crate) fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    /// Ends the waiting, so that the end is seen.
    pub(crate) fn wake(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Switches until all parts are to end; then everything off. What was moved is told to `movements`, as far as
    /// there is room.
    ///
    /// # Errors
    /// When an output cannot be set, or is not what it was set to. Everything is off then.
    pub(crate) fn run(
        &self,
        gates: &mut dyn Gates,
        movements: &SyncSender<Movement>,
        clock: &Clock,
        watch: &Watch<'_>,
    ) -> Result<(), GateError> {
        let safe = SafeOff(gates);
        let mut on_since: Vec<Option<i64>> = vec![None; self.max_on_us.len()];
        let mut step_us = None;
        loop {
            match self.next_due(step_us, clock, watch) {
                Due::Stop => return end(safe.0, clock),
                Due::AllOff => {
                    safe.0.all_off()?;
                    on_since.fill(None);
                }
                Due::Belt(on) => safe.0.run_belt(on)?,
                Due::Edge(edge) => {
                    let movement = switch(safe.0, &edge, clock)?;
                    on_since[edge.gate] = edge.on.then_some(movement.actual_us);
                    // Nobody waits for it: the gates are more important than the report.
                    let _ = movements.try_send(movement);
                }
                Due::Nothing => {}
            }
            let now_us = clock.now_us();
            for (gate, since) in on_since.iter_mut().enumerate() {
                if since.is_some_and(|since| now_us - since > self.max_on_us[gate]) {
                    safe.0.set(gate, false)?;
                    *since = None;
                }
            }
            // As much later as the step itself came late, so that no two come together.
            let now_us = clock.now_us();
            let next_us = safe.0.advance(now_us)?;
            step_us = next_us.map(|next_us| next_us + clock.now_us() - now_us);
        }
    }

    /// Waits for the next edge's time, or for `step_us`.
    fn next_due(&self, step_us: Option<i64>, clock: &Clock, watch: &Watch<'_>) -> Due {
        let mut state = self.lock();
        if !watch.goes_on(Part::Gates) {
            return Due::Stop;
        }
        if std::mem::take(&mut state.all_off) {
            return Due::AllOff;
        }
        if let Some(on) = state.belt.take() {
            return Due::Belt(on);
        }
        let now_us = clock.now_us();
        let edge_us = state.edges.first().map(|edge| edge.t_us);
        if edge_us.is_some_and(|edge_us| edge_us <= now_us) {
            let edge = state.edges.remove(0);
            return match state
                .off_edge_of(&edge)
                .filter(|at| state.edges[*at].t_us <= now_us)
            {
                Some(over) => {
                    state.edges.remove(over);
                    state.left_out += 1;
                    Due::Nothing
                }
                None => Due::Edge(edge),
            };
        }
        let next_us = edge_us.into_iter().chain(step_us).min();
        let wait_us = next_us.map_or(i64::MAX, |next_us| next_us - now_us);
        if wait_us > CLOSE_US {
            let wait = Duration::from_micros((wait_us - CLOSE_US).unsigned_abs());
            let _unlocked = self.changed.wait_timeout(state, wait.min(IDLE));
        } else {
            drop(state);
            realtime::sleep_until_us(now_us + wait_us);
        }
        Due::Nothing
    }
}

/// Everything off, and what takes time to close is given that time.
fn end(gates: &mut dyn Gates, clock: &Clock) -> Result<(), GateError> {
    gates.run_belt(false)?;
    gates.all_off()?;
    let give_up_us = clock.now_us() + CLOSING_US;
    while let Some(step_us) = gates.advance(clock.now_us())?.filter(|us| *us < give_up_us) {
        realtime::sleep_until_us(step_us);
    }
    Ok(())
}

fn switch(gates: &mut dyn Gates, edge: &Edge, clock: &Clock) -> Result<Movement, GateError> {
    let Edge { t_us, gate, on } = *edge;
    gates.set(gate, on)?;
    let actual_us = clock.now_us();
    if gates.is_on(gate)? != on {
        return Err(GateError::Contradicts { gate, on });
    }
    Ok(Movement {
        gate,
        on,
        planned_us: t_us,
        actual_us,
        read_back_us: clock.now_us(),
    })
}

enum Due {
    Stop,
    AllOff,
    Belt(bool),
    Edge(Edge),
    Nothing,
}

/// Switches everything off however its thread ends.
struct SafeOff<'a>(&'a mut dyn Gates);

impl Drop for SafeOff<'_> {
    fn drop(&mut self) {
        // Nothing is left that could be done about a failure.
        let _ = self.0.run_belt(false);
        let _ = self.0.all_off();
    }
}

#[cfg(test)]
mod laws;
