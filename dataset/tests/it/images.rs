//! Decoding: formats, orientation, transparency, and what is no photo.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use dataset::{DatasetError, FaultKind, ImageError, decode};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use crate::{PHOTO, tree};

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Decodes `bytes` from a file of that name.
fn decoded(name: &str, bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    decode(&path)
}

fn gradient() -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, 128]))
}

#[test]
fn every_format_decodes_whatever_the_extension() {
    for (format, lossless) in [
        (ImageFormat::Png, true),
        (ImageFormat::Bmp, true),
        (ImageFormat::WebP, true),
        (ImageFormat::Jpeg, false),
    ] {
        for name in ["photo.jpg", "photo.png"] {
            let image = decoded(name, &encoded(gradient(), format)).unwrap();
            assert_eq!(image.dimensions(), (40, 30));
            let off = |a: &u8, b: &u8| a.abs_diff(*b);
            let worst = image
                .as_raw()
                .iter()
                .zip(gradient().as_raw())
                .map(|(a, b)| off(a, b))
                .max();
            assert!(
                worst.unwrap() <= if lossless { 0 } else { 16 },
                "{format:?}: {worst:?}"
            );
        }
    }
}

#[test]
fn transparent_is_white() {
    let mut image = RgbaImage::from_pixel(2, 1, Rgba([10, 20, 30, 255]));
    image.put_pixel(1, 0, Rgba([0, 0, 0, 0]));
    let flat = decoded("a.png", &encoded(image, ImageFormat::Png)).unwrap();
    assert_eq!(flat.as_raw(), &[10, 20, 30, 255, 255, 255]);
}

/// A JPEG with an EXIF segment that holds nothing but the orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let tiff = [
        b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0",
        &[orientation, 0, 0, 0, 0, 0, 0][..],
    ];
    let exif = [b"Exif\0\0".as_slice(), &tiff.concat()].concat();
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn exif_orientation_is_applied() {
    // Left half black, right half white.
    let image = RgbImage::from_fn(32, 16, |x, _| Rgb([if x < 16 { 0 } else { 255 }; 3]));
    let jpeg = encoded(image, ImageFormat::Jpeg);
    let corner = |orientation| {
        let upright = decoded("a.jpg", &with_orientation(&jpeg, orientation)).unwrap();
        let (w, h) = upright.dimensions();
        (
            w,
            h,
            upright.get_pixel(1, 1)[0] > 128,
            upright.get_pixel(w - 2, 1)[0] > 128,
        )
    };
    assert_eq!(corner(1), (32, 16, false, true));
    assert_eq!(corner(3), (32, 16, true, false));
    assert_eq!(corner(6), (16, 32, false, false));
    assert_eq!(corner(8), (16, 32, true, true));
}

#[test]
fn what_is_no_photo_says_so() {
    let png = encoded(gradient(), ImageFormat::Png);
    let jpeg = encoded(gradient(), ImageFormat::Jpeg);
    for (name, bytes) in [
        ("text.jpg", b"hello, I am no photo\n".as_slice()),
        ("page.png", b"<html>404</html>"),
        ("cut.png", &png[..png.len() / 2]),
        ("head.jpg", &jpeg[..20]),
        ("half.jpg", &jpeg[..jpeg.len() / 2]),
        ("tail.jpg", &jpeg[..jpeg.len() - 2]),
        ("gif.jpg", b"GIF89a\x01\0\x01\0\0\0\0;"),
    ] {
        match decoded(name, bytes) {
            Err(ImageError::Decode(_) | ImageError::UnknownFormat) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(decoded("empty.jpg", b""), Err(ImageError::Empty));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(decode(dir.path()), Err(ImageError::NotAFile));
    let gone = decode(&dir.path().join("gone.jpg"));
    assert_eq!(gone, Err(ImageError::Read("it does not exist".to_owned())));
}

#[test]
fn a_bomb_is_an_error_and_takes_no_memory() {
    // A PNG of a few bytes that claims 60,000 x 60,000 pixels.
    let mut png = encoded(RgbImage::new(1, 1), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let sum = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&sum);
    match decoded("bomb.png", &png) {
        Err(ImageError::TooLarge(_)) => {}
        other => panic!("{other:?}"),
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| {
            (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg())
        })
    })
}

#[test]
fn all_unreadable_photos_are_reported_at_once() {
    let dir = tree(&[
        ("a/1.jpg", PHOTO),
        ("a/2.jpg", "text"),
        ("b/1.jpg", PHOTO),
        ("b/2.png", "more text"),
        ("b/3.jpg", PHOTO),
    ]);
    let data = dataset::read(dir.path(), None).unwrap();
    let done = AtomicUsize::new(0);
    let count = || {
        done.fetch_add(1, Ordering::Relaxed);
    };
    let DatasetError::Faults { faults, .. } = data.check_images(count).unwrap_err() else {
        panic!()
    };
    assert_eq!(done.into_inner(), 5);
    let bad: Vec<_> = faults
        .iter()
        .map(|f| f.path.strip_prefix(dir.path()).unwrap())
        .collect();
    assert_eq!(
        bad,
        [
            std::path::Path::new("a/2.jpg"),
            std::path::Path::new("b/2.png")
        ]
    );
    assert!(faults.iter().all(|f| matches!(
        f.kind,
        FaultKind::Image(ImageError::Decode(_) | ImageError::UnknownFormat)
    )));
    let text = faults[0].to_string();
    assert!(
        text.contains("2.jpg: is not a readable JPEG, PNG, BMP or WebP image"),
        "{text}"
    );
}
