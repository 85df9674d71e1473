//! Decoding photos, checking them all, and hashing them.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage};
use rayon::prelude::*;
use thiserror::Error;

use crate::error::{DatasetError, Fault, FaultKind};
use crate::{Dataset, tree};

/// The largest width and height of a photo, in pixels.
pub const MAX_SIDE_PX: u32 = 16_384;

/// The largest file that is taken for a photo.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// The most memory that decoding one photo may take: a decompression bomb is an error.
const MAX_ALLOC_BYTES: u64 = 1 << 30;

/// Why a file is not a usable photo.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum ImageError {
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}")]
    Read(String),
    /// A pipe, a device, a folder.
    #[error("is not a regular file")]
    NotAFile,
    /// A file of no bytes.
    #[error("is empty")]
    Empty,
    /// The bytes are no image of a known format.
    #[error("is not a readable JPEG, PNG, BMP or WebP image: the format is not known")]
    UnknownFormat,
    /// A damaged image.
    #[error("is not a readable JPEG, PNG, BMP or WebP image: {0}")]
    Decode(String),
    /// Larger than any photo here should be.
    #[error("is too large for a photo: {0}")]
    TooLarge(String),
}

/// Decodes a photo to 8-bit RGB, upright as its EXIF orientation says; transparent parts become white.
///
/// The format is told from the content, whatever the extension says.
///
/// # Errors
/// [`ImageError`], without the path: the caller adds it.
pub fn decode(path: &Path) -> Result<RgbImage, ImageError> {
    tree::regular_file(path).map_err(|kind| match kind {
        FaultKind::NotAFile => ImageError::NotAFile,
        FaultKind::EmptyFile => ImageError::Empty,
        FaultKind::Missing => ImageError::Read("it does not exist".to_owned()),
        other => ImageError::Read(other.to_string()),
    })?;
    let read = |e: std::io::Error| ImageError::Read(e.to_string());
    let file = File::open(path).map_err(read)?;
    let bytes = file.metadata().map_err(read)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(ImageError::TooLarge(format!("{} MiB", bytes >> 20)));
    }
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut content)
        .map_err(read)?;
    decode_bytes(&content, MAX_ALLOC_BYTES)
}

/// As [`decode`], of a photo's bytes; decoding may take at most `max_alloc_bytes` of memory.
///
/// # Errors
/// [`ImageError`].
pub fn decode_bytes(content: &[u8], max_alloc_bytes: u64) -> Result<RgbImage, ImageError> {
    if content.is_empty() {
        return Err(ImageError::Empty);
    }
    let mut reader = ImageReader::new(Cursor::new(content))
        .with_guessed_format()
        .map_err(|e| ImageError::Read(e.to_string()))?;
    match reader.format() {
        None => return Err(ImageError::UnknownFormat),
        Some(ImageFormat::Jpeg) if is_cut_off(content) => {
            return Err(ImageError::Decode("the file is cut off".to_owned()));
        }
        Some(_) => {}
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(max_alloc_bytes);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(from_image)?;
    let orientation = decoder.orientation().map_err(from_image)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(from_image)?;
    image.apply_orientation(orientation);
    Ok(if image.color().has_alpha() {
        over_white(&image)
    } else {
        image.into_rgb8()
    })
}

/// Whether a JPEG ends before its end marker. The decoder would fill the rest with grey and say
/// nothing. Markers do not occur in pixel data, and thumbnails come before the last scan.
pub fn is_cut_off(jpeg: &[u8]) -> bool {
    let (scan, end) = ([0xff, 0xda], [0xff, 0xd9]);
    let last = jpeg
        .windows(2)
        .rfind(|marker| *marker == scan || *marker == end);
    last != Some(&end)
}

fn from_image(error: image::ImageError) -> ImageError {
    let one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match error {
        image::ImageError::Limits(e) => ImageError::TooLarge(one_line(e.to_string())),
        other => ImageError::Decode(one_line(other.to_string())),
    }
}

fn over_white(image: &DynamicImage) -> RgbImage {
    let rgba = image.to_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
        let blend = |v: u32| ((v * a + 255 * (255 - a) + 127) / 255) as u8;
        Rgb([blend(r), blend(g), blend(b)])
    })
}

impl Dataset {
    /// Decodes every photo, in parallel; `progress` is called once a photo, from any thread.
    ///
    /// # Errors
    /// [`DatasetError::Faults`] with all photos that do not decode.
    pub fn check_images(&self, progress: impl Fn() + Sync) -> Result<(), DatasetError> {
        self.for_each_photo(|path| {
            let result = decode(path).map(drop).map_err(FaultKind::Image);
            progress();
            result
        })
        .map(drop)
    }

    /// A hash of what is to be learned from: each photo's path, label and bytes.
    ///
    /// BLAKE3, as 64 hexadecimal digits. It depends on neither the order of the samples nor the file
    /// system; it changes when a photo is renamed, relabelled, edited, added or removed.
    ///
    /// # Errors
    /// [`DatasetError::Faults`] with the photos that cannot be read.
    pub fn content_hash(&self) -> Result<String, DatasetError> {
        let files = self.for_each_photo(|path| {
            let unreadable = |e: std::io::Error| FaultKind::Unreadable(e.to_string());
            let mut hasher = blake3::Hasher::new();
            hasher
                .update_reader(File::open(path).map_err(unreadable)?)
                .map_err(unreadable)?;
            Ok(hasher.finalize())
        })?;
        let mut entries: Vec<(PathBuf, String, blake3::Hash)> = self
            .samples
            .iter()
            .zip(files)
            .map(|(sample, hash)| (sample.path.clone(), self.labels.path(sample.item), hash))
            .collect();
        entries.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        let mut all = blake3::Hasher::new();
        for (path, label, hash) in &entries {
            for text in [path.as_os_str().as_encoded_bytes(), label.as_bytes()] {
                all.update(&(text.len() as u64).to_le_bytes()).update(text);
            }
            all.update(hash.as_bytes());
        }
        Ok(all.finalize().to_hex().to_string())
    }

    /// Runs `work` on every photo in parallel; results in the order of the samples, or all faults.
    fn for_each_photo<T: Send>(
        &self,
        work: impl Fn(&Path) -> Result<T, FaultKind> + Sync,
    ) -> Result<Vec<T>, DatasetError> {
        let results: Vec<Result<T, Fault>> = self
            .samples
            .par_iter()
            .map(|sample| {
                let path = self.path(sample);
                work(&path).map_err(|kind| Fault {
                    path,
                    line: None,
                    kind,
                })
            })
            .collect();
        let mut values = Vec::with_capacity(results.len());
        let mut faults = Vec::new();
        for result in results {
            match result {
                Ok(value) => values.push(value),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            Ok(values)
        } else {
            Err(DatasetError::faults(self.root.clone(), faults))
        }
    }
}
