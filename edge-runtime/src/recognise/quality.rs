//! Views that are too blurred or too badly exposed to say anything.

use super::{NoScores, Recognise};
use crate::capture::Frame;
use crate::line::geometry::PixelBox;
use image::RgbImage;

/// What was measured in a part of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quality {
    /// 1 where edges are as steep as pixels allow, 0.25 where they are wider than [`REACH`] pixels; of
    /// the two directions that of the softer, so that motion shows as well. More than 1 is noise.
    /// `None` where there is hardly an edge to tell by.
    pub(crate) sharpness: Option<f64>,
    /// Share of the pixels that are black or white for certain, in all three colours.
    pub(crate) clipped: f64,
}

/// Edges wider than this many pixels are blurred beyond measure.
const REACH: usize = 4;
/// Mean squared difference of pixels so far apart below which there is only noise (four levels).
const NOISE: f64 = 16.0;
const WHITE: u8 = 253;
const BLACK: u8 = 2;

impl Quality {
    /// Measures the part of a frame in `area`, in its green channel.
    ///
    /// The ratio between the differences of neighbours and of pixels [`REACH`] apart does not depend on
    /// contrast: a step gives 1/4, a ramp of that length or longer 1/16.
    pub(crate) fn of(image: &RgbImage, area: PixelBox) -> Self {
        let (x0, x1) = (area.x0 as usize, area.x1.min(image.width()) as usize);
        let (y0, y1) = (area.y0 as usize, area.y1.min(image.height()) as usize);
        let stride = image.width() as usize * 3;
        let rows =
            || (y0..y1).map(|y| &image.as_raw()[y * stride + x0.min(x1) * 3..y * stride + x1 * 3]);
        let mut along = Differences::default();
        for row in rows() {
            let green = |x: usize| i64::from(row[x * 3 + 1]);
            for x in 0..(row.len() / 3).saturating_sub(REACH) {
                along.add(green(x), green(x + 1), green(x + REACH));
            }
        }
        let mut down = Differences::default();
        for ((row, next), far) in rows().zip(rows().skip(1)).zip(rows().skip(REACH)) {
            for x in (1..row.len()).step_by(3) {
                down.add(i64::from(row[x]), i64::from(next[x]), i64::from(far[x]));
            }
        }
        let pixels = rows().map(|row| row.len() / 3).sum::<usize>();
        let clipped = rows()
            .flat_map(|row| row.chunks_exact(3))
            .filter(|p| p.iter().all(|v| *v >= WHITE) || p.iter().all(|v| *v <= BLACK))
            .count();
        let sharpness = [along.sharpness(), down.sharpness()];
        Self {
            sharpness: sharpness.into_iter().flatten().reduce(f64::min),
            clipped: clipped as f64 / pixels.max(1) as f64,
        }
    }
}

/// Sums of squared differences.
#[derive(Default)]
struct Differences {
    near: i64,
    far: i64,
    count: i64,
}

impl Differences {
    fn add(&mut self, value: i64, next: i64, far: i64) {
        self.near += (next - value).pow(2);
        self.far += (far - value).pow(2);
        self.count += 1;
    }

    fn sharpness(&self) -> Option<f64> {
        let is_more_than_noise = self.far as f64 > NOISE * self.count as f64;
        is_more_than_noise.then(|| REACH as f64 * self.near as f64 / self.far as f64)
    }
}

/// What a view must be like to be classified.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    pub(crate) min_sharpness: f64,
    pub(crate) max_clipped: f64,
}

impl Limits {
    pub(crate) fn new(camera: &boards::Camera) -> Self {
        Self {
            min_sharpness: camera.min_sharpness,
            max_clipped: camera.max_clipped,
        }
    }

    fn check(self, quality: Quality) -> Result<(), NoScores> {
        if quality.clipped > self.max_clipped {
            return Err(NoScores::BadlyExposed);
        }
        match quality.sharpness {
            Some(sharpness) if sharpness < self.min_sharpness => Err(NoScores::Blurred),
            _ => Ok(()),
        }
    }
}

/// Gives no scores to views that are not good enough, so that they do not vote.
pub(crate) struct Selective<'a> {
    inner: &'a mut dyn Recognise,
    limits: Limits,
}

impl<'a> Selective<'a> {
    pub(crate) fn new(inner: &'a mut dyn Recognise, limits: Limits) -> Self {
        Self { inner, limits }
    }
}

