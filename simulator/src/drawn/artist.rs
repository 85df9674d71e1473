//! How each item is drawn. All lie along the x axis; the world turns them.

use super::canvas::{Canvas, Colour, Point, circle, ellipse, hsv, mix, polygon, rod, scale, slab};
use crate::noise;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

pub(super) type Draw = fn(&mut Canvas, &mut ChaCha8Rng);

const STEEL: Colour = [0.78, 0.79, 0.81];

/// The light on a cylinder along x, with half its diameter `r`: bright line, dark flanks.
fn round_light(y: f32, r: f32, gloss: f32) -> f32 {
    let u = (y / r).clamp(-1.0, 1.0);
    let body = (1.0 - u * u).sqrt();
    let shine = (-(u + 0.35).powi(2) * 30.0).exp();
    0.5 + 0.5 * body + gloss * shine
}

/// Moves a point a little, so that straight edges come out dented.
fn dented(seed: u64, amount: f32) -> impl Fn(Point) -> Point {
    move |[x, y]| {
        let shift = |n: u64| noise::fractal(seed ^ n, x * 2.2 + 9.0, y * 2.2 + 9.0) - 0.5;
        [x + amount * shift(1), y + amount * shift(2)]
    }
}

fn any_hue(rng: &mut ChaCha8Rng) -> Colour {
    hsv(
        rng.random(),
        rng.random_range(0.35..0.95),
        rng.random_range(0.45..0.95),
    )
}

pub(super) fn can(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let r = rng.random_range(0.42..0.54f32);
    let half = rng.random_range(0.72..0.84f32);
    let dent = dented(rng.random(), rng.random_range(0.02..0.2));
    let (main, second) = (any_hue(rng), any_hue(rng));
    let stripe = rng.random_range(-0.3..0.3f32);
    let stripe_half = rng.random_range(0.08..0.3f32);
    let seed: u64 = rng.random();
    canvas.fill(
        |p| slab(dent(p), [0.0, 0.0], [half, r * 0.9], 0.08),
        |p| scale(STEEL, round_light(dent(p)[1], r, 0.25)),
    );
    canvas.fill(
        |p| slab(dent(p), [0.0, 0.0], [half - 0.07, r], 0.05),
        |p| {
            let [x, y] = dent(p);
            let print = noise::value(seed, x * 5.0, y * 7.0, None) > 0.62;
            let inside = (x - stripe).abs() < stripe_half;
            let base = if inside != print { second } else { main };
            scale(base, round_light(y, r, 0.35))
        },
    );
    // Seen a little from above: the lid with its tab.
    let lid = [half * 0.98, 0.0];
    canvas.fill(
        |p| ellipse(dent(p), lid, [0.11, r * 0.86]),
        |[_, y]| scale(STEEL, 0.85 + 0.2 * y),
    );
    canvas.fill(
        |p| ellipse(dent(p), lid, [0.05, r * 0.3]),
        |_| scale(STEEL, 0.62),
    );
}

pub(super) fn bottle(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let r = rng.random_range(0.24..0.33f32);
    let shoulder = rng.random_range(0.25..0.45f32);
    let dent = dented(rng.random(), rng.random_range(0.0..0.12));
    let tint = hsv(
        rng.random_range(0.25..0.62),
        rng.random_range(0.05..0.5),
        rng.random_range(0.65..0.9),
    );
    let opacity = rng.random_range(0.6..0.9);
    let (label, cap, print) = (any_hue(rng), any_hue(rng), any_hue(rng));
    let label_at = rng.random_range(-0.5..-0.15f32);
    let rings = rng.random_range(14.0..24.0f32);
    let neck = [
        [-0.92, -r],
        [shoulder, -r],
        [0.72, -0.1],
        [0.86, -0.1],
        [0.86, 0.1],
        [0.72, 0.1],
        [shoulder, r],
        [-0.92, r],
    ];
    canvas.fill_part(
        opacity,
        |p| polygon(dent(p), &neck) - 0.03,
        |p| {
            let [x, y] = dent(p);
            let ring = 1.0 + 0.06 * (x * rings).sin();
            scale(tint, round_light(y, r, 0.5) * ring)
        },
    );
    canvas.fill(
        |p| slab(dent(p), [label_at, 0.0], [0.26, r + 0.015], 0.01),
        |p| {
            let [x, y] = dent(p);
            let text = ((x - label_at) * 22.0).sin() > 0.3 && y.abs() < r * 0.45;
            let base = if text { print } else { label };
            scale(base, round_light(y, r, 0.15))
        },
    );
    canvas.fill(
        |p| slab(dent(p), [0.88, 0.0], [0.07, 0.125], 0.02),
        |[x, y]| {
            scale(
                cap,
                round_light(y, 0.125, 0.2) * (1.0 + 0.1 * (x * 90.0).sin()),
            )
        },
    );
}

