//! What the belt and the light on it look like.

use crate::noise;

/// The belt's surface, repeating after its length; and the camera's light, fixed in the picture.
pub(crate) struct Surface {
    seed: u64,
    length_px: usize,
    width: usize,
    height: usize,
    /// `height` rows of `length_px` pixels in packed RGB, each row followed by its own beginning.
    belt: Vec<u8>,
    /// Light per byte of the picture, 256 = neutral.
    light: Vec<u16>,
    /// Sensor noise, drawn from at a new place for every frame.
    grain: Vec<i8>,
}

const GRAIN: usize = 1 << 16;

impl Surface {
    pub(crate) fn new(seed: u64, width: usize, height: usize, px_per_mm: f64) -> Self {
        let length_px = width * 2 + width / 3;
        let light = (0..width * height * 3)
            .map(|i| {
                let i = i / 3;
                let x = (i % width) as f32 / width as f32 - 0.45;
                let y = (i / width) as f32 / height as f32 - 0.55;
                (256.0 * (1.06 - 0.35 * (x * x + y * y))) as u16
            })
            .collect();
        let grain = (0..GRAIN + width * 3)
            .map(|i| {
                // The sum of four even numbers is close to normal: standard deviation 2.3.
                let h = noise::hash(seed ^ 0x6EA1, i as i64, 0);
                let sum: u64 = (0..4).map(|k| (h >> (16 * k)) & 7).sum();
                (sum as i64 - 14) as i8 / 2
            })
            .collect();
        Self {
            seed,
            length_px,
            width,
            height,
            belt: repeated(
                &belt(seed, length_px, height, px_per_mm as f32),
                length_px,
                width,
            ),
            light,
            grain,
        }
    }

    /// Copies the belt, moved on by `shift_px`, into packed RGB.
    pub(crate) fn paint(&self, shift_px: i64, frame: &mut [u8]) {
        let length = self.length_px as i64;
        let start = (-shift_px).rem_euclid(length) as usize * 3;
        let row_bytes = (self.length_px + self.width) * 3;
        let rows = self.belt.chunks_exact(row_bytes);
        for (row, source) in frame.chunks_exact_mut(self.width * 3).zip(rows) {
            row.copy_from_slice(&source[start..start + self.width * 3]);
        }
    }

    /// Lights the frame as at `t_us`, and adds the sensor's noise.
    pub(crate) fn expose(&self, t_us: i64, frame: &mut [u8]) {
        let seconds = t_us as f64 / 1e6;
        let slow = (seconds / 97.0 * std::f64::consts::TAU).sin();
        let quick = (seconds / 13.0 * std::f64::consts::TAU).sin();
        let drift = (256.0 * (1.0 + 0.05 * slow + 0.015 * quick)) as u32;
        let row_bytes = self.width * 3;
        let rows = frame.chunks_exact_mut(row_bytes);
        for (y, (row, light)) in rows.zip(self.light.chunks_exact(row_bytes)).enumerate() {
            let start = noise::hash(self.seed, t_us, y as i64) as usize % GRAIN;
            let grain = &self.grain[start..start + row_bytes];
            for ((value, light), grain) in row.iter_mut().zip(light).zip(grain) {
                // At most 255 * 290 * 280, far below 2^32: wrapping is never seen, only faster.
                let lit = u32::from(*value)
                    .wrapping_mul(u32::from(*light))
                    .wrapping_mul(drift)
                    >> 16;
                let seen = (lit as i32).wrapping_add(i32::from(*grain));
                *value = seen.clamp(0, 255) as u8;
            }
        }
    }

    pub(crate) fn height(&self) -> usize {
        self.height
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }
}

/// Packs rows of `length` pixels, each with `more` pixels of its beginning after its end.
fn repeated(pixels: &[[u8; 3]], length: usize, more: usize) -> Vec<u8> {
    let rows = pixels.chunks_exact(length);
    rows.flat_map(|row| row.iter().chain(&row[..more]).flatten().copied())
        .collect()
}

/// Dark green rubber with a weave, smears and specks of dirt.
fn belt(seed: u64, length: usize, height: usize, px_per_mm: f32) -> Vec<[u8; 3]> {
    let smear_mm = (90.0, 12.0);
    let period = (length as f32 / px_per_mm / smear_mm.0).ceil().max(1.0) as i64;
    let cell = length as f32 / period as f32;
    let mut pixels = Vec::with_capacity(length * height);
    for y in 0..height {
        for x in 0..length {
            let smear = noise::value(
                seed ^ 0x5EA2,
                x as f32 / cell,
                y as f32 / px_per_mm / smear_mm.1,
                Some(period),
            );
            let fine = (noise::hash(seed ^ 0xF1, x as i64 / 2, y as i64 / 2) & 7) as f32 - 3.5;
            let weave = if (x + y) / 3 % 2 == 0 { 1.5 } else { -1.5 };
            let level = (smear - 0.5) * 9.0 + fine + weave;
            pixels.push([58.0, 72.0, 68.0].map(|base: f32| (base + level) as u8));
        }
    }
    specks(seed, length, height, px_per_mm, &mut pixels);
    pixels
}

/// Crumbs and stains, up to 4 mm in radius.
fn specks(seed: u64, length: usize, height: usize, px_per_mm: f32, pixels: &mut [[u8; 3]]) {
    let area_mm2 = length as f32 * height as f32 / (px_per_mm * px_per_mm);
    for n in 0..(area_mm2 / 4000.0) as i64 {
        let h = noise::hash(seed ^ 0x0D1E7, n, 2);
        let part = |shift: u32| ((h >> shift) & 0xFFFF) as f32 / 65_536.0;
        let (cx, cy) = (part(0) * length as f32, part(16) * height as f32);
        let radius = (0.6 + 3.4 * part(32).powi(3)) * px_per_mm;
        let shade = if part(48) < 0.6 { -16.0 } else { 22.0 };
        let reach = radius.ceil() as i64;
        for dy in -reach..=reach {
            for dx in -reach..=reach {
                let distance = ((dx * dx + dy * dy) as f32).sqrt();
                let y = cy as i64 + dy;
                if distance > radius || !(0..height as i64).contains(&y) {
                    continue;
                }
                let x = (cx as i64 + dx).rem_euclid(length as i64);
                let pixel = &mut pixels[y as usize * length + x as usize];
                let strength = (1.0 - distance / radius).min(0.5) * 2.0 * shade;
                *pixel = pixel.map(|v| (f32::from(v) + strength).clamp(0.0, 255.0) as u8);
            }
        }
    }
}