impl Recognise for Selective<'_> {
    fn scores(
        &mut self,
        frame: &Frame,
        area: PixelBox,
        scores: &mut Vec<f32>,
    ) -> Result<(), NoScores> {
        scores.clear();
        self.limits.check(Quality::of(&frame.image, area))?;
        self.inner.scores(frame, area, scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use proptest::prelude::*;

    const ALL: PixelBox = PixelBox {
        x0: 0,
        y0: 0,
        x1: 64,
        y1: 48,
    };
    const LIMITS: Limits = Limits {
        min_sharpness: 0.3,
        max_clipped: 0.9,
    };

    /// Stripes across the width or the height, whose edges are `soft` pixels wide.
    fn stripes(soft: i32, upright: bool, dark: u8, light: u8) -> RgbImage {
        RgbImage::from_fn(64, 48, |x, y| {
            let at = (if upright { x } else { y }) as i32 % 32;
            let rising = (at - 8 + soft / 2).clamp(0, soft);
            let falling = (at - 24 + soft / 2).clamp(0, soft);
            let share = f64::from(rising - falling) / f64::from(soft);
            let value = f64::from(dark) + share * f64::from(light - dark);
            Rgb([value.round() as u8; 3])
        })
    }

    fn sharpness(image: &RgbImage) -> f64 {
        Quality::of(image, ALL).sharpness.unwrap()
    }

    #[test]
    fn a_step_is_sharp_and_a_ramp_is_not() {
        for upright in [true, false] {
            assert_eq!(sharpness(&stripes(1, upright, 50, 200)), 1.0);
            let soft = sharpness(&stripes(8, upright, 50, 200));
            assert!((0.25..0.32).contains(&soft), "{soft}");
        }
    }

    #[test]
    fn the_softer_direction_counts() {
        let sharp = stripes(1, false, 0, 120);
        let soft = stripes(10, true, 0, 120);
        let both = RgbImage::from_fn(64, 48, |x, y| {
            Rgb([sharp.get_pixel(x, y)[0] + soft.get_pixel(x, y)[0]; 3])
        });
        let measured = sharpness(&both);
        assert!(measured < 0.3, "{measured}");
    }

    #[test]
    fn without_an_edge_nothing_is_known_and_nothing_refused() {
        let grey = RgbImage::from_pixel(64, 48, Rgb([90; 3]));
        let quality = Quality::of(&grey, ALL);
        assert_eq!((quality.sharpness, quality.clipped), (None, 0.0));
        assert_eq!(LIMITS.check(quality), Ok(()));
    }

    #[test]
    fn white_and_black_are_clipped_and_colours_are_not() {
        for (value, clipped) in [([255; 3], 1.0), ([0, 2, 1], 1.0), ([255, 0, 0], 0.0)] {
            let image = RgbImage::from_pixel(64, 48, Rgb(value));
            let quality = Quality::of(&image, ALL);
            assert_eq!(quality.clipped, clipped);
            assert_eq!(LIMITS.check(quality).is_err(), clipped > 0.9);
        }
    }

    proptest! {
        #[test]
        fn softer_edges_are_less_sharp_at_any_contrast(
            soft in 1i32..6,
            dark in 0u8..100,
            contrast in 40u8..150,
            upright: bool,
        ) {
            let at = |soft| sharpness(&stripes(soft, upright, dark, dark + contrast));
            prop_assert!(at(soft) > at(soft + 2));
        }

        #[test]
        fn any_area_of_any_picture_is_measured(
            (width, height) in (1u32..20, 1u32..20),
            corners in prop::array::uniform4(0u32..25),
            fill: u8,
        ) {
            let image = RgbImage::from_pixel(width, height, Rgb([fill; 3]));
            let [x0, y0, x1, y1] = corners;
            let quality = Quality::of(&image, PixelBox { x0, y0, x1, y1 });
            prop_assert!((0.0..=1.0).contains(&quality.clipped));
        }
    }

    #[test]
    fn a_view_that_is_blurred_gets_no_scores() {
        let mut inner = super::super::Nobody;
        let mut selective = Selective::new(&mut inner, LIMITS);
        let mut frame = Frame {
            image: stripes(10, true, 50, 200),
            ..Frame::default()
        };
        let mut scores = vec![1.0];
        let result = selective.scores(&frame, ALL, &mut scores);
        assert_eq!((result, scores.is_empty()), (Err(NoScores::Blurred), true));
        frame.image = stripes(1, true, 50, 200);
        assert_eq!(selective.scores(&frame, ALL, &mut scores), Ok(()));
    }
}
