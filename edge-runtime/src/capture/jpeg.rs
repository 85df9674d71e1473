//! Pictures that are a JPEG each: Motion JPEG, from cameras and in videos.

use image::codecs::jpeg::JpegDecoder;
use image::{ImageDecoder as _, ImageFormat, RgbImage};
use std::borrow::Cow;
use std::io::Cursor;
use std::sync::LazyLock;

/// 64 pixels take at least a bit: what claims more pixels is damaged, and takes no memory.
const MOST_PIXELS_A_BYTE: u64 = 1024;

/// A picture of which the size has been read.
pub(crate) struct Jpeg<'a> {
    decoder: JpegDecoder<Cursor<Cow<'a, [u8]>>>,
}

impl<'a> Jpeg<'a> {
    /// # Errors
    /// What is wrong with `data`.
    pub(crate) fn open(data: &'a [u8]) -> Result<Self, String> {
        if dataset::is_cut_off(data) {
            return Err("is cut short".to_owned());
        }
        let decoder = JpegDecoder::new(Cursor::new(with_tables(data))).map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MOST_PIXELS_A_BYTE * data.len() as u64 {
            return Err(format!(
                "is damaged: {} bytes are no picture of {width}x{height}",
                data.len()
            ));
        }
        Ok(Self { decoder })
    }

    pub(crate) fn size(&self) -> (u32, u32) {
        self.decoder.dimensions()
    }

    /// Writes the picture to rows of `width * 3` bytes.
    ///
    /// # Errors
    /// What is wrong with the picture; `rgb` may be half written.
    pub(crate) fn read(self, rgb: &mut [u8]) -> Result<(), String> {
        let (width, height) = self.size();
        let pixels = width as usize * height as usize;
        if rgb.len() != pixels * 3 {
            return Err(format!("is {width}x{height}"));
        }
        match self.decoder.total_bytes() {
            bytes if bytes == rgb.len() as u64 => self.decoder.read_image(rgb).map_err(damaged),
            bytes if bytes == pixels as u64 => {
                let mut grey = vec![0; pixels];
                self.decoder.read_image(&mut grey).map_err(damaged)?;
                grey_row(&grey, rgb);
                Ok(())
            }
            _ => Err("is no picture in 8 bits".to_owned()),
        }
    }
}

const TABLES: u8 = 0xc4;
const SCAN: u8 = 0xda;

/// Many cameras leave out the tables of codes, and mean those of the standard (ITU T.81, annex K.3).
fn with_tables(jpeg: &[u8]) -> Cow<'_, [u8]> {
    let head = segments(jpeg);
    if head.iter().any(|(marker, _)| *marker == TABLES) {
        return Cow::Borrowed(jpeg);
    }
    match head.last() {
        Some((SCAN, at)) => Cow::Owned([&jpeg[..*at], &STANDARD_TABLES, &jpeg[*at..]].concat()),
        _ => Cow::Borrowed(jpeg),
    }
}

/// The standard's tables, as our own encoder writes them.
static STANDARD_TABLES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut file = Cursor::new(Vec::new());
    // A file that is none has no tables, and then a picture without them is refused.
    let _ = RgbImage::new(8, 8).write_to(&mut file, ImageFormat::Jpeg);
    let jpeg = file.into_inner();
    let head = segments(&jpeg);
    let segments = head.iter().zip(head.iter().skip(1));
    let tables = segments.filter(|((marker, _), _)| *marker == TABLES);
    tables
        .flat_map(|((_, from), (_, to))| jpeg[*from..*to].to_vec())
        .collect()
});

/// The markers up to the first scan, each with its place.
fn segments(jpeg: &[u8]) -> Vec<(u8, usize)> {
    let mut found = Vec::new();
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = jpeg.get(at..at + 4) {
        found.push((marker, at));
        if marker == SCAN {
            break;
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    found
}

fn damaged(error: image::ImageError) -> String {
    format!("is damaged: {error}")
}

/// Pixels without colour.
pub(crate) fn grey_row(grey: &[u8], rgb: &mut [u8]) {
    for (value, pixel) in grey.iter().zip(rgb.chunks_exact_mut(3)) {
        pixel.fill(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_without_its_tables_is_read_by_the_standards() {
        let image = RgbImage::from_fn(32, 24, |x, y| {
            image::Rgb([(x * 8) as u8, (y * 9) as u8, 77])
        });
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, ImageFormat::Jpeg).unwrap();
        let whole = file.into_inner();
        let mut bare = whole.clone();
        while let Some((_, at)) = segments(&bare).into_iter().find(|(m, _)| *m == TABLES) {
            let bytes = u16::from_be_bytes([bare[at + 2], bare[at + 3]]);
            bare.drain(at..at + 2 + usize::from(bytes));
        }
        assert!(bare.len() < whole.len() - 400);
        let read = |jpeg: &[u8]| {
            let mut rgb = vec![0; 32 * 24 * 3];
            Jpeg::open(jpeg).unwrap().read(&mut rgb).unwrap();
            rgb
        };
        assert_eq!(read(&bare), read(&whole));
    }
}
