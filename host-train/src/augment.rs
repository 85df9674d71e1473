//! Random changes to a photo: a crop, mirroring, quarter turns, colour.
//!
//! Geometry happens before preprocessing (a crop is a region of the photo) or moves whole pixels, so
//! that a photo is resampled once, and by the same function as in service.

use models::{PreprocessError, Preprocessor, Region, RgbView};
use rand::Rng;

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
    /// Factors of brightness, contrast and saturation.
    colour: [f32; 3],
}

impl Augmentation {
    /// The photo as it is.
    pub(crate) const NONE: Augmentation = Augmentation {
        region: None,
        flip_x: false,
        flip_y: false,
        transpose: false,
        colour: [1.0; 3],
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
        let (mirror, upend) = (unit(rng) < 0.5, unit(rng) < 0.5);
        let turns = if config.quarter_turns {
            rng.next_u32() % 4
        } else {
            0
        };
        let mut factor = |part: f32| between(rng, 1.0 - part, 1.0 + part);
        let colour = [
            factor(config.brightness),
            factor(config.contrast),
            factor(config.saturation),
        ];
        Augmentation {
            region: (config.min_area < 1.0 || config.max_stretch > 1.0).then_some(region),
            flip_x: (config.horizontal_flip && mirror) ^ (turns >= 2),
            flip_y: (config.vertical_flip && upend) ^ (turns == 1 || turns == 2),
            transpose: turns % 2 == 1,
            colour,
        }
    }

    /// The changed photo as a preprocessed square, packed RGB.
    pub(crate) fn apply(
        &self,
        preprocessor: &mut Preprocessor,
        photo: RgbView,
        out: &mut [u8],
    ) -> Result<(), PreprocessError> {
        let square = preprocessor.square(photo, self.region)?;
        let side = (square.len() / 3).isqrt();
        for (y, row) in out.chunks_exact_mut(side * 3).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let (from_x, from_y) = if self.transpose { (y, x) } else { (x, y) };
                let from_x = if self.flip_x {
                    side - 1 - from_x
                } else {
                    from_x
                };
                let from_y = if self.flip_y {
                    side - 1 - from_y
                } else {
                    from_y
                };
                let from = (from_y * side + from_x) * 3;
                pixel.copy_from_slice(&square[from..from + 3]);
            }
        }
        if self.colour != [1.0; 3] {
            recolour(out, self.colour);
        }
        Ok(())
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

fn recolour(pixels: &mut [u8], [brightness, contrast, saturation]: [f32; 3]) {
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
            let config = AugmentConfig { min_area, max_stretch, ..AugmentConfig::default() };
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
        let off = AugmentConfig {
            horizontal_flip: false,
            min_area: 1.0,
            max_stretch: 1.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            ..AugmentConfig::default()
        };
        let mut rng = generator(1, Purpose::Augment, [0; 3]);
        assert_eq!(
            Augmentation::draw(&off, &mut rng, 30, 20),
            Augmentation::NONE
        );
    }
}
