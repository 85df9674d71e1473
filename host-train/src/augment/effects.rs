//! Changes of the pixels of a preprocessed square: packed RGB rows.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageFormat};
use models::Region;
use rand::Rng;

use crate::random::between;

/// Turns the square by an angle around its centre; what comes from outside has the colour `fill`.
pub(super) fn rotate(pixels: &mut [u8], side: usize, degrees: f32, fill: [u8; 3]) {
    let source = pixels.to_vec();
    let (sin, cos) = degrees.to_radians().sin_cos();
    let centre = (side as f32 - 1.0) / 2.0;
    let at = |x: i32, y: i32, channel: usize| {
        let inside = (0..side as i32).contains(&x) && (0..side as i32).contains(&y);
        match inside {
            true => f32::from(source[(y as usize * side + x as usize) * 3 + channel]),
            false => f32::from(fill[channel]),
        }
    };
    for (index, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let (dx, dy) = (
            (index % side) as f32 - centre,
            (index / side) as f32 - centre,
        );
        let (x, y) = (cos * dx + sin * dy + centre, cos * dy - sin * dx + centre);
        let (left, top) = (x.floor(), y.floor());
        let (right_part, lower_part) = (x - left, y - top);
        let (left, top) = (left as i32, top as i32);
        for (channel, value) in pixel.iter_mut().enumerate() {
            let row = |y: i32| {
                at(left, y, channel) * (1.0 - right_part) + at(left + 1, y, channel) * right_part
            };
            *value = (row(top) * (1.0 - lower_part) + row(top + 1) * lower_part).round() as u8;
        }
    }
}

/// Factors of brightness, contrast and saturation.
pub(super) fn recolour(pixels: &mut [u8], [brightness, contrast, saturation]: [f32; 3]) {
    for pixel in pixels.chunks_exact_mut(3) {
        let [r, g, b] = [0, 1, 2].map(|c| {
            let lit = f32::from(pixel[c]) * brightness;
            (lit - 128.0) * contrast + 128.0
        });
        let grey = 0.299 * r + 0.587 * g + 0.114 * b;
        for (to, value) in pixel.iter_mut().zip([r, g, b]) {
            *to = (grey + (value - grey) * saturation)
                .round()
                .clamp(0.0, 255.0) as u8;
        }
    }
}

/// Fills all but `item` with what looks like a dark belt that runs along the rows: a grey of its own,
/// streaks from row to row, noise.
pub(super) fn belt(pixels: &mut [u8], side: usize, item: Region, rng: &mut impl Rng) {
    let base = between(rng, 25.0, 110.0);
    let tint = [0, 1, 2].map(|_| between(rng, -6.0, 6.0));
    let columns = item.x as usize..(item.x + item.width) as usize;
    let rows = item.y as usize..(item.y + item.height) as usize;
    for (y, row) in pixels.chunks_exact_mut(side * 3).enumerate() {
        let streak = between(rng, -8.0, 8.0);
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let noise = between(rng, -5.0, 5.0);
            if !(rows.contains(&y) && columns.contains(&x)) {
                let value = |c: usize| (base + tint[c] + streak + noise).clamp(0.0, 255.0) as u8;
                pixel.copy_from_slice(&[value(0), value(1), value(2)]);
            }
        }
    }
}

/// Fills a part of the square with one colour (random erasing, Zhong et al. 2017).
pub(super) fn erase(pixels: &mut [u8], side: usize, part: Region, colour: [u8; 3]) {
    let rows = pixels.chunks_exact_mut(side * 3);
    for row in rows.skip(part.y as usize).take(part.height as usize) {
        let columns = row.chunks_exact_mut(3).skip(part.x as usize);
        for pixel in columns.take(part.width as usize) {
            pixel.copy_from_slice(&colour);
        }
    }
}

/// The mean of `length` pixels along the rows, as of an item that moves while the shutter is open.
pub(super) fn blur(pixels: &mut [u8], side: usize, length: usize) {
    let before = length / 2;
    for row in pixels.chunks_exact_mut(side * 3) {
        let source = row.to_vec();
        for x in 0..side {
            let from = x.saturating_sub(before);
            let to = (x + length - before).min(side);
            for channel in 0..3 {
                let window = source[from * 3..to * 3].iter().skip(channel).step_by(3);
                let sum: u32 = window.map(|&value| u32::from(value)).sum();
                let count = (to - from) as u32;
                row[x * 3 + channel] = ((sum + count / 2) / count) as u8;
            }
        }
    }
}

