//! Memory for vectors.

use std::ops::{Deref, DerefMut};

/// Bytes in a cache line.
const LINE: usize = 64;

/// Values of which the first begins a cache line, so that vectors of one line do not lie across two.
#[derive(Debug, Default)]
pub struct Aligned<T> {
    values: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// `len` times the default.
    pub fn new(len: usize) -> Aligned<T> {
        let values = vec![T::default(); len + LINE];
        let start = values.as_ptr().align_offset(LINE).min(LINE);
        Aligned { values, start, len }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.start..][..self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..][..self.len]
    }
}

impl<T: Copy + Default> Clone for Aligned<T> {
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
        for len in [0, 1, 100, 5000] {
            let mut bytes = Aligned::<u8>::new(len);
            bytes.fill(7);
            let copy = bytes.clone();
            for bytes in [&bytes, &copy] {
                assert_eq!(bytes.as_ptr().addr() % LINE, 0);
                assert_eq!(**bytes, vec![7; len][..]);
            }
            assert_eq!(Aligned::<f32>::new(len).as_ptr().addr() % LINE, 0);
        }
    }
}
