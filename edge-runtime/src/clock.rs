//! Microseconds on one clock for everything: the kernel's monotonic clock, or a simulated one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where times come from.
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    /// `CLOCK_MONOTONIC`, on which cameras and GPIO chips put their time stamps.
    Monotonic,
    /// Moves when it is set.
    Virtual(Arc<AtomicI64>),
}

impl Clock {
    pub(crate) fn virtual_time() -> Self {
        Self::Virtual(Arc::new(AtomicI64::new(0)))
    }

    pub(crate) fn now_us(&self) -> i64 {
        match self {
            Self::Monotonic => monotonic_us(),
            Self::Virtual(now_us) => now_us.load(Ordering::Acquire),
        }
    }

    /// Sets a virtual clock; the monotonic one cannot be set.
    pub(crate) fn set(&self, t_us: i64) {
        if let Self::Virtual(now_us) = self {
            now_us.store(t_us, Ordering::Release);
        }
    }
}

fn monotonic_us() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec that outlives the call, which writes nothing else.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    debug_assert_eq!(result, 0, "CLOCK_MONOTONIC is always there");
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}
