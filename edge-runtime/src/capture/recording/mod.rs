//! Recorded pictures: a folder of them, or a video.

mod avi;
mod folder;
mod jpegs;
#[cfg(test)]
mod tests;
mod y4m;

use super::CaptureError;
use image::RgbImage;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read as _};
use std::path::Path;

pub(crate) use folder::pictures;

/// What gives the pictures of a recording, in the order in which they were taken.
trait Pictures: Send {
    /// Writes the next picture over `image`, and says how many the recording left out before it; `None`
    /// after the last.
    ///
    /// # Errors
    /// What is wrong; there is no going on after that.
    fn next(&mut self, image: &mut RgbImage) -> Result<Option<u64>, String>;

    /// Pictures a second, where the recording tells.
    fn rate_hz(&self) -> Option<f64> {
        None
    }

    /// The name of a picture's file.
    fn name(&self, number: u64) -> String {
        format!("{:06}.png", number + 1)
    }
}

/// Pictures of one size. One is held in memory besides what is read at the time.
pub(crate) struct Recording {
    name: String,
    pictures: Box<dyn Pictures>,
    size: (u32, u32),
    first: Option<(u64, RgbImage)>,
    /// Number of the picture that may come next; `None` after the last, or a fault.
    next: Option<u64>,
}

/// By these a video is known.
const MAGIC_BYTES: u64 = 12;
/// A video of more or fewer pictures a second is a mistake.
const RATES_HZ: std::ops::RangeInclusive<f64> = 0.1..=1000.0;

impl Recording {
    /// A folder of pictures (PNG, JPEG, BMP, WebP) in the order of their names, or a video (Y4M, Motion
    /// JPEG as AVI or as it is).
    ///
    /// # Errors
    /// When it cannot be read, is of another kind, or has no picture.
    pub(crate) fn open(path: &Path) -> Result<Self, CaptureError> {
        let name = path.display().to_string();
        let fail = |what: String| CaptureError::Failed(format!("{name}: {what}"));
        let result = if path.is_dir() {
            folder::Folder::open(path).map(|folder| Box::new(folder) as Box<dyn Pictures>)
        } else {
            let opened = File::open(path).map_err(|e| format!("cannot read it: {e}"));
            opened.and_then(|file| video(BufReader::new(file)))
        };
        Self::of_pictures(name.clone(), result.map_err(fail)?)
    }

    /// A video in memory.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Result<Self, CaptureError> {
        let pictures = video(Cursor::new(bytes)).map_err(CaptureError::Failed)?;
        Self::of_pictures("video".to_owned(), pictures)
    }

    fn of_pictures(name: String, mut pictures: Box<dyn Pictures>) -> Result<Self, CaptureError> {
        let fail = |what: &str| CaptureError::Failed(format!("{name}: {what}"));
        if let Some(hz) = pictures.rate_hz().filter(|hz| !RATES_HZ.contains(hz)) {
            return Err(fail(&format!(
                "its rate of {hz} pictures a second cannot be meant (`ffmpeg -i FILE -r 20 out.y4m` sets another)"
            )));
        }
        let mut image = RgbImage::default();
        let first = pictures.next(&mut image);
        let first = first.map_err(|e| fail(&format!("picture {} {e}", pictures.name(0))))?;
        let first = first.ok_or_else(|| fail("there are no pictures in it"))?;
        Ok(Self {
            name,
            pictures,
            size: image.dimensions(),
            first: Some((first, image)),
            next: Some(0),
        })
    }

    /// Width and height of every picture.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Pictures a second, where the recording tells.
    pub(crate) fn rate_hz(&self) -> Option<f64> {
        self.pictures.rate_hz()
    }

    /// The name of a picture's file, or the one that it would have in a folder.
    pub(crate) fn picture_name(&self, number: u64) -> String {
        self.pictures.name(number)
    }

    /// Writes the next picture over `image` and gives its number, from 0. A number that is missing is a
    /// picture that the recording left out.
    ///
    /// # Errors
    /// [`CaptureError::Finished`] after the last, or what is wrong with the next, once.
    pub(crate) fn next(&mut self, image: &mut RgbImage) -> Result<u64, CaptureError> {
        let number = self.next.take().ok_or(CaptureError::Finished)?;
        let left_out = match self.first.take() {
            Some((left_out, mut first)) => {
                std::mem::swap(image, &mut first);
                left_out
            }
            None => {
                let next = self.pictures.next(image);
                let next = next.map_err(|e| self.fail(number, &e))?;
                next.ok_or(CaptureError::Finished)?
            }
        };
        let number = number + left_out;
        let (width, height) = image.dimensions();
        if (width, height) != self.size {
            let (first_width, first_height) = self.size;
            return Err(self.fail(
                number,
                &format!(
                    "is {width}x{height}, and the first is {first_width}x{first_height}; one camera's \
                     pictures have one size"
                ),
            ));
        }
        self.next = Some(number + 1);
        Ok(number)
    }

    fn fail(&self, number: u64, what: &str) -> CaptureError {
        let name = self.pictures.name(number);
        CaptureError::Failed(format!("{}: picture {name} {what}", self.name))
    }
}

/// What a video is, by its first bytes.
fn video(mut input: impl BufRead + Send + 'static) -> Result<Box<dyn Pictures>, String> {
    let mut magic = Vec::new();
    let read = input.by_ref().take(MAGIC_BYTES).read_to_end(&mut magic);
    read.map_err(|e| format!("cannot read it: {e}"))?;
    let input = |magic| Cursor::new(magic).chain(input);
    match &magic[..] {
        [b'Y', b'U', b'V', b'4', b'M', b'P', b'E', b'G', b'2', ..] => {
            Ok(Box::new(y4m::Y4m::open(input(magic))?))
        }
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' '] => {
            Ok(Box::new(avi::Avi::open(input(magic))?))
        }
        [0xff, 0xd8, 0xff, ..] => Ok(Box::new(jpegs::Jpegs::new(input(magic)))),
        _ => Err(
            "is neither a folder of pictures nor a video that is understood; `ffmpeg -i FILE out.y4m` \
             makes one"
                .to_owned(),
        ),
    }
}

/// Reads as many bytes as `bytes` says into `data`, in the place of what was there. Memory is taken as the
/// bytes come.
///
/// # Errors
/// When there are fewer, or they cannot be read.
fn read_bytes(input: &mut impl BufRead, bytes: u64, data: &mut Vec<u8>) -> Result<(), String> {
    data.clear();
    let read = input.by_ref().take(bytes).read_to_end(data);
    match read.map_err(|e| format!("cannot be read: {e}"))? as u64 {
        got if got == bytes => Ok(()),
        _ => Err("is cut short".to_owned()),
    }
}

/// Gives `image` a size.
fn resize(image: &mut RgbImage, (width, height): (u32, u32)) {
    if image.dimensions() != (width, height) {
        *image = RgbImage::new(width, height);
    }
}

/// Writes a JPEG over `image`.
fn decode_jpeg(data: &[u8], image: &mut RgbImage) -> Result<(), String> {
    let jpeg = super::jpeg::Jpeg::open(data)?;
    resize(image, jpeg.size());
    jpeg.read(image)
}
