//! From a camera's pixel formats to packed RGB.

use super::colour::{Colour, LIMITED};
use super::jpeg::{Jpeg, grey_row};
use std::time::{Duration, Instant};

/// How long a format's speed is measured.
const MEASURE: Duration = Duration::from_millis(200);

/// A pixel format of V4L2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pixels {
    Rgb,
    Bgr,
    Yuyv,
    Nv12,
    Grey,
    Mjpeg,
}

impl Pixels {
    /// What is understood, the cheapest to convert first; pictures without colour last.
    pub(crate) const ALL: [Self; 6] = [
        Self::Rgb,
        Self::Bgr,
        Self::Yuyv,
        Self::Nv12,
        Self::Mjpeg,
        Self::Grey,
    ];

    /// Its four-character code.
    pub(crate) fn code(self) -> &'static [u8; 4] {
        match self {
            Self::Rgb => b"RGB3",
            Self::Bgr => b"BGR3",
            Self::Yuyv => b"YUYV",
            Self::Nv12 => b"NV12",
            Self::Grey => b"GREY",
            Self::Mjpeg => b"MJPG",
        }
    }

    /// Bytes of a row without padding; of NV12, a row of its luma.
    pub(crate) fn row_bytes(self, width: usize) -> usize {
        match self {
            Self::Rgb | Self::Bgr => width * 3,
            Self::Yuyv => width.next_multiple_of(2) * 2,
            Self::Nv12 => width.next_multiple_of(2),
            Self::Grey => width,
            Self::Mjpeg => 0,
        }
    }

    /// Bytes of a whole picture with rows of `stride` bytes; 0 for formats that are compressed.
    pub(crate) fn picture_bytes(self, stride: usize, (width, height): (usize, usize)) -> usize {
        let rows = match self {
            Self::Mjpeg => return 0,
            Self::Nv12 => height + height.div_ceil(2),
            _ => height,
        };
        rows.saturating_sub(1) * stride + self.row_bytes(width)
    }
}

/// Converts a picture to rows of `width * 3` bytes. Colour is ITU-R BT.601 in limited range.
///
/// Returns `false`, with `rgb` half written at the most, when `data` is no such picture.
pub(crate) fn to_rgb(
    pixels: Pixels,
    data: &[u8],
    stride: usize,
    (width, height): (usize, usize),
    rgb: &mut [u8],
) -> bool {
    let row = pixels.row_bytes(width);
    let short = data.len() < pixels.picture_bytes(stride, (width, height)) || stride < row;
    if short || rgb.len() != width * height * 3 {
        return false;
    }
    if pixels == Pixels::Mjpeg {
        return jpeg_to_rgb(data, (width, height), rgb);
    }
    if rgb.is_empty() {
        return true;
    }
    let chroma = data.get(stride * height..).unwrap_or_default();
    let rows = data.chunks(stride).zip(rgb.chunks_exact_mut(width * 3));
    for (n, (source, target)) in rows.enumerate() {
        match pixels {
            Pixels::Rgb => target.copy_from_slice(&source[..row]),
            Pixels::Bgr => bgr_row(source, target),
            Pixels::Yuyv => yuyv_row(source, target),
            Pixels::Nv12 => nv12_row(source, &chroma[n / 2 * stride..], target),
            Pixels::Grey => grey_row(source, target),
            Pixels::Mjpeg => {}
        }
    }
    true
}

/// How fast pictures are converted on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speed {
    /// A picture.
    pub(crate) ms: f64,
    /// Bytes of RGB made in a second, in millions.
    pub(crate) mb_s: f64,
}

/// Converts a picture with fine grain for a while; the fastest of all times counts.
pub(crate) fn measure(pixels: Pixels, (width, height): (usize, usize)) -> Speed {
    let mut rgb = vec![0; width * height * 3];
    let data = sample(pixels, (width, height));
    let stride = pixels.row_bytes(width);
    let mut best = Duration::MAX;
    let begin = Instant::now();
    while begin.elapsed() < MEASURE {
        let before = Instant::now();
        std::hint::black_box(to_rgb(pixels, &data, stride, (width, height), &mut rgb));
        best = best.min(before.elapsed());
    }
    let seconds = best.as_secs_f64().max(1e-9);
    Speed {
        ms: seconds * 1000.0,
        mb_s: rgb.len() as f64 / 1e6 / seconds,
    }
}

/// A picture in this format.
fn sample(pixels: Pixels, (width, height): (usize, usize)) -> Vec<u8> {
    let grain = |n: usize| (n.wrapping_mul(2_654_435_761) >> 13) as u8 / 4 + 96;
    if pixels == Pixels::Mjpeg {
        let (w, h) = (width as u32, height as u32);
        let image = image::RgbImage::from_fn(w, h, |x, y| {
            let n = (y * w + x) as usize;
            image::Rgb([grain(n), grain(n + 1), (x / 4) as u8])
        });
        let mut jpeg = std::io::Cursor::new(Vec::new());
        // An empty picture is none, which the measuring shows.
        let _ = image.write_to(&mut jpeg, image::ImageFormat::Jpeg);
        return jpeg.into_inner();
    }
    let stride = pixels.row_bytes(width);
    (0..pixels
        .picture_bytes(stride, (width, height))
        .max(stride * height))
        .map(grain)
        .collect()
}

