//! The threads that a layer's work is split among.

mod pool;

use std::sync::{Mutex, PoisonError};

use crate::{Aligned, Plain};
use pool::Pool;

/// Memory that one thread works in.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    words: Aligned<i16>,
    bytes: Aligned<i8>,
    raw: Aligned<u8>,
    floats: Aligned<f32>,
    starts: Aligned<usize>,
}

impl Scratch {
    /// `len` words of unspecified content.
    pub(crate) fn words(&mut self, len: usize) -> &mut [i16] {
        some(&mut self.words, len)
    }

    /// As [`Scratch::words`], with a row's start in them for each of `rows`.
    pub(crate) fn rows(&mut self, len: usize, rows: usize) -> (&mut [i16], &mut [usize]) {
        (some(&mut self.words, len), some(&mut self.starts, rows))
    }

    /// As [`Scratch::rows`], of bytes.
    pub(crate) fn raw_rows(&mut self, len: usize, rows: usize) -> (&mut [u8], &mut [usize]) {
        (some(&mut self.raw, len), some(&mut self.starts, rows))
    }

    /// As [`Scratch::rows`], of `f32`.
    pub(crate) fn float_rows(&mut self, len: usize, rows: usize) -> (&mut [f32], &mut [usize]) {
        (some(&mut self.floats, len), some(&mut self.starts, rows))
    }

    /// As [`Scratch::rows`], of signed bytes.
    pub(crate) fn byte_rows(&mut self, len: usize, rows: usize) -> (&mut [i8], &mut [usize]) {
        (some(&mut self.bytes, len), some(&mut self.starts, rows))
    }
}

/// The first `len` values; there are more after the first time.
fn some<T: Plain>(values: &mut Aligned<T>, len: usize) -> &mut [T] {
    if values.len() < len {
        *values = Aligned::new(len);
    }
    &mut values[..len]
}

/// Runs the parts of a layer: the caller's thread, and others that wait for work in between.
///
/// Which thread computes which part is left to chance; what it computes does not depend on it.
#[derive(Debug)]
pub struct Workers {
    /// Of the caller's thread.
    scratch: Scratch,
    /// See [`Workers::with_slices`].
    slices: Aligned<u8>,
    /// The other threads, if there are any.
    pool: Option<Pool>,
}

impl Workers {
    /// One thread: the caller's.
    pub fn single() -> Workers {
        Workers {
            scratch: Scratch::default(),
            slices: Aligned::default(),
            pool: None,
        }
    }

    /// The caller's thread and `threads - 1` more.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn new(threads: usize) -> std::io::Result<Workers> {
        let others = threads.saturating_sub(1);
        let pool = (others > 0).then(|| Pool::new(others)).transpose()?;
        Ok(Workers {
            pool,
            ..Workers::single()
        })
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        1 + self.pool.as_ref().map_or(0, Pool::count)
    }

    /// Calls `work` with `len` bytes of unspecified content, for layers made of layers.
    pub(crate) fn with_slices(&mut self, len: usize, work: impl FnOnce(&mut [u8], &mut Workers)) {
        let mut slices = std::mem::take(&mut self.slices);
        work(some(&mut slices, len), self);
        self.slices = slices;
    }

    /// Calls `work` once for every `chunk` values of `output`, with the number of the chunk.
    pub(crate) fn for_each_chunk<T: Send>(
        &mut self,
        output: &mut [T],
        chunk: usize,
        work: &(dyn Fn(usize, &mut [T], &mut Scratch) + Sync),
    ) {
        match &mut self.pool {
            Some(pool) if output.len() > chunk => {
                let chunks = Mutex::new(output.chunks_mut(chunk).enumerate());
                let next = || chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
                let work = |scratch: &mut Scratch| {
                    while let Some((index, part)) = next() {
                        work(index, part, scratch);
                    }
                };
                pool.run(&work, &mut self.scratch);
            }
            _ => {
                for (index, part) in output.chunks_mut(chunk).enumerate() {
                    work(index, part, &mut self.scratch);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores;

    #[test]
    fn every_chunk_is_computed_once_on_any_number_of_threads() {
        for threads in 1..=5 {
            let mut workers = Workers::new(threads).unwrap();
            assert_eq!(workers.count(), threads);
            for len in (0..40).chain([1000, 4099]) {
                let mut output = vec![0_u8; len];
                workers.for_each_chunk(&mut output, 7, &|index, part, _| {
                    for byte in part {
                        *byte += 1 + (index % 100) as u8;
                    }
                });
                let expected: Vec<u8> = (0..len).map(|at| 1 + (at / 7 % 100) as u8).collect();
                assert_eq!(output, expected, "{threads} threads");
            }
        }
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_caller_and_the_threads_go_on() {
        let mut workers = Workers::new(3).unwrap();
        for bad in 0..20 {
            let mut output = vec![0_u8; 20];
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                workers.for_each_chunk(&mut output, 1, &|index, _, _| {
                    assert!(index != bad, "on purpose");
                });
            }));
            assert!(attempt.is_err());
        }
        let mut output = vec![0_u8; 20];
        workers.for_each_chunk(&mut output, 1, &|_, part, _| part.fill(1));
        assert_eq!(output, [1; 20]);
    }

    #[test]
    fn threads_stay_on_the_cores_that_are_asked_for() {
        let allowed = cores::allowed().unwrap();
        let core = *allowed.last().unwrap();
        let mut workers = cores::on(&[core; 3], || Workers::new(3)).unwrap();
        let caller = std::thread::current().id();
        let seen = Mutex::new(Vec::new());
        while seen.lock().unwrap().len() < 10 {
            workers.for_each_chunk(&mut [0_u8; 64], 1, &|_, _, _| {
                if std::thread::current().id() != caller {
                    seen.lock().unwrap().push(cores::allowed().unwrap());
                }
                std::thread::yield_now();
            });
        }
        assert!(
            seen.into_inner()
                .unwrap()
                .iter()
                .all(|cores| *cores == [core])
        );
        assert_eq!(
            cores::allowed().unwrap(),
            allowed,
            "the caller's thread is free"
        );
        assert!(cores::on(&[0, 100_000], || Workers::new(2)).is_err());
        cores::pin(core).unwrap();
        assert_eq!(cores::allowed().unwrap(), [core]);
    }

    #[test]
    fn threads_that_sleep_wake_up() {
        let mut workers = Workers::new(2).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let mut output = vec![0_u8; 64];
            workers.for_each_chunk(&mut output, 1, &|_, part, _| part.fill(1));
            assert_eq!(output, [1; 64]);
        }
    }
}
