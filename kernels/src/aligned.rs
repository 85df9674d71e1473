//! Memory for vectors.
//!
//! Weights and activations are megabytes, touched from end to end: Linux gives them large pages where
//! it is asked to. That spares most page faults when a network is loaded, and misses of the TLB after.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// Bytes in a cache line.
const LINE: usize = 64;

/// Bytes in a large page of x86-64, and of 64-bit ARM with small pages of 4 KiB.
const LARGE_PAGE: usize = 2 << 20;

/// Numbers of which zero bytes are the default.
///
/// # Safety
/// Zero bytes are a valid value, the alignment is that of a cache line at most, and nothing has to be dropped.
pub unsafe trait Plain: Copy + Default + Send + Sync + 'static {}

macro_rules! plain {
    ($($type:ty),*) => {
        $(
            // SAFETY: any bytes are a value, of which the alignment is 8 at most.
            unsafe impl Plain for $type {}
        )*
    };
}

plain!(u8, i8, i16, u16, f32, usize);

/// Values of which the first begins a cache line, so that vectors of one line do not lie across two.
pub struct Aligned<T> {
    /// What keeps the values.
    _block: Option<Arc<Block>>,
    /// In the block; nobody else sees it.
    start: NonNull<T>,
    len: usize,
    owned: PhantomData<T>,
}

// SAFETY: it owns its values as a `Vec` does; of the block they share nothing else is read or written.
unsafe impl<T: Send> Send for Aligned<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Aligned<T> {}

impl<T: Plain> Aligned<T> {
    /// `len` times the default.
    ///
    /// # Panics
    /// There are no addresses for so many.
    pub fn new(len: usize) -> Aligned<T> {
        const { assert!(align_of::<T>() <= LINE) };
        assert!(len <= isize::MAX as usize / size_of::<T>().max(1));
        let bytes = len * size_of::<T>();
        let (block, start) = PIECE.with_borrow_mut(|piece| match piece {
            Some(piece) => piece.take(bytes),
            None => {
                let block = Arc::new(Block::new(bytes, bytes));
                let start = block.start;
                (block, start)
            }
        });
        Aligned {
            _block: Some(block),
            start: start.cast(),
            len,
            owned: PhantomData,
        }
    }
}

/// Runs `make`; what it makes of [`Aligned`] memory lies in one piece as far as `bytes`, which is what
/// it is expected to take, were not too few. All of the piece is kept as long as any of it.
pub fn in_one_piece<R>(bytes: usize, make: impl FnOnce() -> R) -> R {
    /// Puts back what there was, also when `make` panics.
    struct Before(Option<Piece>);
    impl Drop for Before {
        fn drop(&mut self) {
            PIECE.set(self.0.take());
        }
    }
    let _before = Before(PIECE.replace(Some(Piece::new(bytes))));
    make()
}

thread_local! {
    /// From which the next memory is taken, if from any.
    static PIECE: RefCell<Option<Piece>> = const { RefCell::new(None) };
}

/// A block of which some is taken.
struct Piece {
    block: Arc<Block>,
    taken: usize,
}

impl Piece {
    fn new(bytes: usize) -> Piece {
        // What is not touched costs nothing.
        let block = Arc::new(Block::new(bytes, bytes + bytes / 4 + LARGE_PAGE));
        Piece { block, taken: 0 }
    }

    /// `bytes` that nobody has taken yet.
    fn take(&mut self, bytes: usize) -> (Arc<Block>, NonNull<u8>) {
        if bytes > self.block.len - self.taken {
            *self = Piece::new(bytes.max(self.block.len / 4));
        }
        // SAFETY: so many bytes of the block are taken, and there are more.
        let start = unsafe { self.block.start.add(self.taken) };
        let end = (self.taken + bytes).next_multiple_of(LINE);
        self.taken = end.min(self.block.len);
        (Arc::clone(&self.block), start)
    }
}

