//! Items drawn by a procedural artist: no data needed, and a new one for every seed.
//!
//! The label set `drawn-10` takes ten items of `huawei-40`, with its names, so that all four
//! categories are there. Items of one kind differ in size, proportions, colours, wear and light, and
//! some kinds are alike (a can and a battery, an egg shell and a crumpled leaf), so that telling them
//! apart has to be learned; but it is far easier than with photos.

mod artist;
mod canvas;

use crate::picture::Picture;
use canvas::Canvas;
use image::{Rgb, RgbImage};
use models::LabelSet;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the artist can draw: path in `huawei-40`, size on the belt in mm (from, to), how.
const ITEMS: [(&str, &str, (f64, f64), artist::Draw); 10] = [
    ("其他垃圾", "烟蒂", (70.0, 95.0), artist::cigarette_butt),
    ("其他垃圾", "牙签", (80.0, 115.0), artist::toothpicks),
    ("厨余垃圾", "水果果皮", (110.0, 160.0), artist::banana_peel),
    ("厨余垃圾", "菜叶菜根", (120.0, 170.0), artist::leaf),
    ("厨余垃圾", "蛋壳", (80.0, 110.0), artist::egg_shell),
    ("可回收物", "易拉罐", (110.0, 140.0), artist::can),
    ("可回收物", "纸板箱", (120.0, 170.0), artist::cardboard_box),
    ("可回收物", "饮料瓶", (150.0, 185.0), artist::bottle),
    ("有害垃圾", "干电池", (85.0, 115.0), artist::battery),
    ("有害垃圾", "软膏", (110.0, 150.0), artist::ointment_tube),
];

/// Side of the square on which items are drawn, in pixels.
const CANVAS_PX: usize = 224;

/// The artist's label set, `drawn-10`. Items are numbered as in [`draw`].
pub fn labels() -> LabelSet {
    let names = ITEMS.map(|(category, item, ..)| (category.to_owned(), item.to_owned()));
    match LabelSet::new("drawn-10", names.to_vec()) {
        Ok(labels) => labels,
        Err(error) => unreachable!("the artist's labels are constant: {error}"),
    }
}

/// Draws an item (an index in [`labels`], modulo their number) with transparency around it, as a
/// picture for the belt.
pub fn picture(item: usize, seed: u64) -> Picture {
    let kind = item % ITEMS.len();
    let (_, _, (from_mm, to_mm), draw) = ITEMS[kind];
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let size_mm = rng.random_range(from_mm..to_mm);
    let mut canvas = Canvas::new(CANVAS_PX);
    draw(&mut canvas, &mut rng);
    canvas.weather(&mut rng);
    Picture {
        image: canvas.into_image(),
        kind,
        size_mm,
    }
}

/// Draws an item on a white square with sides of `size_px`.
pub fn draw(item: usize, seed: u64, size_px: u32) -> RgbImage {
    let drawn = picture(item, seed).image;
    let white = RgbImage::from_fn(drawn.width(), drawn.height(), |x, y| {
        let [r, g, b, a] = drawn.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|v| ((v * a + 255 * (255 - a)) / 255) as u8))
    });
    image::imageops::resize(
        &white,
        size_px,
        size_px,
        image::imageops::FilterType::Triangle,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_contest() {
        let contest = LabelSet::builtin("huawei-40").unwrap();
        let labels = labels();
        assert_eq!(labels.len(), 10);
        assert_eq!(labels.categories().len(), 4);
        for item in 0..labels.len() {
            assert!(
                contest.find(&labels.path(item)).is_some(),
                "{}",
                labels.path(item)
            );
        }
    }

    #[test]
    fn one_seed_gives_one_picture_and_another_seed_another() {
        for item in 0..ITEMS.len() {
            assert_eq!(draw(item, 5, 64), draw(item, 5, 64));
            assert_ne!(draw(item, 5, 64), draw(item, 6, 64));
        }
    }

    #[test]
    fn every_item_can_be_seen_and_keeps_off_the_edge() {
        for item in 0..ITEMS.len() {
            for seed in 0..20 {
                let image = picture(item, seed).image;
                let solid = image.pixels().filter(|p| p.0[3] > 200).count();
                let share = solid as f64 / image.pixels().len() as f64;
                assert!(
                    (0.015..0.9).contains(&share),
                    "item {item} seed {seed}: {share}"
                );
                let last = CANVAS_PX as u32 - 1;
                let edge = image.enumerate_pixels().filter(|(x, y, p)| {
                    (*x == 0 || *y == 0 || *x == last || *y == last) && p.0[3] > 128
                });
                assert_eq!(edge.count(), 0, "item {item} seed {seed} is cut off");
            }
        }
    }
}
