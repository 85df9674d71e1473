//! Random changes to a photo.
//!
//! Crops, mirroring and quarter turns happen before preprocessing (a crop is a region of the photo) or
//! move whole pixels, so that a photo is resampled once, and by the same function as in service. The
//! rest changes the preprocessed square, in the order of a camera: background, turn, colour, what
//! hides the item, motion, compression.

mod effects;

use models::{PreprocessError, Preprocessor, Region, RgbView};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::AugmentConfig;
use crate::random::{between, unit};

/// A drawn change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Augmentation {
    region: Option<Region>,
    flip_x: bool,
    flip_y: bool,
    /// Swap rows and columns; with the flips, this gives every quarter turn.
    transpose: bool,
    /// Seed of a drawn belt in the place of the padding.
    belt: Option<u64>,
    /// A turn by any angle.
    rotation_degrees: f32,
    /// Factors of brightness, contrast and saturation.
    colour: [f32; 3],
    /// A part of the square, in parts of its side, and what it is filled with.
    erased: Option<([f32; 4], [u8; 3])>,
    /// Length of the motion blur, as a part of the side.
    blur: f32,
    /// Quality of a JPEG file in between.
    jpeg_quality: Option<u8>,
}

impl Augmentation {
    /// The photo as it is.
    pub(crate) const NONE: Augmentation = Augmentation {
        region: None,
        flip_x: false,
        flip_y: false,
        transpose: false,
        belt: None,
        rotation_degrees: 0.0,
        colour: [1.0; 3],
        erased: None,
        blur: 0.0,
        jpeg_quality: None,
    };

    /// The mirror image.
    pub(crate) const MIRRORED: Augmentation = Augmentation {
        flip_x: true,
        ..Augmentation::NONE
    };

    /// Draws a change for a photo of this size.
    pub(crate) fn draw(
        config: &AugmentConfig,
        rng: &mut impl Rng,
        width: u32,
        height: u32,
    ) -> Augmentation {
        // Each part draws its numbers whether it is wanted or not, so that switching one off leaves
        // the others as they were.
        let region = crop(config, rng, width, height);
        let mut happens = |probability: f32| unit(rng) < probability;
        let (mirror, upend) = (
            happens(config.horizontal_flip),
            happens(config.vertical_flip),
        );
        let turned = happens(config.quarter_turns);
        let [cropped, tilted, lies_on_belt] =
            [config.crop, config.rotation, config.belt].map(&mut happens);
        let [hidden, moves, compressed] =
            [config.erase, config.blur, config.jpeg].map(&mut happens);
        let turns = 1 + rng.next_u32() % 3;
        let turns = if turned { turns } else { 0 };
        let mut factor = |part: f32| between(rng, 1.0 - part, 1.0 + part);
        let colour = [
            factor(config.brightness),
            factor(config.contrast),
            factor(config.saturation),
        ];
        let angle = between(rng, -config.rotation_degrees, config.rotation_degrees);
        let belt = rng.next_u64();
        let erased = erased_part(config.erase_area, rng);
        let blur = between(rng, 0.0, config.blur_length);
        let quality = between(rng, f32::from(config.jpeg_quality), 96.0) as u8;
        Augmentation {
            region: cropped.then_some(region),
            flip_x: mirror ^ (turns >= 2),
            flip_y: upend ^ (turns == 1 || turns == 2),
            transpose: turns % 2 == 1,
            belt: lies_on_belt.then_some(belt),
            rotation_degrees: if tilted { angle } else { 0.0 },
            colour,
            erased: hidden.then_some(erased),
            blur: if moves { blur } else { 0.0 },
            jpeg_quality: compressed.then_some(quality),
        }
    }

    /// The changed photo as a preprocessed square, packed RGB.
    pub(crate) fn apply(
        &self,
        preprocessor: &mut Preprocessor,
        photo: RgbView,
        out: &mut [u8],
    ) -> Result<(), PreprocessError> {
        let spec = *preprocessor.spec();
        let side = spec.size as usize;
        let bounds = self.region.unwrap_or_else(|| photo.bounds());
        let mut square = preprocessor.square(photo, self.region)?;
        let painted;
        if let Some(seed) = self.belt {
            let item = spec.placement(bounds.width, bounds.height);
            let mut pixels = square.to_vec();
            effects::belt(
                &mut pixels,
                side,
                item,
                &mut ChaCha8Rng::seed_from_u64(seed),
            );
            painted = pixels;
            square = &painted;
        }
        self.reorder(square, side, out);
        if self.rotation_degrees != 0.0 {
            // The corners that come in are of the belt's colour where there is one.
            let fill = match self.belt {
                Some(_) => [out[0], out[1], out[2]],
                None => spec.fill,
            };
            effects::rotate(out, side, self.rotation_degrees, fill);
        }
        if self.colour != [1.0; 3] {
            effects::recolour(out, self.colour);
        }
        if let Some((part, colour)) = self.erased {
            let [x, y, width, height] = part.map(|part| (part * side as f32) as u32);
            let part = Region {
                x,
                y,
                width,
                height,
            };
            effects::erase(out, side, part, colour);
        }
        let length = (self.blur * side as f32).round() as usize;
        if length > 1 {
            effects::blur(out, side, length);
        }
        if let Some(quality) = self.jpeg_quality {
            effects::compress(out, side, quality);
        }
        Ok(())
    }

    /// Mirroring and quarter turns.
    fn reorder(&self, square: &[u8], side: usize, out: &mut [u8]) {
        let mirrored = |position: usize, flip: bool| match flip {
            true => side - 1 - position,
            false => position,
        };
        for (y, row) in out.chunks_exact_mut(side * 3).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let (from_x, from_y) = if self.transpose { (y, x) } else { (x, y) };
                let (from_x, from_y) =
                    (mirrored(from_x, self.flip_x), mirrored(from_y, self.flip_y));
                let from = (from_y * side + from_x) * 3;
                pixel.copy_from_slice(&square[from..from + 3]);
            }
        }
    }
}

