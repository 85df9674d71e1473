//! What the kernel can do for a thread that has to act at a given time.

use std::io;

/// `SCHED_FIFO` priority of the thread that moves the gates: above everything ordinary, below the
/// kernel's own threads (50 for threaded interrupts).
pub(crate) const GATES: libc::c_int = 40;
/// That of the thread in which the line runs, which gives the gates' thread its work.
pub(crate) const LINE: libc::c_int = 39;

/// Gives the calling thread this real-time priority, and exact timers.
///
/// # Errors
/// A sentence that says what to allow, when the kernel refuses.
pub(crate) fn enter(priority: libc::c_int) -> Result<(), String> {
    // SAFETY: PR_SET_TIMERSLACK takes a number and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
    // SAFETY: `sched_param` is a plain struct of numbers, for which zeros are valid.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: 0 is the calling thread, and `parameters` outlives the call.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) };
    if result == 0 {
        return Ok(());
    }
    Err(format!(
        "the gates are moved without real-time priority ({}): allow it with LimitRTPRIO={GATES} in the service, \
         or `ulimit -r {GATES}`",
        io::Error::last_os_error()
    ))
}

/// Keeps the program's memory from being paged out, as it is touched.
///
/// # Errors
/// A sentence that says what to allow. A limit on locked memory is not tried: later allocations would
/// fail when it is reached.
pub(crate) fn lock_memory() -> Result<(), String> {
    let advice = "set LimitMEMLOCK=infinity in the service, or `ulimit -l unlimited`";
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit that outlives the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } == 0;
    // SAFETY: geteuid always succeeds and touches no memory.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !(is_root || known && limit.rlim_cur == libc::RLIM_INFINITY) {
        return Err(format!(
            "memory is not locked (this user may lock {} kB): {advice}",
            limit.rlim_cur / 1024
        ));
    }
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: mlockall changes how our pages are kept, not what is in them.
    if unsafe { libc::mlockall(flags) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(format!("memory is not locked ({error}): {advice}"))
}

/// Sleeps until `t_us` on the monotonic clock; not at all if that is over.
pub(crate) fn sleep_until_us(t_us: i64) {
    let time = libc::timespec {
        tv_sec: t_us.max(0) / 1_000_000,
        tv_nsec: t_us.max(0) % 1_000_000 * 1_000,
    };
    // SAFETY: `time` is valid and outlives the call; with TIMER_ABSTIME no remainder is written. When a
    // signal ends the sleep early, the caller looks at the clock and sleeps again.
    unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &time,
            std::ptr::null_mut(),
        )
    };
}