fn bgr_row(bgr: &[u8], rgb: &mut [u8]) {
    for (from, to) in bgr.chunks_exact(3).zip(rgb.chunks_exact_mut(3)) {
        to.copy_from_slice(&[from[2], from[1], from[0]]);
    }
}

/// Two pixels in four bytes: luma, blue, luma, red.
fn yuyv_row(yuyv: &[u8], rgb: &mut [u8]) {
    for (pair, pixels) in yuyv.chunks_exact(4).zip(rgb.chunks_mut(6)) {
        let colour = Colour::<LIMITED>::new(pair[1], pair[3]);
        for (y, pixel) in [pair[0], pair[2]]
            .into_iter()
            .zip(pixels.chunks_exact_mut(3))
        {
            pixel.copy_from_slice(&colour.with_luma(y));
        }
    }
}

/// A row of luma, and a row of blue and red in turn that two rows of two pixels share.
fn nv12_row(luma: &[u8], chroma: &[u8], rgb: &mut [u8]) {
    let pairs = luma.chunks_exact(2).zip(chroma.chunks_exact(2));
    for ((ys, colour), pixels) in pairs.zip(rgb.chunks_mut(6)) {
        let colour = Colour::<LIMITED>::new(colour[0], colour[1]);
        for (y, pixel) in ys.iter().zip(pixels.chunks_exact_mut(3)) {
            pixel.copy_from_slice(&colour.with_luma(*y));
        }
    }
}

fn jpeg_to_rgb(data: &[u8], (width, height): (usize, usize), rgb: &mut [u8]) -> bool {
    let fits = |jpeg: &Jpeg<'_>| jpeg.size() == (width as u32, height as u32);
    let jpeg = Jpeg::open(data).ok().filter(fits);
    jpeg.is_some_and(|jpeg| jpeg.read(rgb).is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::colour::reference;
    use super::*;
    use proptest::prelude::*;

    /// The pixel at (x, y), from the definition of the format.
    fn pixel(
        pixels: Pixels,
        data: &[u8],
        stride: usize,
        height: usize,
        at: (usize, usize),
    ) -> [f64; 3] {
        let (x, y) = at;
        let row = &data[y * stride..];
        let packed = |n: usize| f64::from(row[x * 3 + n]);
        match pixels {
            Pixels::Rgb => [packed(0), packed(1), packed(2)],
            Pixels::Bgr => [packed(2), packed(1), packed(0)],
            Pixels::Grey => [f64::from(row[x]); 3],
            Pixels::Yuyv => {
                let pair = &row[x / 2 * 4..];
                reference(LIMITED, row[x * 2], pair[1], pair[3])
            }
            Pixels::Nv12 => {
                let chroma = &data[(height + y / 2) * stride + x / 2 * 2..];
                reference(LIMITED, row[x], chroma[0], chroma[1])
            }
            Pixels::Mjpeg => unreachable!("has no pixels in the open"),
        }
    }

    proptest! {
        #[test]
        fn every_format_is_close_to_its_definition(
            format in 0..5_usize, width in 1..9_usize, height in 1..6_usize, padding in 0..5_usize,
            bytes in proptest::collection::vec(any::<u8>(), 400),
        ) {
            let open = Pixels::ALL.into_iter().filter(|p| *p != Pixels::Mjpeg);
            let pixels = open.clone().nth(format).unwrap();
            let stride = pixels.row_bytes(width) + padding;
            let data = &bytes[..pixels.picture_bytes(stride, (width, height))];
            let mut rgb = vec![0; width * height * 3];
            prop_assert!(to_rgb(pixels, data, stride, (width, height), &mut rgb));
            for y in 0..height {
                for x in 0..width {
                    let expect = pixel(pixels, data, stride, height, (x, y));
                    let found = &rgb[(y * width + x) * 3..][..3];
                    for (found, expect) in found.iter().zip(expect) {
                        prop_assert!((f64::from(*found) - expect).abs() < 1.0, "{pixels:?}");
                    }
                }
            }
        }

        #[test]
        fn whatever_comes_is_taken_or_refused(
            format in 0..6_usize, width in 0..9_usize, height in 0..6_usize, stride in 0..40_usize,
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut rgb = vec![0; width * height * 3];
            let taken = to_rgb(Pixels::ALL[format], &bytes, stride, (width, height), &mut rgb);
            let needed = Pixels::ALL[format].picture_bytes(stride, (width, height));
            prop_assert!(!taken || bytes.len() >= needed);
        }
    }

    #[test]
    fn a_jpeg_of_another_size_or_none_at_all_is_refused() {
        let mut jpeg = std::io::Cursor::new(Vec::new());
        let grey = image::RgbImage::from_pixel(16, 8, image::Rgb([100; 3]));
        grey.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
        let jpeg = jpeg.into_inner();
        let mut rgb = vec![0; 16 * 8 * 3];
        assert!(to_rgb(Pixels::Mjpeg, &jpeg, 0, (16, 8), &mut rgb));
        assert!(rgb.iter().all(|v| v.abs_diff(100) <= 2));
        assert!(!to_rgb(Pixels::Mjpeg, &jpeg, 0, (8, 16), &mut rgb));
        for end in [0, 2, 20, jpeg.len() - 2] {
            assert!(!to_rgb(Pixels::Mjpeg, &jpeg[..end], 0, (16, 8), &mut rgb));
        }
    }
}
