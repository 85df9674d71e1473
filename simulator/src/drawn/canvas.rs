//! A square canvas on which shapes are filled by signed distance, with smooth edges.

use crate::noise;
use image::{Rgba, RgbaImage};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A point; the canvas reaches from -1 to 1 in both directions.
pub(crate) type Point = [f32; 2];

/// Red, green, blue in 0..1.
pub(crate) type Colour = [f32; 3];

pub(crate) struct Canvas {
    side: usize,
    /// Colour (not premultiplied) and opacity.
    pixels: Vec<(Colour, f32)>,
}

impl Canvas {
    pub(crate) fn new(side: usize) -> Self {
        Self {
            side,
            pixels: vec![([0.5; 3], 0.0); side * side],
        }
    }

    /// Paints where `distance` is below zero, softly over one pixel at its edge.
    pub(crate) fn fill(
        &mut self,
        distance: impl Fn(Point) -> f32,
        paint: impl Fn(Point) -> Colour,
    ) {
        self.fill_part(1.0, distance, paint);
    }

    /// As [`Canvas::fill`], letting through what is below.
    pub(crate) fn fill_part(
        &mut self,
        opacity: f32,
        distance: impl Fn(Point) -> f32,
        paint: impl Fn(Point) -> Colour,
    ) {
        let per_unit = self.side as f32 / 2.0;
        for (index, (colour, alpha)) in self.pixels.iter_mut().enumerate() {
            let at = |i: usize| (i as f32 + 0.5) / per_unit - 1.0;
            let point = [at(index % self.side), at(index / self.side)];
            let cover = (0.5 - distance(point) * per_unit).clamp(0.0, 1.0) * opacity;
            if cover <= 0.0 {
                continue;
            }
            let sum = cover + *alpha * (1.0 - cover);
            let share = cover / sum;
            *colour = mix(*colour, paint(point), share);
            *alpha = sum;
        }
    }

    /// Paints only over what is there already.
    pub(crate) fn stain(&mut self, paint: impl Fn(Point, Colour) -> Colour) {
        let per_unit = self.side as f32 / 2.0;
        for (index, (colour, alpha)) in self.pixels.iter_mut().enumerate() {
            if *alpha > 0.0 {
                let at = |i: usize| (i as f32 + 0.5) / per_unit - 1.0;
                *colour = paint([at(index % self.side), at(index / self.side)], *colour);
            }
        }
    }

    /// Dirt, uneven light and a colour cast, different for every item.
    pub(crate) fn weather(&mut self, rng: &mut ChaCha8Rng) {
        let seed: u64 = rng.random();
        let dirt_share = rng.random_range(0.0..0.45f32);
        let dirt: Colour = [
            rng.random_range(0.2..0.35),
            rng.random_range(0.16..0.26),
            rng.random_range(0.1..0.18),
        ];
        let light_angle = rng.random_range(0.0..std::f32::consts::TAU);
        let light_strength = rng.random_range(0.0..0.25f32);
        let gain = rng.random_range(0.78..1.12f32);
        let cast: Colour = std::array::from_fn(|_| rng.random_range(0.94..1.06));
        self.stain(|[x, y], colour| {
            let blotch = noise::fractal(seed, x * 3.5, y * 3.5);
            let amount = ((blotch - (1.0 - dirt_share * 0.8)) * 6.0).clamp(0.0, 0.7);
            let light = 1.0 + light_strength * (x * light_angle.cos() + y * light_angle.sin());
            let fine = 1.0 + 0.06 * (noise::value(seed ^ 7, x * 40.0, y * 40.0, None) - 0.5);
            let soiled = mix(colour, dirt, amount);
            std::array::from_fn(|c| (soiled[c] * light * gain * fine * cast[c]).clamp(0.0, 1.0))
        });
    }

    pub(crate) fn into_image(self) -> RgbaImage {
        let side = self.side as u32;
        RgbaImage::from_fn(side, side, |x, y| {
            let (colour, alpha) = self.pixels[(y * side + x) as usize];
            let [r, g, b] = colour.map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
            Rgba([r, g, b, (alpha * 255.0 + 0.5) as u8])
        })
    }
}

pub(crate) fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * share)
}

pub(crate) fn scale(colour: Colour, gain: f32) -> Colour {
    colour.map(|v| (v * gain).clamp(0.0, 1.0))
}

/// Hue, saturation and value, each in 0..1.
pub(crate) fn hsv(hue: f32, saturation: f32, value: f32) -> Colour {
    [5.0f32, 3.0, 1.0].map(|n| {
        let k = (n + hue * 6.0).rem_euclid(6.0);
        value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))
    })
}

// Distances to shapes, negative inside (after Inigo Quilez, "2D distance functions").

pub(crate) fn circle([x, y]: Point, [cx, cy]: Point, radius: f32) -> f32 {
    (x - cx).hypot(y - cy) - radius
}

/// A box with half sides `half` and round corners.
pub(crate) fn slab([x, y]: Point, [cx, cy]: Point, half: Point, round: f32) -> f32 {
    let qx = (x - cx).abs() - half[0] + round;
    let qy = (y - cy).abs() - half[1] + round;
    qx.max(0.0).hypot(qy.max(0.0)) + qx.max(qy).min(0.0) - round
}

/// A line from `a` to `b`, `ra` thick (half) at `a` and `rb` at `b`.
pub(crate) fn rod([x, y]: Point, a: Point, b: Point, ra: f32, rb: f32) -> f32 {
    let (px, py) = (x - a[0], y - a[1]);
    let (bx, by) = (b[0] - a[0], b[1] - a[1]);
    let t = ((px * bx + py * by) / (bx * bx + by * by).max(1e-9)).clamp(0.0, 1.0);
    (px - bx * t).hypot(py - by * t) - (ra + (rb - ra) * t)
}

/// About the distance to an ellipse; good near its edge.
pub(crate) fn ellipse([x, y]: Point, [cx, cy]: Point, [rx, ry]: Point) -> f32 {
    let (ux, uy) = ((x - cx) / rx, (y - cy) / ry);
    let k = ux.hypot(uy);
    let slope = (ux / rx).hypot(uy / ry);
    if slope < 1e-6 {
        return -rx.min(ry);
    }
    k * (k - 1.0) / slope
}

pub(crate) fn polygon([x, y]: Point, corners: &[Point]) -> f32 {
    let mut nearest = f32::MAX;
    let mut inside = false;
    let mut b = corners[corners.len() - 1];
    for &a in corners {
        nearest = nearest.min(rod([x, y], a, b, 0.0, 0.0));
        if (a[1] > y) != (b[1] > y) && x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0] {
            inside = !inside;
        }
        b = a;
    }
    if inside { -nearest } else { nearest }
}