pub(super) fn cardboard_box(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let half = [
        rng.random_range(0.6..0.85f32),
        rng.random_range(0.45..0.75f32),
    ];
    let lean = rng.random_range(-0.12..0.12f32);
    let brown = hsv(
        rng.random_range(0.07..0.105),
        rng.random_range(0.35..0.55),
        rng.random_range(0.55..0.8),
    );
    let dent = dented(rng.random(), rng.random_range(0.01..0.08));
    let tape = mix(brown, [0.9, 0.86, 0.74], rng.random_range(0.3..0.8));
    let tape_half = rng.random_range(0.05..0.12f32);
    let seed: u64 = rng.random();
    let has_mark = rng.random_bool(0.6);
    let corner = |sx: f32, sy: f32| [sx * half[0] + sy * lean, sy * half[1]];
    let outline = [
        corner(-1.0, -1.0),
        corner(1.0, -1.0),
        corner(1.0, 1.0),
        corner(-1.0, 1.0),
    ];
    canvas.fill(
        |p| polygon(dent(p), &outline) - 0.01,
        |[x, y]| {
            let flute = 1.0 + 0.03 * (x * 70.0).sin();
            let patch = 0.9 + 0.2 * noise::fractal(seed, x * 2.0, y * 2.0);
            scale(brown, flute * patch)
        },
    );
    canvas.fill(
        |p| slab(dent(p), [0.0, 0.0], [half[0] * 0.98, tape_half], 0.0),
        |_| tape,
    );
    let seam = scale(brown, 0.45);
    canvas.fill(
        |p| rod(dent(p), [-half[0], 0.0], [half[0], 0.0], 0.008, 0.008),
        |_| seam,
    );
    for side in [-1.0f32, 1.0] {
        let (a, b) = (corner(side * 0.82, -0.98), corner(side * 0.82, 0.98));
        canvas.fill_part(0.6, |p| rod(dent(p), a, b, 0.012, 0.012), |_| seam);
    }
    if has_mark {
        let at = [half[0] * 0.45, half[1] * 0.55];
        canvas.fill_part(
            0.8,
            |p| slab(p, at, [0.16, 0.1], 0.01),
            |[x, _]| {
                if (x * 60.0).sin() > 0.0 {
                    [0.15; 3]
                } else {
                    [0.92; 3]
                }
            },
        );
    }
}

