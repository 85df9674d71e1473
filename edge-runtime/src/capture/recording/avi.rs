//! Motion JPEG in AVI, read from front to back: chunks of a name, a length and as many bytes. Those in
//! `RIFF` and `LIST` are read as if they stood alone, so that neither the lengths of these nor an index
//! have to be right: a program that records and is killed leaves both undone.
//!
//! ```text
//! RIFF AVI   LIST hdrl   avih   LIST strl   strh strf
//!            LIST movi   00dc 00dc 01wb 00dc ...   idx1
//! ```

use super::{Pictures, decode_jpeg, read_bytes};
use image::RgbImage;
use std::io::{BufRead, Read as _};

/// A picture is smaller.
const MOST_PICTURE_BYTES: u32 = 64 << 20;
/// The heads of a stream and of its format are shorter.
const MOST_HEAD_BYTES: u32 = 1 << 16;

pub(super) struct Avi<R> {
    input: R,
    /// Of the pictures, among the streams.
    stream: u8,
    rate_hz: Option<f64>,
    data: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    name: [u8; 4],
    bytes: u32,
}

/// A stream of pictures, as its head describes it.
struct Video {
    stream: u8,
    rate_hz: Option<f64>,
}

impl<R: BufRead> Avi<R> {
    /// Reads up to the first picture.
    pub(super) fn open(mut input: R) -> Result<Self, String> {
        let (mut streams, mut video, mut data) = (0_u8, None, Vec::new());
        let mut is_coded_well = false;
        while let Some(chunk) = next_chunk(&mut input)? {
            match &chunk.name {
                b"strl" => streams = streams.saturating_add(1),
                b"strh" => {
                    head(&mut input, chunk, &mut data)?;
                    if data.starts_with(b"vids") && video.is_none() {
                        video = Some(Video {
                            stream: streams.saturating_sub(1),
                            rate_hz: rate(&data),
                        });
                    }
                }
                b"strf" => {
                    head(&mut input, chunk, &mut data)?;
                    let own = |v: &Video| v.stream == streams.saturating_sub(1);
                    if video.as_ref().is_some_and(own) {
                        coding(&data)?;
                        is_coded_well = true;
                    }
                }
                b"movi" => break,
                _ => skip(&mut input, chunk)?,
            }
        }
        match video {
            Some(Video { stream, rate_hz }) if is_coded_well => Ok(Self {
                input,
                stream,
                rate_hz,
                data,
            }),
            _ => Err("there are no pictures in it".to_owned()),
        }
    }
}

impl<R: BufRead + Send> Pictures for Avi<R> {
    fn next(&mut self, image: &mut RgbImage) -> Result<Option<u64>, String> {
        let mut left_out = 0;
        while let Some(chunk) = next_chunk(&mut self.input)? {
            let [tens, ones, kind @ ..] = chunk.name;
            let number = [b'0' + self.stream / 10, b'0' + self.stream % 10];
            if [tens, ones] != number || ![*b"dc", *b"db"].contains(&kind) {
                skip(&mut self.input, chunk)?;
            } else if chunk.bytes == 0 {
                // The picture before is meant, for want of another.
                left_out += 1;
            } else if chunk.bytes > MOST_PICTURE_BYTES {
                return Err(format!("is damaged: {} MiB", chunk.bytes >> 20));
            } else {
                read_bytes(&mut self.input, chunk.bytes.into(), &mut self.data)?;
                skip_padding(&mut self.input, chunk)?;
                decode_jpeg(&self.data, image)?;
                return Ok(Some(left_out));
            }
        }
        Ok(None)
    }

    fn rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

/// The next chunk, whose bytes come next; of the kinds that hold others only the beginning, under the
/// name of what they hold.
fn next_chunk(input: &mut impl BufRead) -> Result<Option<Chunk>, String> {
    let mut head = Vec::new();
    let read = input.by_ref().take(8).read_to_end(&mut head);
    read.map_err(|e| format!("cannot be read: {e}"))?;
    if head.is_empty() {
        return Ok(None);
    }
    let [n0, n1, n2, n3, b0, b1, b2, b3] = head[..] else {
        return Err("is cut short".to_owned());
    };
    let chunk = Chunk {
        name: [n0, n1, n2, n3],
        bytes: u32::from_le_bytes([b0, b1, b2, b3]),
    };
    if !chunk.name.iter().all(|c| (0x20..0x7f).contains(c)) {
        return Err("is damaged: there is no chunk where one should begin".to_owned());
    }
    if !matches!(&chunk.name, b"RIFF" | b"LIST") {
        return Ok(Some(chunk));
    }
    read_bytes(input, 4, &mut head)?;
    let name = [head[0], head[1], head[2], head[3]];
    let is_opened = matches!(
        &name,
        b"AVI " | b"AVIX" | b"hdrl" | b"strl" | b"movi" | b"rec "
    );
    let bytes = if is_opened {
        0
    } else {
        chunk.bytes.saturating_sub(4)
    };
    Ok(Some(Chunk { name, bytes }))
}

fn head(input: &mut impl BufRead, chunk: Chunk, data: &mut Vec<u8>) -> Result<(), String> {
    if chunk.bytes > MOST_HEAD_BYTES {
        return Err(format!("is damaged: a head of {} bytes", chunk.bytes));
    }
    read_bytes(input, chunk.bytes.into(), data)?;
    skip_padding(input, chunk)
}

fn skip(input: &mut impl BufRead, chunk: Chunk) -> Result<(), String> {
    let bytes = u64::from(chunk.bytes);
    let skipped = std::io::copy(&mut input.by_ref().take(bytes), &mut std::io::sink());
    match skipped.map_err(|e| format!("cannot be read: {e}"))? {
        n if n == bytes => skip_padding(input, chunk),
        _ => Err("is cut short".to_owned()),
    }
}

/// Chunks begin at even places; the last one may end at an odd one.
fn skip_padding(input: &mut impl BufRead, chunk: Chunk) -> Result<(), String> {
    let padding = u64::from(chunk.bytes % 2);
    let skipped = std::io::copy(&mut input.by_ref().take(padding), &mut std::io::sink());
    skipped
        .map(drop)
        .map_err(|e| format!("cannot be read: {e}"))
}

/// Of a `strh`: its numbers of pictures, in so many seconds.
fn rate(head: &[u8]) -> Option<f64> {
    let number = |at: usize| {
        let bytes = head.get(at..at + 4)?;
        Some(f64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
    };
    let (seconds, pictures) = (number(20)?, number(24)?);
    (seconds > 0.0 && pictures > 0.0).then(|| pictures / seconds)
}

/// Refuses what is not Motion JPEG, by a `strf`: a BITMAPINFOHEADER.
fn coding(format: &[u8]) -> Result<(), String> {
    let code = format
        .get(16..20)
        .ok_or("is damaged: its format is cut short")?;
    if code.eq_ignore_ascii_case(b"MJPG") || code.eq_ignore_ascii_case(b"JPEG") {
        return Ok(());
    }
    Err(format!(
        "its pictures are coded as {}, not as Motion JPEG; `ffmpeg -i FILE -c:v mjpeg -q:v 2 out.avi` codes them so",
        code.escape_ascii()
    ))
}
