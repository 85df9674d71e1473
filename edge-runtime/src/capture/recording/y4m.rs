//! YUV4MPEG2, the uncompressed video of mjpegtools and ffmpeg:
//!
//! ```text
//! YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n
//! FRAME\n  luma, blue, red, a plane each, without padding
//! FRAME\n  ...
//! ```

use super::{Pictures, read_bytes, resize};
use crate::capture::colour::{FULL, LIMITED, planar_row};
use dataset::MAX_SIDE_PX;
use image::RgbImage;
use std::io::{BufRead, Read as _};

/// Headers are shorter.
const MOST_HEADER_BYTES: u64 = 1024;

pub(super) struct Y4m<R> {
    input: R,
    header: Header,
    planes: Vec<u8>,
}

#[derive(Debug, PartialEq)]
struct Header {
    size: (u32, u32),
    rate_hz: Option<f64>,
    /// How many columns and rows of pixels share a colour; `None` without colour.
    shared: Option<(usize, usize)>,
    is_full_range: bool,
}

impl<R: BufRead> Y4m<R> {
    pub(super) fn open(mut input: R) -> Result<Self, String> {
        let line = line(&mut input)?.unwrap_or_default();
        Ok(Self {
            header: header(&line)?,
            input,
            planes: Vec::new(),
        })
    }

    /// From the planes that were read.
    fn convert<const RANGE: bool>(&self, rgb: &mut [u8]) {
        let (width, height) = self.header.pixels();
        let (luma, colour) = self.planes.split_at(width * height);
        let rows = luma
            .chunks_exact(width)
            .zip(rgb.chunks_exact_mut(width * 3));
        let Some((columns, shared_rows)) = self.header.shared else {
            let grey = (&[128][..], &[128][..]);
            rows.for_each(|(luma, rgb)| planar_row::<RANGE>(luma, grey, width, rgb));
            return;
        };
        let (blue, red) = colour.split_at(colour.len() / 2);
        let row_bytes = width.div_ceil(columns);
        for (n, (luma, rgb)) in rows.enumerate() {
            let at = n / shared_rows * row_bytes;
            let colours = (&blue[at..at + row_bytes], &red[at..at + row_bytes]);
            planar_row::<RANGE>(luma, colours, columns, rgb);
        }
    }
}

impl<R: BufRead + Send> Pictures for Y4m<R> {
    fn next(&mut self, image: &mut RgbImage) -> Result<Option<u64>, String> {
        match line(&mut self.input)? {
            None => return Ok(None),
            Some(line) if line == "FRAME" || line.starts_with("FRAME ") => {}
            Some(_) => return Err("is damaged: it does not begin with FRAME".to_owned()),
        }
        read_bytes(
            &mut self.input,
            self.header.picture_bytes(),
            &mut self.planes,
        )?;
        resize(image, self.header.size);
        match self.header.is_full_range {
            true => self.convert::<FULL>(image),
            false => self.convert::<LIMITED>(image),
        }
        Ok(Some(0))
    }

    fn rate_hz(&self) -> Option<f64> {
        self.header.rate_hz
    }
}

impl Header {
    fn pixels(&self) -> (usize, usize) {
        (self.size.0 as usize, self.size.1 as usize)
    }

    fn picture_bytes(&self) -> u64 {
        let (width, height) = self.pixels();
        let colours = |(columns, rows)| 2 * width.div_ceil(columns) * height.div_ceil(rows);
        (width * height + self.shared.map_or(0, colours)) as u64
    }
}

/// A line without its end; `None` where there is nothing any more.
fn line(input: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut line = Vec::new();
    let read = input
        .by_ref()
        .take(MOST_HEADER_BYTES)
        .read_until(b'\n', &mut line);
    read.map_err(|e| format!("cannot be read: {e}"))?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(String::from_utf8_lossy(&line).into_owned())),
        Some(_) if line.len() as u64 + 1 == MOST_HEADER_BYTES => {
            Err("is damaged: its first line has no end".to_owned())
        }
        Some(_) => Err("is cut short".to_owned()),
    }
}

