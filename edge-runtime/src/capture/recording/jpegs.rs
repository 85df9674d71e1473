//! JPEGs one after the other: what `ffmpeg -f mjpeg` writes, and many cameras send.

use super::{Pictures, decode_jpeg};
use image::RgbImage;
use std::io::BufRead;

/// A picture is smaller.
const MOST_PICTURE_BYTES: usize = 64 << 20;

pub(super) struct Jpegs<R> {
    input: R,
    data: Vec<u8>,
}

/// Where in a picture one is.
enum Place {
    Marker,
    /// Pixels, up to a marker that is none of theirs.
    Scan,
}

impl<R: BufRead> Jpegs<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            data: Vec::new(),
        }
    }

    /// Takes the next byte into the picture's data.
    fn byte(&mut self) -> Result<u8, String> {
        let next = self.input.fill_buf().map_err(unreadable)?.first().copied();
        let byte = next.ok_or("is cut short")?;
        self.input.consume(1);
        self.data.push(byte);
        match self.data.len() {
            0..=MOST_PICTURE_BYTES => Ok(byte),
            _ => Err("is damaged: it has no end".to_owned()),
        }
    }

    /// Reads up to a marker, and gives its second byte.
    fn marker(&mut self, place: Place) -> Result<u8, String> {
        loop {
            if self.byte()? != 0xff {
                match place {
                    Place::Marker => return Err("is damaged: it is no JPEG".to_owned()),
                    Place::Scan => continue,
                }
            }
            let mut byte = 0xff;
            while byte == 0xff {
                byte = self.byte()?;
            }
            // A byte of a scan, or a place where a decoder may start afresh.
            if !matches!((&place, byte), (Place::Scan, 0x00 | 0xd0..=0xd7)) {
                return Ok(byte);
            }
        }
    }

    /// Reads a picture into `data`; `false` where there is none any more.
    fn read(&mut self) -> Result<bool, String> {
        self.data.clear();
        // Some cameras fill up with zeros.
        loop {
            match self.input.fill_buf().map_err(unreadable)? {
                [] => return Ok(false),
                [0, ..] => self.input.consume(1),
                _ => break,
            }
        }
        if self.marker(Place::Marker)? != 0xd8 {
            return Err("is damaged: it is no JPEG".to_owned());
        }
        let mut place = Place::Marker;
        loop {
            let marker = self.marker(place)?;
            place = Place::Marker;
            match marker {
                0xd9 => return Ok(true),
                0x01 | 0xd0..=0xd8 => {}
                _ => {
                    let bytes = u16::from_be_bytes([self.byte()?, self.byte()?]);
                    for _ in 2..bytes {
                        self.byte()?;
                    }
                    if marker == 0xda {
                        place = Place::Scan;
                    }
                }
            }
        }
    }
}

impl<R: BufRead + Send> Pictures for Jpegs<R> {
    fn next(&mut self, image: &mut RgbImage) -> Result<Option<u64>, String> {
        if !self.read()? {
            return Ok(None);
        }
        decode_jpeg(&self.data, image)?;
        Ok(Some(0))
    }
}

fn unreadable(error: std::io::Error) -> String {
    format!("cannot be read: {error}")
}