/// Zeroed bytes, the first of a cache line; owners of parts of it agree on which.
struct Block {
    start: NonNull<u8>,
    len: usize,
    /// As it was allocated, with room to align `start`.
    memory: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is memory alone; who reads and writes it has to see to that.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// `len` bytes, of which the first `touched` are expected to be used: where those are about a
    /// large page, in large pages.
    fn new(touched: usize, len: usize) -> Block {
        let large = (touched + LARGE_PAGE / 2) / LARGE_PAGE * LARGE_PAGE;
        // Allocators clear by hand, and so touch, what is to be aligned to more than they do anyway.
        let (room, align) = match large {
            0 => (len.max(1), LINE),
            _ => (len.max(large) + LARGE_PAGE, align_of::<u64>()),
        };
        let Ok(layout) = Layout::from_size_align(room, align) else {
            panic!("{len} bytes of memory");
        };
        // SAFETY: the layout has some bytes.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else {
            handle_alloc_error(layout);
        };
        let before = match large {
            0 => 0,
            _ => memory.as_ptr().align_offset(LARGE_PAGE).min(LARGE_PAGE),
        };
        let block = Block {
            // SAFETY: there are so many bytes more than are needed.
            start: unsafe { memory.add(before) },
            len,
            memory,
            layout,
        };
        block.advise(large);
        block
    }

    #[cfg(target_os = "linux")]
    fn advise(&self, large: usize) {
        if large > 0 {
            // SAFETY: these pages belong to the block, and what is in them stays. Where there are no large
            // pages Linux refuses, and small ones stay.
            unsafe { libc::madvise(self.start.as_ptr().cast(), large, libc::MADV_HUGEPAGE) };
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn advise(&self, _: usize) {}
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

impl<T> Default for Aligned<T> {
    fn default() -> Aligned<T> {
        Aligned {
            _block: None,
            start: NonNull::dangling(),
            len: 0,
            owned: PhantomData,
        }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many values are there, and valid: zeros at first. They are this one's.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Aligned<T> {
    fn eq(&self, other: &Aligned<T>) -> bool {
        **self == **other
    }
}

impl<T: Plain> Clone for Aligned<T> {
    fn clone(&self) -> Aligned<T> {
        let mut copy = Aligned::new(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_a_line_and_copies_do() {
        for len in [0, 1, 100, 5000, LARGE_PAGE - 1, 2 * LARGE_PAGE + 1] {
            let mut bytes = Aligned::<u8>::new(len);
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(7);
            let copy = bytes.clone();
            for bytes in [&bytes, &copy] {
                assert_eq!(bytes.as_ptr().addr() % LINE, 0);
                assert_eq!(**bytes, vec![7; len][..]);
            }
            assert_eq!(Aligned::<f32>::new(len).as_ptr().addr() % LINE, 0);
        }
    }

    #[test]
    fn parts_of_a_piece_do_not_overlap_and_outlive_it() {
        for expected in [0, 1000, 60_000, 3 * LARGE_PAGE] {
            let make = |index: usize| {
                let mut part = Aligned::<u16>::new(index * 257);
                assert!(part.iter().all(|value| *value == 0));
                part.fill(index as u16);
                part
            };
            let mut parts: Vec<_> = in_one_piece(expected, || (0..100).map(make).collect());
            // Outside of the piece again, and in the place of a part that is gone.
            parts.extend((100..110).map(make));
            parts.remove(50);
            parts.push(make(110));
            for part in &parts {
                assert_eq!(part.as_ptr().addr() % LINE, 0);
                let index = part.len() / 257;
                assert!(part.iter().all(|value| usize::from(*value) == index));
            }
        }
        let lines: usize = in_one_piece(1 << 16, || {
            let parts = [(); 2].map(|()| Aligned::<i8>::new(1));
            parts[1].as_ptr().addr() - parts[0].as_ptr().addr()
        });
        assert_eq!(lines, LINE);
    }

    #[test]
    fn a_panic_ends_a_piece() {
        let attempt = std::panic::catch_unwind(|| in_one_piece(100, || panic!("on purpose")));
        assert!(attempt.is_err());
        assert!(PIECE.with_borrow(Option::is_none));
    }
}
