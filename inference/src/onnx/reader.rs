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

/// One field of a message, and where in the file it is.
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) wire_type: WireType,
    /// With its key and length.
    pub(super) whole: Range<usize>,
    /// Of a number its bytes.
    pub(super) value: Range<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Blob) -> Reader<'a> {
        Reader {
            file,
            window: Vec::new(),
            start: 0,
        }
    }

    /// Takes the next field off a message.
    pub(super) fn next(&mut self, message: &mut Range<usize>) -> io::Result<Option<Field>> {
        if message.start >= message.end {
            return Ok(None);
        }
        let at = message.start;
        let most = message.len().min(2 * VARINT);
        let mut head = self.bytes(at..at + most)?;
        let (number, wire_type) = decode_key(&mut head)?;
        let before = most - head.len();
        let length = match wire_type {
            WireType::Varint => decode_varint(&mut head).map(|_| 0)?,
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::LengthDelimited => decode_varint(&mut head)?,
            // ONNX has none; whoever decodes the field refuses them.
            WireType::StartGroup | WireType::EndGroup => 0,
        };
        let taken = at + most - head.len();
        let room = message.end - taken;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= room);
        let end = taken + length.ok_or(io::ErrorKind::UnexpectedEof)?;
        message.start = end;
        let first = match wire_type {
            WireType::LengthDelimited => taken,
            _ => at + before,
        };
        Ok(Some(Field {
            number,
            wire_type,
            whole: at..end,
            value: first..end,
        }))
    }

    /// The numbers of a field that has one, or some packed.
    pub(super) fn numbers(&mut self, field: &Field, mut take: impl FnMut(u64)) -> io::Result<()> {
        let mut value = field.value.clone();
        while !value.is_empty() {
            let most = value.len().min(VARINT);
            let mut bytes = self.bytes(value.start..value.start + most)?;
            take(decode_varint(&mut bytes)?);
            value.start += most - bytes.len();
        }
        Ok(())
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