pub(super) fn battery(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let r = rng.random_range(0.2..0.33f32);
    let ring = rng.random_range(0.2..0.5f32);
    let copper = mix([0.78, 0.5, 0.22], [0.85, 0.72, 0.3], rng.random());
    let body = if rng.random_bool(0.6) {
        scale([0.16, 0.16, 0.18], rng.random_range(0.6..1.5))
    } else {
        any_hue(rng)
    };
    let rust = rng.random_range(0.0..0.6f32);
    let seed: u64 = rng.random();
    canvas.fill(
        |p| slab(p, [0.86, 0.0], [0.06, r * 0.38], 0.02),
        |[_, y]| scale(STEEL, round_light(y, r * 0.38, 0.2)),
    );
    canvas.fill(
        |p| slab(p, [0.0, 0.0], [0.82, r], 0.04),
        |[x, y]| {
            let edge = if x.abs() > 0.76 { STEEL } else { body };
            let banded = if x > 0.76 - ring && x < 0.76 {
                copper
            } else {
                edge
            };
            let eaten = noise::fractal(seed, x * 6.0, y * 6.0) * rust > 0.36;
            let base = if eaten { [0.45, 0.33, 0.2] } else { banded };
            scale(base, round_light(y, r, 0.4))
        },
    );
    // Plus and minus.
    let sign = mix(body, [0.95; 3], 0.85);
    let plus = [0.76 - ring - 0.15, 0.0];
    canvas.fill(|p| slab(p, plus, [0.07, 0.018], 0.0), |_| sign);
    canvas.fill(|p| slab(p, plus, [0.018, 0.07], 0.0), |_| sign);
    canvas.fill(|p| slab(p, [-0.6, 0.0], [0.015, 0.07], 0.0), |_| sign);
}

pub(super) fn ointment_tube(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let r = rng.random_range(0.22..0.3f32);
    let flat = r * rng.random_range(1.2..1.5f32);
    let dent = dented(rng.random(), rng.random_range(0.02..0.16));
    let white = scale([0.94, 0.94, 0.92], rng.random_range(0.85..1.05));
    let (accent, cap) = (any_hue(rng), mix(any_hue(rng), [0.95; 3], 0.6));
    let band = rng.random_range(-0.3..0.2f32);
    let rolled = rng.random_range(0.0..0.3f32);
    let tail = -0.9 + rolled;
    let outline = [
        [tail, -flat],
        [0.5, -r],
        [0.62, -0.1],
        [0.62, 0.1],
        [0.5, r],
        [tail, flat],
    ];
    canvas.fill(
        |p| polygon(dent(p), &outline) - 0.01,
        |p| {
            let [x, y] = dent(p);
            let print = (x - band).abs() < 0.16 || (x > 0.3 && x < 0.36);
            let text = (x * 34.0).sin() > 0.2 && (y * 40.0).sin() > 0.1 && x < band - 0.2;
            let base = if print {
                accent
            } else if text {
                [0.25, 0.3, 0.4]
            } else {
                white
            };
            scale(base, 0.25 + 0.75 * round_light(y, flat, 0.1))
        },
    );
    canvas.fill(
        |p| slab(dent(p), [tail + 0.02, 0.0], [0.05, flat + 0.02], 0.0),
        |[_, y]| scale(STEEL, 0.8 + 0.15 * (y * 60.0).sin()),
    );
    canvas.fill(
        |p| slab(dent(p), [0.75, 0.0], [0.13, r * 0.62], 0.03),
        |[_, y]| {
            scale(
                cap,
                0.85 * round_light(y, r * 0.62, 0.2) + 0.08 * (y * 70.0).sin(),
            )
        },
    );
}

