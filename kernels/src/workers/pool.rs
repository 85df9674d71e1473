//! Threads that wait for work: a while in a loop, because the next layer comes in microseconds,
//! then asleep.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::Scratch;

/// How often a waiting thread looks before it sleeps: some ten microseconds.
const LOOKS: usize = 1 << 11;

/// What all threads run at the same time.
type Work<'a> = dyn Fn(&mut Scratch) + Sync + 'a;

/// Threads beside the caller's.
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Written by the caller while `busy` is 0, read by the others while it is not.
    work: UnsafeCell<Option<&'static Work<'static>>>,
    /// Rises when `work` is new; the end is new work that is none.
    turn: AtomicUsize,
    /// Threads that have not finished this turn.
    busy: AtomicUsize,
    panicked: AtomicBool,
}

// SAFETY: `work` is written only while no other thread reads it: see `Pool::start`. What it refers
// to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; all other fields are atomic.
unsafe impl Send for Shared {}

impl Pool {
    pub(super) fn new(threads: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared {
            work: UnsafeCell::new(None),
            turn: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        });
        let mut pool = Pool {
            shared,
            threads: Vec::new(),
        };
        for index in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let builder = thread::Builder::new().name(format!("kernels {}", index + 1));
            pool.threads.push(builder.spawn(move || shared.serve())?);
        }
        Ok(pool)
    }

    pub(super) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Runs `work` on all threads, this one too, and returns when all have finished.
    ///
    /// # Panics
    /// Where `work` does, on any thread.
    pub(super) fn run(&mut self, work: &Work<'_>, scratch: &mut Scratch) {
        // SAFETY: the others use `work` only until they are not busy, and `finish` waits for that
        // before this function returns; a panic in between is caught.
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
        // SAFETY: no thread is busy: this is the only place that makes them so, and whoever did it
        // before has waited in `finish`. They read `work` after the turn that is announced below.
        unsafe { *self.shared.work.get() = work };
        self.shared
            .busy
            .store(self.threads.len(), Ordering::Relaxed);
        self.shared.turn.fetch_add(1, Ordering::Release);
        for thread in &self.threads {
            thread.thread().unpark();
        }
    }

    fn finish(&self) {
        let mut looks = 0_usize;
        while self.shared.busy.load(Ordering::Acquire) > 0 {
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
        let mut turn = 0;
        loop {
            self.wait(turn);
            turn = turn.wrapping_add(1);
            // SAFETY: the turn has begun, and this thread has not finished it.
            let work = unsafe { *self.work.get() };
            if let Some(work) = work {
                let done = catch_unwind(AssertUnwindSafe(|| work(&mut scratch)));
                if done.is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.busy.fetch_sub(1, Ordering::Release);
            if work.is_none() {
                return;
            }
        }
    }

    /// Waits for the turn after `turn`.
    fn wait(&self, turn: usize) {
        let mut looks = 0;
        while self.turn.load(Ordering::Acquire) == turn {
            if looks < LOOKS {
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
