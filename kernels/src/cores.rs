//! On which cores threads run, and for how long.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

thread_local! {
    /// Those of the threads that the next [`crate::Workers`] start, beside the caller's.
    static NEXT: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the calling thread on one core.
///
/// # Errors
/// There is no such core, or the system does not let this program use it.
pub fn pin(core: usize) -> io::Result<()> {
    system::pin(core)
}

/// For how long the calling thread has been on a core; zero where the system does not say.
pub fn time() -> Duration {
    system::time()
}

/// The cores that the calling thread may run on.
///
/// # Errors
/// The system does not say.
pub fn allowed() -> io::Result<Vec<usize>> {
    system::allowed()
}

/// Runs `make`; all [`crate::Workers`] that it makes keep their threads on `cores`, one each. The
/// first of them is meant for the thread that calls the workers, which pins itself.
pub fn on<R>(cores: &[usize], make: impl FnOnce() -> R) -> R {
    let others = cores.get(1..).unwrap_or_default().to_vec();
    let before = NEXT.replace(others);
    let made = make();
    NEXT.set(before);
    made
}

/// The core of the thread of this number beside the caller's.
pub(crate) fn of_thread(index: usize) -> Option<usize> {
    NEXT.with_borrow(|cores| cores.get(index).copied())
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::time::Duration;

    pub(super) fn pin(core: usize) -> io::Result<()> {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: a set is an array of numbers, for which zeros are valid; the core is within it.
        let set = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            set
        };
        // SAFETY: 0 is the calling thread, and the set outlives the call.
        match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(super) fn time() -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is valid and outlives the call.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|n| u64::try_from(n).unwrap_or(0));
        Duration::from_secs(seconds) + Duration::from_nanos(nanos)
    }

    pub(super) fn allowed() -> io::Result<Vec<usize>> {
        // SAFETY: a set is an array of numbers, for which zeros are valid.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: 0 is the calling thread; as many bytes are written as the set has.
        if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let cores = 0..libc::CPU_SETSIZE as usize;
        // SAFETY: every core is within the set.
        Ok(cores
            .filter(|core| unsafe { libc::CPU_ISSET(*core, &set) })
            .collect())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::time::Duration;

    pub(super) fn pin(_: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn time() -> Duration {
        Duration::ZERO
    }

    pub(super) fn allowed() -> io::Result<Vec<usize>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