pub(super) fn banana_peel(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let ripe = rng.random_range(0.0..1.0f32);
    let yellow = mix([0.93, 0.8, 0.22], [0.62, 0.45, 0.14], ripe * 0.6);
    let inner = [0.93, 0.88, 0.7];
    let arms = rng.random_range(3..=4usize);
    let seed: u64 = rng.random();
    let start = rng.random_range(0.0..std::f32::consts::TAU);
    for arm in 0..arms {
        let angle = start + arm as f32 * std::f32::consts::TAU / arms as f32;
        let angle = angle + rng.random_range(-0.3..0.3f32);
        let bend = rng.random_range(-0.9..0.9f32);
        let length = rng.random_range(0.62..0.8f32);
        let shows_inner = rng.random_bool(0.4);
        let at = |t: f32| {
            let a = angle + bend * t;
            [a.cos() * t * length, a.sin() * t * length]
        };
        let points: Vec<Point> = (0..=8).map(|i| at(i as f32 / 8.0)).collect();
        let half = |i: usize| 0.2 * (1.0 - (i as f32 / 8.0 * 1.6 - 0.5).powi(2)).max(0.12);
        let distance = |p: Point, shrink: f32| {
            let pieces = points
                .windows(2)
                .enumerate()
                .map(|(i, w)| rod(p, w[0], w[1], half(i) * shrink, half(i + 1) * shrink));
            pieces.fold(f32::MAX, f32::min)
        };
        canvas.fill(
            |p| distance(p, 1.0),
            |[x, y]| {
                let spot = noise::fractal(seed, x * 7.0, y * 7.0) + ripe * 0.18 > 0.68;
                if spot { [0.3, 0.2, 0.1] } else { yellow }
            },
        );
        canvas.fill_part(
            if shows_inner { 0.9 } else { 0.25 },
            |p| distance(p, 0.55),
            |_| {
                if shows_inner {
                    inner
                } else {
                    scale(yellow, 0.75)
                }
            },
        );
    }
    canvas.fill(|p| circle(p, [0.0, 0.0], 0.09), |_| [0.35, 0.27, 0.12]);
}

pub(super) fn leaf(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let green = hsv(
        rng.random_range(0.2..0.36),
        rng.random_range(0.4..0.8),
        rng.random_range(0.35..0.75),
    );
    let pale = mix(green, [0.85, 0.9, 0.7], 0.6);
    let wide = rng.random_range(0.34..0.6f32);
    let wave = rng.random_range(0.01..0.06f32);
    let waves = rng.random_range(7.0..15.0f32);
    let seed: u64 = rng.random();
    let torn = rng.random_range(0.0..0.12f32);
    canvas.fill(
        |[x, y]| {
            let edge = wave * (y.atan2(x) * waves).sin();
            let bite = torn * (noise::fractal(seed, x * 3.0, y * 3.0) - 0.3);
            ellipse([x, y], [0.14, 0.0], [0.7, wide]) + edge + bite
        },
        |[x, y]| {
            let crumple = 0.75 + 0.5 * noise::fractal(seed ^ 3, x * 4.0, y * 4.0);
            let wilt = noise::fractal(seed ^ 5, x * 2.5, y * 2.5) > 0.66;
            let base = if wilt {
                mix(green, [0.6, 0.5, 0.2], 0.6)
            } else {
                green
            };
            scale(base, crumple)
        },
    );
    let stem = rng.random_range(0.03..0.08f32);
    canvas.fill(|p| rod(p, [-0.9, 0.0], [0.7, 0.0], stem, 0.008), |_| pale);
    for vein in 0..6 {
        let x = -0.35 + vein as f32 * 0.17;
        let reach = wide * (1.0 - ((x - 0.1) / 0.7).powi(2)).max(0.1) * 0.8;
        for side in [-1.0, 1.0] {
            let tip = [x + 0.2, side * reach];
            canvas.fill_part(0.7, |p| rod(p, [x, 0.0], tip, 0.014, 0.005), |_| pale);
        }
    }
}

