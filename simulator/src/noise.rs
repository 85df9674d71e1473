//! Value noise on a lattice of hashed numbers.

/// A well mixed hash of a lattice point.
pub(crate) fn hash(seed: u64, x: i64, y: i64) -> u64 {
    let mut h = seed
        ^ (x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (y as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    h ^ (h >> 31)
}

fn unit(seed: u64, x: i64, y: i64) -> f32 {
    (hash(seed, x, y) >> 40) as f32 / (1u64 << 24) as f32
}

/// Smooth noise in 0..1 with features about one unit wide; `period_x`, if any, makes it repeat.
pub(crate) fn value(seed: u64, x: f32, y: f32, period_x: Option<i64>) -> f32 {
    let (x0, y0) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (fx, fy) = (smooth(x - x0), smooth(y - y0));
    let (xi, yi) = (x0 as i64, y0 as i64);
    let wrap = |i: i64| period_x.map_or(i, |p| i.rem_euclid(p));
    let corner = |dx: i64, dy: i64| unit(seed, wrap(xi + dx), yi + dy);
    let top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * fx;
    let bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * fx;
    top + (bottom - top) * fy
}

/// Three octaves of [`value`], in 0..1.
pub(crate) fn fractal(seed: u64, x: f32, y: f32) -> f32 {
    let octave = |n: u64, f: f32| value(seed.wrapping_add(n), x * f, y * f, None);
    (octave(0, 1.0) * 4.0 + octave(1, 2.1) * 2.0 + octave(2, 4.3)) / 7.0
}