/// What is left of the square after it was a JPEG file of this quality.
pub(super) fn compress(pixels: &mut [u8], side: usize, quality: u8) {
    let mut file = Vec::new();
    let length = side as u32;
    let written = JpegEncoder::new_with_quality(&mut file, quality).encode(
        pixels,
        length,
        length,
        ExtendedColorType::Rgb8,
    );
    // A square that was just preprocessed has a size that every JPEG can have.
    if written.is_ok()
        && let Ok(read) = image::load_from_memory_with_format(&file, ImageFormat::Jpeg)
    {
        pixels.copy_from_slice(read.to_rgb8().as_raw());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use proptest::prelude::*;

    fn square(side: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), side * side * 3)
    }

    proptest! {
        #[test]
        fn a_turn_by_nothing_changes_nothing_and_four_quarters_are_one(pixels in square(7)) {
            let mut turned = pixels.clone();
            rotate(&mut turned, 7, 0.0, [9; 3]);
            prop_assert_eq!(&turned, &pixels);
            for _ in 0..4 {
                rotate(&mut turned, 7, 90.0, [9; 3]);
            }
            let apart = turned.iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).max();
            prop_assert!(apart <= Some(1), "{apart:?}");
        }

        #[test]
        fn a_belt_surrounds_the_item(pixels in square(9), x in 0u32..9, y in 0u32..9, seed: u64) {
            let item = Region { x, y, width: 9 - x, height: (9 - y).min(3) };
            let mut changed = pixels.clone();
            belt(&mut changed, 9, item, &mut generator(seed, Purpose::Augment, [0; 3]));
            for (index, (new, old)) in
                changed.chunks_exact(3).zip(pixels.chunks_exact(3)).enumerate()
            {
                let (column, row) = (index as u32 % 9, index as u32 / 9);
                let inside = column >= x && row >= y && row < y + item.height;
                match inside {
                    true => prop_assert_eq!(new, old),
                    false => prop_assert!(new.iter().all(|&value| value < 140)),
                }
            }
        }

        #[test]
        fn a_blur_keeps_rows_of_one_colour_and_stays_within_the_row(
            pixels in square(8), length in 1usize..12,
        ) {
            let mut blurred = pixels.clone();
            blur(&mut blurred, 8, length);
            for (new, old) in blurred.chunks_exact(24).zip(pixels.chunks_exact(24)) {
                for channel in 0..3 {
                    let values = |row: &[u8]| -> Vec<u8> {
                        row.iter().skip(channel).step_by(3).copied().collect()
                    };
                    let (new, old) = (values(new), values(old));
                    prop_assert!(new.iter().max() <= old.iter().max());
                    prop_assert!(new.iter().min() >= old.iter().min());
                    if length == 1 {
                        prop_assert_eq!(new, old);
                    }
                }
            }
        }
    }

    #[test]
    fn an_erased_part_has_one_colour() {
        let mut pixels = vec![7; 5 * 5 * 3];
        let part = Region {
            x: 1,
            y: 2,
            width: 3,
            height: 2,
        };
        erase(&mut pixels, 5, part, [1, 2, 3]);
        let erased = pixels.chunks_exact(3).filter(|pixel| *pixel == [1, 2, 3]);
        assert_eq!(erased.count(), 6);
        assert_eq!(pixels[(2 * 5 + 1) * 3..][..3], [1, 2, 3]);
    }

    #[test]
    fn compression_loses_little_of_a_smooth_square_and_more_at_low_quality() {
        let smooth: Vec<u8> = (0..32 * 32)
            .flat_map(|index| [(index % 32 * 8) as u8, (index / 32 * 8) as u8, 128])
            .collect();
        let lost = |quality| {
            let mut pixels = smooth.clone();
            compress(&mut pixels, 32, quality);
            let apart = pixels
                .iter()
                .zip(&smooth)
                .map(|(a, b)| u64::from(a.abs_diff(*b)));
            apart.sum::<u64>()
        };
        assert!(lost(95) < lost(10));
        assert!(lost(95) < 4 * smooth.len() as u64);
    }
}