fn header(line: &str) -> Result<Header, String> {
    let mut words = line.split(' ');
    if words.next() != Some("YUV4MPEG2") {
        return Err("is damaged: it does not begin with YUV4MPEG2".to_owned());
    }
    let (mut width, mut height, mut rate_hz, mut colours, mut range) =
        (None, None, None, "420", None);
    for word in words {
        let Some((kind, value)) = word.split_at_checked(1) else {
            continue;
        };
        match kind {
            "W" => width = Some(side(value)?),
            "H" => height = Some(side(value)?),
            "F" => rate_hz = rate(value)?,
            "C" => colours = value,
            "I" if ["t", "b", "m"].contains(&value) => {
                return Err(
                    "is interlaced; `ffmpeg -i FILE -vf yadif out.y4m` makes whole pictures of it"
                        .to_owned(),
                );
            }
            "X" => range = value.strip_prefix("COLORRANGE=").or(range),
            _ => {}
        }
    }
    let (Some(width), Some(height)) = (width, height) else {
        return Err("does not say its width and height".to_owned());
    };
    let shared = match colours {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Some((2, 2)),
        "422" => Some((2, 1)),
        "444" => Some((1, 1)),
        "411" => Some((4, 1)),
        "mono" => None,
        _ => {
            return Err(format!(
                "has pixels of the kind {colours}; `ffmpeg -i FILE -pix_fmt yuv420p out.y4m` changes them"
            ));
        }
    };
    Ok(Header {
        size: (width, height),
        rate_hz,
        shared,
        // Pictures without colour are what they are, as from a camera, unless they say otherwise.
        is_full_range: range.map_or(shared.is_none(), |range| range == "FULL"),
    })
}

fn side(text: &str) -> Result<u32, String> {
    let px = text.parse().ok();
    px.filter(|px| (1..=MAX_SIDE_PX).contains(px))
        .ok_or_else(|| format!("has sides of {text:?} pixels; 1 to {MAX_SIDE_PX} can be read"))
}

/// A fraction; 0:0 is unknown.
fn rate(text: &str) -> Result<Option<f64>, String> {
    let parts = text.split_once(':');
    let parts = parts.and_then(|(n, d)| Some((n.parse::<u32>().ok()?, d.parse::<u32>().ok()?)));
    match parts {
        Some((0, 0)) => Ok(None),
        Some((n, d)) if d > 0 => Ok(Some(f64::from(n) / f64::from(d))),
        _ => Err(format!(
            "has {text:?} pictures a second, which is no fraction"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_size_rate_and_colours() {
        let found = header(
            "YUV4MPEG2 W640 H480 F30000:1001 Ip A0:0 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL",
        );
        let expect = Header {
            size: (640, 480),
            rate_hz: Some(30_000.0 / 1001.0),
            shared: Some((2, 2)),
            is_full_range: true,
        };
        assert_eq!(found, Ok(expect));
        let bare = header("YUV4MPEG2 W3 H5").unwrap();
        assert_eq!((bare.rate_hz, bare.picture_bytes()), (None, 15 + 2 * 6));
        assert!(!bare.is_full_range);
        let mono = |more| header(&format!("YUV4MPEG2 W3 H5 Cmono{more}")).unwrap();
        assert!(mono("").is_full_range && !mono(" XCOLORRANGE=LIMITED").is_full_range);
    }

    #[test]
    fn a_header_that_is_wrong_says_what() {
        for (text, what) in [
            ("", "YUV4MPEG2"),
            ("YUV4MPEG2 W640", "width and height"),
            ("YUV4MPEG2 W0 H480", "\"0\" pixels"),
            ("YUV4MPEG2 W99999 H480", "16384"),
            ("YUV4MPEG2 W640 H480 F1:0", "\"1:0\" pictures"),
            ("YUV4MPEG2 W640 H480 C420p10", "420p10"),
            ("YUV4MPEG2 W640 H480 It", "interlaced"),
        ] {
            let error = header(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
