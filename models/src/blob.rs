//! Bytes in memory, or in a file from which they are read when they are needed.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes that do not change: in memory, or in a file that stays open.
///
/// A network is nearly all weights, which are read once, layer by layer: they need not be in memory all
/// at the same time. Copies and slices share the bytes.
#[derive(Clone, Debug)]
pub struct Blob {
    source: Source,
    range: Range<usize>,
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Arc<Vec<u8>>),
    File(Arc<File>),
}

impl Blob {
    /// The first `len` bytes of a file. They must stay as they are: whoever writes another version gives
    /// it the name of the old one, and leaves that alone.
    pub(crate) fn of_file(file: File, len: usize) -> Blob {
        let source = Source::File(Arc::new(file));
        Blob {
            source,
            range: 0..len,
        }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Some of the bytes.
    ///
    /// # Panics
    /// They are not all there.
    pub fn slice(&self, range: Range<usize>) -> Blob {
        assert!(range.start <= range.end && range.end <= self.len());
        let first = self.range.start;
        Blob {
            source: self.source.clone(),
            range: first + range.start..first + range.end,
        }
    }

    /// Fills `into` with the bytes from `at` on.
    ///
    /// # Errors
    /// They are not all there, or the file cannot be read.
    pub fn read_at(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(into.len());
        if end.is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let from = self.range.start + at;
        match &self.source {
            Source::Memory(bytes) => into.copy_from_slice(&bytes[from..][..into.len()]),
            Source::File(file) => file.read_exact_at(into, from as u64)?,
        }
        Ok(())
    }

    /// Replaces what is in `into` by all bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, into: &mut Vec<u8>) -> io::Result<()> {
        into.resize(self.len(), 0);
        self.read_at(0, into)
    }

    /// All bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// Calls `work` with all bytes, some at a time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn for_each_part(&self, mut work: impl FnMut(&[u8])) -> io::Result<()> {
        const PART: usize = 128 << 10;
        let mut part = Vec::new();
        for start in (0..self.len()).step_by(PART) {
            self.slice(start..self.len().min(start + PART))
                .read(&mut part)?;
            work(&part);
        }
        Ok(())
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Blob {
        let range = 0..bytes.len();
        Blob {
            source: Source::Memory(Arc::new(bytes)),
            range,
        }
    }
}

/// What cannot be read is equal to nothing.
impl PartialEq for Blob {
    fn eq(&self, other: &Blob) -> bool {
        let (own, others) = (self.bytes(), other.bytes());
        self.len() == other.len() && own.is_ok_and(|own| others.is_ok_and(|others| own == others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_in_memory_and_in_a_file() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        let path = std::env::temp_dir().join(format!("sortline-blob-{}", std::process::id()));
        std::fs::write(&path, &bytes).unwrap();
        let file = Blob::of_file(File::open(&path).unwrap(), bytes.len());
        std::fs::remove_file(&path).unwrap();
        let memory = Blob::from(bytes.clone());
        assert_eq!(file, memory);
        for blob in [file, memory] {
            let slice = blob.slice(7..250_003).slice(1..200_000);
            assert_eq!((slice.len(), slice.is_empty()), (199_999, false));
            assert_eq!(slice.bytes().unwrap(), bytes[8..200_007]);
            let mut parts = Vec::new();
            slice
                .for_each_part(|part| parts.extend_from_slice(part))
                .unwrap();
            assert_eq!(parts, bytes[8..200_007]);
            assert_ne!(slice, blob);
            assert!(slice.read_at(199_990, &mut [0; 9]).is_ok());
            assert!(slice.read_at(199_990, &mut [0; 10]).is_err());
            assert!(slice.read_at(usize::MAX, &mut [0; 10]).is_err());
        }
        // A file that became shorter.
        std::fs::write(&path, b"four").unwrap();
        let short = Blob::of_file(File::open(&path).unwrap(), 5);
        std::fs::remove_file(&path).unwrap();
        assert!(short.bytes().is_err());
        assert_ne!(short, short.clone());
    }
}