pub(super) fn egg_shell(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let brown = mix([0.95, 0.92, 0.86], [0.78, 0.58, 0.42], rng.random());
    let halves = rng.random_range(1..=2u32);
    for n in 0..halves {
        let at = if halves == 1 {
            [0.0, 0.0]
        } else {
            let side = if n == 0 { -0.4 } else { 0.4 };
            [side, rng.random_range(-0.15..0.15f32)]
        };
        let size = if halves == 1 { 0.7 } else { 0.45 };
        let (rx, ry) = (
            size * rng.random_range(0.9..1.1f32),
            size * rng.random_range(0.75..0.9f32),
        );
        let seed: u64 = rng.random();
        let jag = rng.random_range(0.04..0.1f32);
        let open = rng.random_bool(0.6);
        let cut = rng.random_range(-0.2..0.35f32) * rx;
        let shard = move |[x, y]: Point| {
            let tooth = noise::value(seed, y * 12.0, 0.5, None) - 0.5;
            ellipse([x, y], at, [rx, ry]).max(x - at[0] - cut.abs() - 0.3 * rx + jag * tooth * 4.0)
        };
        canvas.fill(shard, |[x, y]| {
            let u = ((x - at[0]) / rx).hypot((y - at[1]) / ry);
            let speck = noise::value(seed ^ 2, x * 30.0, y * 30.0, None) > 0.88;
            let base = if speck { scale(brown, 0.85) } else { brown };
            scale(base, 1.08 - 0.4 * u * u)
        });
        if open {
            let hollow = move |p: Point| {
                let ragged = jag * (noise::value(seed ^ 4, p[0] * 9.0, p[1] * 9.0, None) - 0.5);
                ellipse(p, [at[0] + 0.12 * rx, at[1]], [rx * 0.68, ry * 0.7]) + ragged
            };
            canvas.fill(
                |p| hollow(p).max(shard(p) + 0.03),
                |[x, y]| scale([0.97, 0.96, 0.93], 0.72 + 0.25 * (x - at[0] + y - at[1])),
            );
        }
    }
}

pub(super) fn toothpicks(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let count = rng.random_range(6..=11);
    let spread = rng.random_range(0.15..0.7f32);
    for _ in 0..count {
        let angle = rng.random_range(-spread..spread);
        let middle = [
            rng.random_range(-0.1..0.1f32),
            rng.random_range(-0.22..0.22f32),
        ];
        let half = rng.random_range(0.62..0.8f32);
        let wood = mix([0.86, 0.71, 0.46], [0.94, 0.86, 0.66], rng.random());
        let (dx, dy) = (angle.cos() * half, angle.sin() * half);
        let (a, b) = (
            [middle[0] - dx, middle[1] - dy],
            [middle[0] + dx, middle[1] + dy],
        );
        let thick = rng.random_range(0.03..0.045f32);
        canvas.fill(
            |p| rod(p, a, b, thick, thick * 0.35),
            |p| scale(wood, 1.0 - (rod(p, a, b, 0.0, 0.0) / thick).powi(2) * 0.4),
        );
    }
}

pub(super) fn cigarette_butt(canvas: &mut Canvas, rng: &mut ChaCha8Rng) {
    let r = rng.random_range(0.17..0.24f32);
    let filter_end = rng.random_range(-0.1..0.3f32);
    let burnt = rng.random_range(0.45..0.72f32);
    let bend = rng.random_range(-0.35..0.35f32);
    let orange = mix([0.85, 0.56, 0.25], [0.9, 0.72, 0.46], rng.random());
    let paper = scale([0.93, 0.92, 0.88], rng.random_range(0.85..1.05));
    let white_filter = rng.random_bool(0.2);
    let dent = dented(rng.random(), rng.random_range(0.03..0.18));
    let seed: u64 = rng.random();
    let curve = |p: Point| {
        let [x, y] = dent(p);
        [x, y + bend * (x * x - 0.3)]
    };
    canvas.fill(
        |p| slab(curve(p), [-0.05, 0.0], [0.8, r], 0.05),
        |p| {
            let [x, y] = curve(p);
            let ragged = 0.12 * (noise::value(seed, x * 9.0, y * 9.0, None) - 0.5);
            let cork = noise::value(seed ^ 1, x * 22.0, y * 22.0, None) > 0.72;
            let base = if x > burnt + ragged {
                scale(
                    [0.2, 0.19, 0.18],
                    0.6 + noise::value(seed, x * 25.0, y * 25.0, None),
                )
            } else if x > filter_end {
                paper
            } else if white_filter {
                scale(paper, 0.97)
            } else if cork {
                scale(orange, 0.8)
            } else {
                orange
            };
            scale(base, 0.15 + 0.85 * round_light(y, r, 0.1))
        },
    );
}
