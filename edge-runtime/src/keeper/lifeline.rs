//! Tells another process of a thread's death at once.
//!
//! A robust mutex in shared memory (`pthread_mutexattr_setrobust(3)`): the kernel gives it to who waits
//! for it before it takes the dead process apart, which for one with much locked memory takes longer
//! than a gate may stay open. Pipes are closed only after that.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
use std::ptr::NonNull;

/// A page of shared memory that holds the mutex and nothing else. It stays mapped for good: the C library
/// and the kernel keep a list of the mutexes that a thread holds.
struct Page {
    mutex: NonNull<libc::pthread_mutex_t>,
}

const BYTES: usize = 4096;

impl Page {
    fn map(fd: RawFd) -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses; a wrong descriptor is an error.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address.cast())
            .map(|mutex| Self { mutex })
            .ok_or_else(|| io::Error::other("a mapping at address 0"))
    }
}

fn checked(error: libc::c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Held by the thread that made it, until it dies.
pub(crate) struct Lifeline {
    memory: File,
}

impl Lifeline {
    /// Holds it by the calling thread.
    pub(crate) fn hold() -> io::Result<Self> {
        // SAFETY: the name is a valid C string, and memfd_create keeps no reference to it.
        let fd = unsafe { libc::memfd_create(c"sortline-lifeline".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let memory = unsafe { File::from_raw_fd(fd) };
        memory.set_len(BYTES as u64)?;
        let page = Page::map(fd)?;
        // SAFETY: `attributes` is initialised before it is used and destroyed afterwards; the mutex lies in
        // a page of its own, which is large enough, aligned, and known to nobody yet.
        unsafe {
            let mut attributes: libc::pthread_mutexattr_t = std::mem::zeroed();
            checked(libc::pthread_mutexattr_init(&mut attributes))?;
            let shared = libc::PTHREAD_PROCESS_SHARED;
            checked(libc::pthread_mutexattr_setpshared(&mut attributes, shared))?;
            let robust = libc::PTHREAD_MUTEX_ROBUST;
            checked(libc::pthread_mutexattr_setrobust(&mut attributes, robust))?;
            checked(libc::pthread_mutex_init(page.mutex.as_ptr(), &attributes))?;
            libc::pthread_mutexattr_destroy(&mut attributes);
            checked(libc::pthread_mutex_lock(page.mutex.as_ptr()))?;
        }
        Ok(Self { memory })
    }

    /// What another process needs to watch it.
    pub(crate) fn fd(&self) -> RawFd {
        self.memory.as_raw_fd()
    }
}

/// Waits until the thread that holds the lifeline dies.
///
/// # Errors
/// When `fd` is no lifeline.
pub(crate) fn wait_for_death(fd: RawFd) -> io::Result<()> {
    let page = Page::map(fd)?;
    // SAFETY: the mutex was initialised before this process got the descriptor.
    match unsafe { libc::pthread_mutex_lock(page.mutex.as_ptr()) } {
        libc::EOWNERDEAD => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    #[test]
    fn the_death_of_the_holder_is_told_and_its_life_is_not() {
        let (held, lifeline) = channel();
        let (go, gone) = channel::<()>();
        let alive = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let holder = scope.spawn(move || {
                held.send(Lifeline::hold().unwrap()).unwrap();
                let _ = gone.recv();
            });
            let lifeline = lifeline.recv().unwrap();
            let alive = &alive;
            let fd = lifeline.fd();
            let waiter = scope.spawn(move || {
                wait_for_death(fd).unwrap();
                assert!(!alive.load(Ordering::Acquire));
            });
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(!waiter.is_finished());
            alive.store(false, Ordering::Release);
            drop(go);
            holder.join().unwrap();
            waiter.join().unwrap();
        });
    }
}
