//! The threads that a layer's work is split among.

/// Memory that one thread works in.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    words: Vec<i16>,
    starts: Vec<usize>,
}

impl Scratch {
    /// `len` words of unspecified content.
    pub(crate) fn words(&mut self, len: usize) -> &mut [i16] {
        if self.words.len() < len {
            self.words.resize(len, 0);
        }
        &mut self.words[..len]
    }

    /// As [`Scratch::words`], with a row's start in them for each of `rows`.
    pub(crate) fn rows(&mut self, len: usize, rows: usize) -> (&mut [i16], &mut [usize]) {
        self.words(len);
        if self.starts.len() < rows {
            self.starts.resize(rows, 0);
        }
        (&mut self.words[..len], &mut self.starts[..rows])
    }
}

/// Runs the parts of a layer: so far one after the other, on the caller's thread.
#[derive(Clone, Debug)]
pub struct Workers {
    scratch: Vec<Scratch>,
}

impl Workers {
    /// One thread: the caller's.
    pub fn single() -> Workers {
        Workers {
            scratch: vec![Scratch::default()],
        }
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.scratch.len()
    }

    /// Calls `work` once for every `chunk` values of `output`, with the number of the chunk.
    pub(crate) fn for_each_chunk(
        &mut self,
        output: &mut [u8],
        chunk: usize,
        work: &(dyn Fn(usize, &mut [u8], &mut Scratch) + Sync),
    ) {
        for (index, part) in output.chunks_mut(chunk).enumerate() {
            work(index, part, &mut self.scratch[0]);
        }
    }
}