/// A part of the photo: area and stretch drawn, then the place.
fn crop(config: &AugmentConfig, rng: &mut impl Rng, width: u32, height: u32) -> Region {
    let area = between(rng, config.min_area, 1.0);
    let stretch = between(rng, -1.0, 1.0) * config.max_stretch.ln();
    let side = |length: u32, factor: f32| {
        ((length as f32 * area.sqrt() * factor).round() as u32).clamp(1, length)
    };
    let width_part = side(width, (stretch / 2.0).exp());
    let height_part = side(height, (-stretch / 2.0).exp());
    let mut place = |room: u32| (unit(rng) * (room + 1) as f32) as u32;
    Region {
        x: place(width - width_part).min(width - width_part),
        y: place(height - height_part).min(height - height_part),
        width: width_part,
        height: height_part,
    }
}

/// A part of up to `most` of the square's area, in parts of its side, and its colour.
fn erased_part(most: f32, rng: &mut impl Rng) -> ([f32; 4], [u8; 3]) {
    let area = between(rng, most / 5.0, most);
    let stretch = between(rng, -1.0, 1.0) * 2f32.ln();
    let width = (area.sqrt() * (stretch / 2.0).exp()).min(1.0);
    let height = (area / width.max(1e-6)).min(1.0);
    let [x, y] = [width, height].map(|length| unit(rng) * (1.0 - length));
    let colour = [0, 1, 2].map(|_| rng.next_u32() as u8);
    ([x, y, width, height], colour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use models::{Filter, PreprocessSpec};
    use proptest::prelude::*;

    fn spec(size: u32) -> PreprocessSpec {
        let (mean, std) = ([0.5; 3], [0.5; 3]);
        PreprocessSpec {
            size,
            fill: [255; 3],
            filter: Filter::Triangle,
            mean,
            std,
        }
    }

    fn apply(change: Augmentation, photo: &[u8], side: u32) -> Vec<u8> {
        let mut out = vec![0; photo.len()];
        let view = RgbView::new(photo, side, side).unwrap();
        change
            .apply(&mut Preprocessor::new(spec(side)).unwrap(), view, &mut out)
            .unwrap();
        out
    }

    proptest! {
        #[test]
        fn any_drawn_change_fits_the_photo(
            width in 1u32..500,
            height in 1u32..500,
            min_area in 0.05f32..=1.0,
            max_stretch in 1.0f32..4.0,
            seed in any::<u64>(),
        ) {
            let config = AugmentConfig {
                min_area, max_stretch, crop: 1.0, ..AugmentConfig::default()
            };
            let mut rng = generator(seed, Purpose::Augment, [0; 3]);
            let drawn = Augmentation::draw(&config, &mut rng, width, height);
            let region = drawn.region.unwrap();
            prop_assert!(region.width >= 1 && region.x + region.width <= width);
            prop_assert!(region.height >= 1 && region.y + region.height <= height);
        }

        #[test]
        fn geometry_undoes_itself(pixels in proptest::collection::vec(any::<u8>(), 6 * 6 * 3)) {
            prop_assert_eq!(&apply(Augmentation::NONE, &pixels, 6), &pixels);
            let upended = Augmentation { flip_y: true, ..Augmentation::NONE };
            let transposed = Augmentation { transpose: true, ..Augmentation::NONE };
            for change in [Augmentation::MIRRORED, upended, transposed] {
                prop_assert_eq!(&apply(change, &apply(change, &pixels, 6), 6), &pixels);
            }
            let turned = Augmentation { transpose: true, flip_y: true, ..Augmentation::NONE };
            let mut four_times = pixels.clone();
            for _ in 0..4 {
                four_times = apply(turned, &four_times, 6);
            }
            prop_assert_eq!(&four_times, &pixels);
        }
    }

    #[test]
    fn what_is_switched_off_does_not_happen() {
        let mut rng = generator(1, Purpose::Augment, [0; 3]);
        let off = AugmentConfig::off();
        for _ in 0..50 {
            let drawn = Augmentation::draw(&off, &mut rng, 30, 20);
            assert_eq!(drawn, Augmentation::NONE);
        }
    }

    #[test]
    fn switching_one_change_leaves_the_others_as_they_were() {
        let all = AugmentConfig {
            crop: 1.0,
            vertical_flip: 0.5,
            quarter_turns: 0.75,
            rotation: 0.5,
            belt: 0.5,
            erase: 0.5,
            blur: 0.5,
            jpeg: 0.5,
            ..AugmentConfig::default()
        };
        let without = AugmentConfig {
            erase: 0.0,
            rotation: 0.0,
            ..all.clone()
        };
        let draw = |config: &AugmentConfig, seed| {
            let mut rng = generator(seed, Purpose::Augment, [0; 3]);
            Augmentation::draw(config, &mut rng, 90, 60)
        };
        for seed in 0..200 {
            let expected = Augmentation {
                erased: None,
                rotation_degrees: 0.0,
                ..draw(&all, seed)
            };
            assert_eq!(draw(&without, seed), expected);
        }
        let share = |has: fn(&Augmentation) -> bool| {
            (0..1000).filter(|&seed| has(&draw(&all, seed))).count()
        };
        for found in [
            share(|drawn| drawn.erased.is_some()),
            share(|drawn| drawn.belt.is_some()),
            share(|drawn| drawn.jpeg_quality.is_some()),
            share(|drawn| drawn.rotation_degrees != 0.0),
        ] {
            assert!((440..560).contains(&found), "{found} of 1000");
        }
    }
}
