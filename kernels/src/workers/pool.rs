//! Threads that wait for work: a while in a loop, because the next layer comes in microseconds,
//! then asleep. One that comes when the work is done misses it: nobody waits for a thread that got
//! no processor.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use super::Scratch;
use crate::cores;

/// How often a waiting thread looks before it sleeps: some tens of microseconds.
const LOOKS: usize = 1 << 12;

/// What all threads run at the same time.
type Work<'a> = dyn Fn(&mut Scratch) + Sync + 'a;

/// Threads beside the caller's.
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Written by the caller while the turn is closed and nobody is in it, read by those who are.
    work: UnsafeCell<Option<&'static Work<'static>>>,
    turn: AtomicU64,
    panicked: AtomicBool,
}

/// How many threads are in a turn: the lowest bits of [`Shared::turn`].
const INSIDE: u64 = (1 << 16) - 1;
/// Whether more may come.
const OPEN: u64 = 1 << 16;
/// The turn's number is above.
const NUMBER: u64 = 1 << 17;

// SAFETY: `work` is written only while no other thread reads it: see `Pool::start`. What it refers
// to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; all other fields are atomic.
unsafe impl Send for Shared {}

impl Pool {
    pub(super) fn new(threads: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared {
            work: UnsafeCell::new(None),
            turn: AtomicU64::new(0),
            panicked: AtomicBool::new(false),
        });
        let mut pool = Pool {
            shared,
            threads: Vec::new(),
        };
        for index in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let builder = thread::Builder::new().name(format!("kernels {}", index + 1));
            let core = cores::of_thread(index);
            let (done, pinned) = mpsc::sync_channel(1);
            pool.threads.push(builder.spawn(move || {
                let _ = done.send(core.map_or(Ok(()), cores::pin));
                shared.serve();
            })?);
            if core.is_some() {
                pinned.recv().unwrap_or(Ok(()))?;
            }
        }
        Ok(pool)
    }

    pub(super) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Runs `work` on this thread and on all that come in time, and returns when they have finished.
    ///
    /// # Panics
    /// Where `work` does, on any thread.
    pub(super) fn run(&mut self, work: &Work<'_>, scratch: &mut Scratch) {
        // SAFETY: the others use `work` only while they are in the turn, and `finish` waits until
        // nobody is before this function returns; a panic in between is caught.
        let lasting = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        self.start(Some(lasting));
        let own = catch_unwind(AssertUnwindSafe(|| work(scratch)));
        self.finish();
        let others = self.shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!others, "a thread gave up on its part of a layer");
    }

    fn start(&mut self, work: Option<&'static Work<'static>>) {
        // SAFETY: the last turn is closed and nobody is in it: `finish` has seen to that.
        unsafe { *self.shared.work.get() = work };
        let number = self.shared.turn.load(Ordering::Relaxed) / NUMBER;
        let next = number.wrapping_add(1).wrapping_mul(NUMBER);
        self.shared.turn.store(next | OPEN, Ordering::Release);
        for thread in &self.threads {
            thread.thread().unpark();
        }
    }

    fn finish(&self) {
        self.shared.turn.fetch_and(!OPEN, Ordering::Relaxed);
        let mut looks = 0_usize;
        while self.shared.turn.load(Ordering::Acquire) & INSIDE > 0 {
            looks = looks.wrapping_add(1);
            if looks < LOOKS {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

impl Shared {
    /// What a thread does all its life.
    fn serve(&self) {
        let mut scratch = Scratch::default();
        let mut number = 0;
        loop {
            number = self.enter(number);
            // SAFETY: this thread is in the turn.
            let work = unsafe { *self.work.get() };
            if let Some(work) = work {
                let done = catch_unwind(AssertUnwindSafe(|| work(&mut scratch)));
                if done.is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.turn.fetch_sub(1, Ordering::Release);
            if work.is_none() {
                return;
            }
        }
    }

    /// Waits for an open turn other than `last` and enters it; gives its number.
    fn enter(&self, last: u64) -> u64 {
        let mut looks = 0;
        loop {
            let turn = self.turn.load(Ordering::Relaxed);
            if turn & OPEN != 0 && turn / NUMBER != last {
                // What the caller wrote before it opened the turn is seen from here on.
                let entered = turn.wrapping_add(1);
                let (seen, unseen) = (Ordering::Acquire, Ordering::Relaxed);
                if self
                    .turn
                    .compare_exchange(turn, entered, seen, unseen)
                    .is_ok()
                {
                    return turn / NUMBER;
                }
            } else if looks < LOOKS {
                looks += 1;
                std::hint::spin_loop();
            } else {
                thread::park();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.start(None);
        for thread in self.threads.drain(..) {
            // A thread catches every panic.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool of {}", self.count())
    }
}
