//! Messages of protocol buffers, of which parts are left where they are.

use std::io;
use std::ops::Range;

use models::Blob;
use prost::encoding::{WireType, decode_key, decode_varint};

/// Bytes that are read at a time.
const WINDOW: usize = 16 << 10;

/// The longest key or length.
const VARINT: usize = 10;

/// Reads a file forwards, some of it at a time.
pub(super) struct Reader<'a> {
    file: &'a Blob,
    window: Vec<u8>,
    /// Where in the file the window starts.
    start: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Blob) -> Reader<'a> {
        Reader {
            file,
            window: Vec::new(),
            start: 0,
        }
    }

    /// The bytes of the fields that do not have this number, and where the values of those are that have.
    pub(super) fn split(
        &mut self,
        message: Range<usize>,
        field: u32,
    ) -> io::Result<(Vec<u8>, Vec<Range<usize>>)> {
        let (mut rest, mut found) = (Vec::new(), Vec::new());
        let mut at = message.start;
        while at < message.end {
            let most = (message.end - at).min(2 * VARINT);
            let mut head = self.bytes(at..at + most)?;
            let before = head.len();
            let (number, wire_type) = decode_key(&mut head)?;
            let length = match wire_type {
                WireType::Varint => decode_varint(&mut head).map(|_| 0)?,
                WireType::ThirtyTwoBit => 4,
                WireType::SixtyFourBit => 8,
                WireType::LengthDelimited => decode_varint(&mut head)?,
                // ONNX has none; whoever decodes the rest refuses them.
                WireType::StartGroup | WireType::EndGroup => 0,
            };
            let start = at + before - head.len();
            let room = message.end - start;
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length <= room);
            let end = start + length.ok_or(io::ErrorKind::UnexpectedEof)?;
            if number == field && wire_type == WireType::LengthDelimited {
                found.push(start..end);
            } else {
                self.copy(at..end, &mut rest)?;
            }
            at = end;
        }
        Ok((rest, found))
    }

    /// Adds bytes of the file to `to`.
    pub(super) fn copy(&mut self, range: Range<usize>, to: &mut Vec<u8>) -> io::Result<()> {
        for start in range.clone().step_by(WINDOW) {
            let end = range.end.min(start + WINDOW);
            to.extend_from_slice(self.bytes(start..end)?);
        }
        Ok(())
    }

    /// Bytes of the file, no more than a window has.
    fn bytes(&mut self, range: Range<usize>) -> io::Result<&[u8]> {
        if range.start < self.start || range.end > self.start + self.window.len() {
            let end = self.file.len().min(range.start + WINDOW);
            self.file.slice(range.start..end).read(&mut self.window)?;
            self.start = range.start;
        }
        Ok(&self.window[range.start - self.start..range.end - self.start])
    }
}
