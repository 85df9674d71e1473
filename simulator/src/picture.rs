//! Pictures of items, and their turning into sprites at the camera's resolution.

use image::{Rgba, RgbaImage};

/// A picture of one item, seen from above.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The pixels; what is transparent shows the belt.
    pub image: RgbaImage,
    /// What it shows, as an index that means something to the caller.
    pub kind: usize,
    /// Length of the picture's longer side on the belt.
    pub size_mm: f64,
}

impl Picture {
    /// A photo, background and all: it lies on the belt like a printed card.
    pub fn photo(photo: &image::RgbImage, kind: usize, size_mm: f64) -> Self {
        let image = RgbaImage::from_fn(photo.width(), photo.height(), |x, y| {
            let [r, g, b] = photo.get_pixel(x, y).0;
            Rgba([r, g, b, 255])
        });
        Self {
            image,
            kind,
            size_mm,
        }
    }
}

/// A turned and scaled picture with its shadow; colours are premultiplied by alpha.
pub(crate) struct Sprite {
    pub(crate) pixels: RgbaImage,
    /// Where the middle of the visible item is, from the sprite's left upper corner.
    pub(crate) centre_px: [f64; 2],
    /// Length and width of the visible item.
    pub(crate) extent_px: [f64; 2],
}

const SHADOW_PX: i64 = 3;
const SHADOW_REACH: i64 = 3;
const SHADOW_DARKNESS: f32 = 0.35;

impl Sprite {
    pub(crate) fn new(picture: &Picture, px_per_mm: f64, angle_rad: f64) -> Self {
        let item = turned(picture, px_per_mm, angle_rad);
        let (centre_px, extent_px) = visible(&item);
        Self {
            pixels: with_shadow(&item),
            centre_px,
            extent_px,
        }
    }
}

/// Samples the picture turned by `angle_rad`, averaging several points per pixel.
fn turned(picture: &Picture, px_per_mm: f64, angle_rad: f64) -> RgbaImage {
    let source = &picture.image;
    let (sw, sh) = (f64::from(source.width()), f64::from(source.height()));
    let scale = picture.size_mm * px_per_mm / sw.max(sh);
    let (sin, cos) = angle_rad.sin_cos();
    let length = (sw * cos.abs() + sh * sin.abs()) * scale;
    let width = (sw * sin.abs() + sh * cos.abs()) * scale;
    let margin = f64::from(2 * (SHADOW_PX + SHADOW_REACH) as u32);
    let size = [(length + margin).ceil(), (width + margin).ceil()];
    let points = ((1.0 / scale).ceil() as u32).clamp(2, 4);
    RgbaImage::from_fn(size[0] as u32, size[1] as u32, |px, py| {
        let mut sum = [0.0f32; 4];
        for step in 0..points * points {
            let offset = |s: u32| (f64::from(s) + 0.5) / f64::from(points);
            let dx = f64::from(px) + offset(step % points) - size[0] / 2.0;
            let dy = f64::from(py) + offset(step / points) - size[1] / 2.0;
            let sx = (dx * cos + dy * sin) / scale + sw / 2.0;
            let sy = (dy * cos - dx * sin) / scale + sh / 2.0;
            add_sample(source, sx, sy, &mut sum);
        }
        let n = (points * points) as f32;
        Rgba(sum.map(|v| (v / n + 0.5) as u8))
    })
}

/// Adds the bilinear sample at a point, premultiplied; nothing outside the picture.
fn add_sample(source: &RgbaImage, x: f64, y: f64, sum: &mut [f32; 4]) {
    let (w, h) = (source.width(), source.height());
    if x < 0.0 || y < 0.0 || x >= f64::from(w) || y >= f64::from(h) {
        return;
    }
    let (fx, fy) = ((x - 0.5).max(0.0), (y - 0.5).max(0.0));
    let (x0, y0) = (fx as u32, fy as u32);
    let (tx, ty) = ((fx - f64::from(x0)) as f32, (fy - f64::from(y0)) as f32);
    let corners = [
        (x0, y0, (1.0 - tx) * (1.0 - ty)),
        (x0 + 1, y0, tx * (1.0 - ty)),
        (x0, y0 + 1, (1.0 - tx) * ty),
        (x0 + 1, y0 + 1, tx * ty),
    ];
    for (cx, cy, weight) in corners {
        let [r, g, b, a] = source.get_pixel(cx.min(w - 1), cy.min(h - 1)).0;
        let alpha = f32::from(a) / 255.0 * weight;
        sum[0] += f32::from(r) * alpha;
        sum[1] += f32::from(g) * alpha;
        sum[2] += f32::from(b) * alpha;
        sum[3] += 255.0 * alpha;
    }
}

/// Centre and extent of what is more than half opaque.
fn visible(sprite: &RgbaImage) -> ([f64; 2], [f64; 2]) {
    let mut low = [u32::MAX; 2];
    let mut high = [0u32; 2];
    for (x, y, pixel) in sprite.enumerate_pixels() {
        if pixel.0[3] >= 128 {
            low = [low[0].min(x), low[1].min(y)];
            high = [high[0].max(x + 1), high[1].max(y + 1)];
        }
    }
    if low[0] == u32::MAX {
        let size = [f64::from(sprite.width()), f64::from(sprite.height())];
        return (size.map(|s| s / 2.0), [0.0; 2]);
    }
    let axis = |i: usize| (f64::from(low[i]), f64::from(high[i]));
    let ((x0, x1), (y0, y1)) = (axis(0), axis(1));
    ([(x0 + x1) / 2.0, (y0 + y1) / 2.0], [x1 - x0, y1 - y0])
}

/// Puts a soft shadow, as from a lamp above left, under the item.
fn with_shadow(item: &RgbaImage) -> RgbaImage {
    let (w, h) = (i64::from(item.width()), i64::from(item.height()));
    let alpha = |x: i64, y: i64| -> f32 {
        if x < 0 || y < 0 || x >= w || y >= h {
            return 0.0;
        }
        f32::from(item.get_pixel(x as u32, y as u32).0[3]) / 255.0
    };
    // A box blur, first along rows and then along columns.
    let side = (2 * SHADOW_REACH + 1) as f32;
    let mut rows = vec![0.0f32; (w * h) as usize];
    for y in 0..h {
        for x in 0..w {
            let sum: f32 = (-SHADOW_REACH..=SHADOW_REACH)
                .map(|d| alpha(x + d - SHADOW_PX, y - SHADOW_PX))
                .sum();
            rows[(y * w + x) as usize] = sum / side;
        }
    }
    RgbaImage::from_fn(item.width(), item.height(), |px, py| {
        let (x, y) = (i64::from(px), i64::from(py));
        let sum: f32 = (-SHADOW_REACH..=SHADOW_REACH)
            .filter_map(|d| {
                let row = y + d;
                (0..h).contains(&row).then(|| rows[(row * w + x) as usize])
            })
            .sum();
        let [r, g, b, a] = item.get_pixel(px, py).0;
        let below = sum / side * SHADOW_DARKNESS * (1.0 - f32::from(a) / 255.0);
        Rgba([
            r,
            g,
            b,
            (f32::from(a) + 255.0 * below + 0.5).min(255.0) as u8,
        ])
    })
}
