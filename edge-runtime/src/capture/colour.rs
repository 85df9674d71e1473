//! Luma and two differences of colour made RGB: ITU-R BT.601.

/// From black to white luma is 16 to 235, as cameras and most videos have it.
pub(crate) const LIMITED: bool = false;
/// Luma is 0 to 255, as in JPEG.
pub(crate) const FULL: bool = true;

/// What two differences of colour add to red, green and blue, times 256.
pub(crate) struct Colour<const RANGE: bool>([i32; 3]);

impl<const RANGE: bool> Colour<RANGE> {
    pub(crate) fn new(blue: u8, red: u8) -> Self {
        let (u, v) = (i32::from(blue) - 128, i32::from(red) - 128);
        Self(match RANGE {
            LIMITED => [409 * v, -100 * u - 208 * v, 516 * u],
            FULL => [359 * v, -88 * u - 183 * v, 454 * u],
        })
    }

    pub(crate) fn with_luma(&self, y: u8) -> [u8; 3] {
        let luma = match RANGE {
            LIMITED => 298 * (i32::from(y) - 16),
            FULL => 256 * i32::from(y),
        };
        self.0.map(|c| ((luma + c + 128) >> 8).clamp(0, 255) as u8)
    }
}

/// A row of luma whose `step` neighbours share one value of blue and of red.
pub(crate) fn planar_row<const RANGE: bool>(
    luma: &[u8],
    (blue, red): (&[u8], &[u8]),
    step: usize,
    rgb: &mut [u8],
) {
    let colours = blue.iter().zip(red);
    let shared = luma.chunks(step).zip(rgb.chunks_mut(step * 3));
    for ((ys, pixels), (blue, red)) in shared.zip(colours) {
        let colour = Colour::<RANGE>::new(*blue, *red);
        for (y, pixel) in ys.iter().zip(pixels.chunks_exact_mut(3)) {
            pixel.copy_from_slice(&colour.with_luma(*y));
        }
    }
}

/// The standard's formula, not rounded.
#[cfg(test)]
pub(crate) fn reference(range: bool, y: u8, u: u8, v: u8) -> [f64; 3] {
    // The weights of red and blue in luma; the rest is green's.
    let (red, blue) = (0.299, 0.114);
    let (black, luma_range, colour_range) = match range {
        LIMITED => (16.0, 219.0, 224.0),
        FULL => (0.0, 255.0, 255.0),
    };
    let y = (f64::from(y) - black) * 255.0 / luma_range;
    let [u, v] = [u, v].map(|c| (f64::from(c) - 128.0) * 255.0 / colour_range);
    let (r, b) = (y + 2.0 * (1.0 - red) * v, y + 2.0 * (1.0 - blue) * u);
    let g = (y - red * r - blue * b) / (1.0 - red - blue);
    [r, g, b].map(|c| c.clamp(0.0, 255.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const RANGE: bool>() {
        for (u, v) in (0..=255).flat_map(|u| (0..=255).map(move |v| (u, v))) {
            let colour = Colour::<RANGE>::new(u, v);
            for y in 0..=255 {
                let expect = reference(RANGE, y, u, v);
                for (found, expect) in colour.with_luma(y).into_iter().zip(expect) {
                    assert!((f64::from(found) - expect).abs() < 1.0, "{y} {u} {v}");
                }
            }
        }
    }

    #[test]
    fn every_colour_is_less_than_a_level_from_the_standard() {
        check::<LIMITED>();
        check::<FULL>();
    }
}
