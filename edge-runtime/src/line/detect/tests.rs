use super::*;
use proptest::prelude::*;

const WIDTH: u32 = 240;
const HEIGHT: u32 = 180;
const NOTHING: [[u32; 4]; 0] = [];

type Boxes<'a> = &'a [([u32; 4], [u8; 3])];

/// A textured belt under some light, with coloured boxes on it.
fn frame(step: u32, light: f32, boxes: Boxes<'_>) -> Vec<u8> {
    let inside = |[x0, y0, x1, y1]: [u32; 4], x, y| (x0..x1).contains(&x) && (y0..y1).contains(&y);
    paint(step, light, |x, y| {
        let on = boxes.iter().find(|(area, _)| inside(*area, x, y));
        on.map(|(_, colour)| *colour)
    })
}

/// The belt of `step`, moved on by 7 pixels a step, with `item`'s colours where there are any.
fn paint(step: u32, light: f32, item: impl Fn(u32, u32) -> Option<[u8; 3]>) -> Vec<u8> {
    let mut data = Vec::with_capacity((WIDTH * HEIGHT * 3) as usize);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let hash = x
                .wrapping_sub(step * 7)
                .wrapping_mul(2_654_435_761)
                .wrapping_add(y.wrapping_mul(40_503))
                .wrapping_mul(2_246_822_519);
            let grain = (hash >> 28) as f32 - 8.0;
            for value in item(x, y).unwrap_or(BELT) {
                data.push(((f32::from(value) + grain) * light).clamp(0.0, 255.0) as u8);
            }
        }
    }
    data
}

struct Bench {
    detector: Detector,
    step: u32,
}

impl Bench {
    fn unlearned() -> Self {
        Self {
            detector: Detector::new(DetectorConfig::new([1.6, 1.6], Direction::LeftToRight)),
            step: 0,
        }
    }

    fn new() -> Self {
        let mut bench = Self::unlearned();
        for _ in 0..12 {
            assert_eq!(bench.see(1.0, &[]), NOTHING);
        }
        bench
    }

    fn see(&mut self, light: f32, boxes: Boxes<'_>) -> Vec<[u32; 4]> {
        self.step += 1;
        self.look(&frame(self.step, light, boxes))
    }

    fn look(&mut self, data: &[u8]) -> Vec<[u32; 4]> {
        let view = RgbView::new(data, WIDTH, HEIGHT).unwrap();
        let mut found = Vec::new();
        self.detector.detect(&view, &mut found);
        let corners = |d: &Detection| [d.area.x0, d.area.y0, d.area.x1, d.area.y1];
        found.iter().map(corners).collect()
    }
}

#[track_caller]
fn assert_near(found: &[[u32; 4]], expect: &[[u32; 4]]) {
    let near = |a: &[u32; 4], b: &[u32; 4]| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 3);
    let all = found.len() == expect.len() && found.iter().zip(expect).all(|(a, b)| near(a, b));
    assert!(all, "found {found:?}, expected {expect:?}");
}

const BELT: [u8; 3] = [60, 72, 68];
const RED: [u8; 3] = [180, 50, 40];
const WHITE: [u8; 3] = [225, 225, 220];
const BLACK: [u8; 3] = [14, 14, 16];
const A: [u32; 4] = [30, 40, 80, 100];
const B: [u32; 4] = [125, 60, 200, 130];

#[test]
fn items_of_any_colour_are_found_apart() {
    for (first, second) in [(RED, WHITE), (WHITE, BLACK), (BLACK, RED)] {
        let mut bench = Bench::new();
        let found = bench.see(1.0, &[(A, first), (B, second)]);
        assert_near(&found, &[A, B]);
    }
}

#[test]
fn an_item_cut_off_by_the_view_reaches_its_edge() {
    let mut bench = Bench::new();
    let found = bench.see(1.0, &[([200, 50, WIDTH, 110], WHITE)]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0][2], WIDTH);
}

#[test]
fn light_that_changes_is_no_item() {
    let mut bench = Bench::new();
    for step in 0..100 {
        let light = 1.0 + 0.25 * (step as f32 / 15.0).sin();
        assert_eq!(bench.see(light, &[]), NOTHING, "step {step}");
    }
    assert_near(&bench.see(1.2, &[(A, RED)]), &[A]);
}

#[test]
fn a_switched_lamp_is_no_item() {
    let mut bench = Bench::new();
    for light in [1.35, 0.75, 1.0] {
        assert_eq!(bench.see(light, &[]), NOTHING);
    }
}

#[test]
fn a_shadow_and_crumbs_are_no_items() {
    let mut bench = Bench::new();
    let shadow = ([50, 30, 150, 130], [42, 51, 48]);
    assert_eq!(bench.see(1.0, &[shadow]), NOTHING);
    let crumb = ([100, 50, 104, 54], WHITE);
    assert_eq!(bench.see(1.0, &[crumb]), NOTHING);
}

#[test]
fn dirt_that_stays_is_learned_and_passing_items_are_not() {
    let mut bench = Bench::new();
    let stain = ([150, 20, 170, 45], [110, 100, 90]);
    let mut seen_at_last = Vec::new();
    for step in 0..2500u32 {
        let x = step * 15 % 750;
        let item = ([x.min(WIDTH), 75, (x + 45).min(WIDTH), 130], WHITE);
        seen_at_last = bench.see(1.0, &[stain, item]);
    }
    // The last item has left the view, the stain is still there.
    assert_eq!(seen_at_last, NOTHING);
    assert_near(&bench.see(1.0, &[stain, (A, WHITE)]), &[A]);
}

#[test]
fn another_size_starts_the_learning_again() {
    let mut bench = Bench::new();
    let small = vec![200u8; 64 * 48 * 3];
    let view = RgbView::new(&small, 64, 48).unwrap();
    let mut found = vec![];
    bench.detector.detect(&view, &mut found);
    assert!(found.is_empty());
    assert_eq!(bench.see(1.0, &[(A, RED)]), NOTHING);
}

#[test]
fn a_switched_lamp_hides_no_item() {
    let mut bench = Bench::new();
    for light in [1.0, 0.8, 1.2, 1.0] {
        assert_near(&bench.see(light, &[(A, WHITE), (B, RED)]), &[A, B]);
    }
}

#[test]
fn dirt_that_moves_with_the_belt_is_no_item() {
    let mut bench = Bench::new();
    for step in 0..80 {
        let crumb = |n: u32, colour| {
            let (x, y) = ((n * 53 + step * 7) % (WIDTH - 9), 5 + n * 29);
            ([x, y, x + 8, y + 8], colour)
        };
        let dirt = [
            crumb(0, WHITE),
            crumb(1, BLACK),
            crumb(2, RED),
            crumb(5, WHITE),
        ];
        assert_eq!(bench.see(1.0, &dirt), NOTHING, "step {step}");
    }
    assert_near(&bench.see(1.0, &[(A, WHITE)]), &[A]);
}

#[test]
fn a_soft_shadow_that_moves_is_no_item() {
    let mut bench = Bench::new();
    for step in 0..60u32 {
        // Darkest in the middle, at three quarters of the light, fading over 40 pixels either way.
        let middle = step * 5;
        let data = paint(step, 1.0, |x, _| {
            let depth = 1.0 - (x.abs_diff(middle) as f32 / 40.0).min(1.0);
            Some(BELT.map(|c| (f32::from(c) * (1.0 - 0.25 * depth)) as u8))
        });
        assert_eq!(bench.look(&data), NOTHING, "step {step}");
    }
}

#[test]
fn a_belt_at_rest_teaches_nothing() {
    let mut bench = Bench::new();
    for n in 0..1500u32 {
        // The same place of the belt, under a lamp that flickers.
        let light = 1.0 + 0.03 * (n as f32 * 0.7).sin();
        let data = frame(bench.step, light, &[(A, WHITE)]);
        assert_near(&bench.look(&data), &[A]);
    }
    assert_eq!(bench.see(1.0, &[]), NOTHING);
}

#[test]
fn what_hangs_over_the_moving_belt_is_not_learned_soon() {
    let mut bench = Bench::new();
    for _ in 0..500 {
        bench.see(1.0, &[]);
    }
    for _ in 0..300 {
        assert_near(&bench.see(1.0, &[(A, WHITE)]), &[A]);
    }
    assert_eq!(bench.see(1.0, &[]), NOTHING);
}

#[test]
fn an_item_in_view_at_the_start_is_found() {
    let mut resting = Bench::unlearned();
    let mut moving = Bench::unlearned();
    for n in 0..LEARNING_FRAMES {
        resting.see(1.0, &[(A, WHITE)]);
        moving.see(1.0, &[([n * 7, 40, n * 7 + 60, 100], BLACK)]);
    }
    for n in LEARNING_FRAMES..24 {
        assert_near(&resting.see(1.0, &[(A, WHITE)]), &[A]);
        let item = [n * 7, 40, n * 7 + 60, 100];
        assert_near(&moving.see(1.0, &[(item, BLACK)]), &[item]);
    }
}

#[test]
fn nothing_is_found_beside_the_belt() {
    let mut bench = Bench::unlearned();
    bench.detector.config.belt = Some(PixelBox {
        x0: 0,
        y0: 20,
        x1: WIDTH,
        y1: 110,
    });
    for _ in 0..12 {
        bench.see(1.0, &[]);
    }
    let rail = [0, 120, WIDTH, 150];
    assert_near(&bench.see(1.0, &[(A, WHITE), (rail, WHITE)]), &[A]);
}

#[test]
fn a_belt_that_runs_down_is_seen_as_one_that_runs_across() {
    let transposed = |data: &[u8]| -> Vec<u8> {
        let pixel = |x: u32, y: u32| &data[((y * WIDTH + x) * 3) as usize..][..3];
        let columns = (0..WIDTH).flat_map(|x| (0..HEIGHT).flat_map(move |y| pixel(x, y)));
        columns.copied().collect()
    };
    // The cells must not depend on which side is the longer one.
    let config = |direction| DetectorConfig::new([1.6, 1.6], direction);
    let mut across = Detector::new(config(Direction::LeftToRight));
    let mut down = Detector::new(config(Direction::TopToBottom));
    let (mut found_across, mut found_down) = (vec![], vec![]);
    for step in 0..30 {
        let item = [step * 6, 40, step * 6 + 50, 100];
        let data = frame(step, 1.0, &[(item, RED), ([90, 110, 130, 160], WHITE)]);
        across.detect(
            &RgbView::new(&data, WIDTH, HEIGHT).unwrap(),
            &mut found_across,
        );
        let data = transposed(&data);
        down.detect(
            &RgbView::new(&data, HEIGHT, WIDTH).unwrap(),
            &mut found_down,
        );
        let mut expect: Vec<_> = found_across
            .iter()
            .map(|d| [d.area.y0, d.area.x0, d.area.y1, d.area.x1])
            .collect();
        expect.sort_unstable();
        let mut found: Vec<_> = found_down
            .iter()
            .map(|d| [d.area.x0, d.area.y0, d.area.x1, d.area.y1])
            .collect();
        found.sort_unstable();
        assert_eq!(found, expect, "step {step}");
    }
    assert_eq!(found_down.len(), 2);
}

/// What a learned detector finds where `item` says so.
fn shapes(item: impl Fn(f64, f64) -> bool) -> Vec<Detection> {
    let mut bench = Bench::new();
    let data = paint(50, 1.0, |x, y| {
        item(f64::from(x) + 0.5, f64::from(y) + 0.5).then_some(WHITE)
    });
    let mut found = Vec::new();
    let view = RgbView::new(&data, WIDTH, HEIGHT).unwrap();
    bench.detector.detect(&view, &mut found);
    found
}

fn disc([cx, cy]: [f64; 2], radius: f64) -> impl Fn(f64, f64) -> bool {
    move |x, y| (x - cx).hypot(y - cy) < radius
}

#[test]
fn a_slight_waist_is_not_cut_and_said() {
    // The neck's half width is 0.6 of the radius, 0.81 and 0.98.
    for (distance, parts, crowded) in [(24.0, 2, false), (17.5, 1, true), (6.0, 1, false)] {
        let ends = [120.0 - distance, 120.0 + distance].map(|x| disc([x, 90.0], 30.0));
        let found = shapes(|x, y| ends.iter().any(|end| end(x, y)));
        let facts: Vec<_> = found.iter().map(|d| d.crowded).collect();
        assert_eq!(facts, vec![crowded; parts], "distance {distance}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn discs_that_touch_are_cut_at_the_neck(
        r in 25.0f64..32.0, share in 0.7f64..1.0, angle in 0.0f64..3.1, neck in 0.1f64..0.33,
    ) {
        let small = r * share;
        // Half the width of the neck gives the distance of the centres from it. Closing gaps widens
        // the neck by up to 6 px either way.
        let half = neck * small;
        let from = (r * r - half * half).sqrt();
        let to = (small * small - half * half).sqrt();
        let at = |d: f64| [120.0 + d * angle.cos(), 90.0 + d * angle.sin()];
        let (first, second) = (disc(at(-from), r), disc(at(to), small));
        let found = shapes(|x, y| first(x, y) || second(x, y));
        prop_assert_eq!(found.len(), 2, "{:?}", found);
        let area = |r: f64| std::f64::consts::PI * r * r;
        let mut pixels = [f64::from(found[0].pixels), f64::from(found[1].pixels)];
        pixels.sort_by(f64::total_cmp);
        prop_assert!((pixels[0] / area(small) - 1.0).abs() < 0.15, "{:?}", pixels);
        prop_assert!((pixels[1] / area(r) - 1.0).abs() < 0.15, "{:?}", pixels);
    }

    #[test]
    fn an_item_without_a_waist_is_one(
        a in 20.0f64..70.0, b in 10.0f64..40.0, angle in 0.0f64..3.1, power in 2.0f64..8.0,
    ) {
        // From an ellipse to almost a rectangle.
        let found = shapes(|x, y| {
            let (dx, dy) = (x - 120.0, y - 90.0);
            let u = (dx * angle.cos() + dy * angle.sin()) / a;
            let v = (dy * angle.cos() - dx * angle.sin()) / b;
            u.abs().powf(power) + v.abs().powf(power) < 1.0
        });
        prop_assert_eq!(found.len(), 1, "{:?}", found);
    }

    #[test]
    fn distances_are_close_to_euclids(cells in prop::collection::vec(0u8..40, 300)) {
        let grid = Grid::new((20, 15), true);
        let mask: Vec<bool> = cells.iter().map(|c| *c > 0).collect();
        let mut distances = vec![0; 300];
        shape::distances(&mask, grid, &mut distances);
        let place = |cell: usize| ((cell % 20) as f64, (cell / 20) as f64);
        for (cell, found) in distances.iter().enumerate() {
            let (x, y) = place(cell);
            let others = (0..300).filter(|c| !mask[*c]).map(place);
            let off = others.map(|(u, v)| (u - x).hypot(v - y));
            let side = if mask[cell] { (y + 1.0).min(15.0 - y) } else { 0.0 };
            let nearest = off.fold(side, f64::min);
            let found = f64::from(*found) / f64::from(STEP);
            prop_assert!(found >= 0.94 * nearest && found <= 1.06 * nearest);
        }
    }

    #[test]
    fn closing_and_opening_agree_with_distances(
        cells in prop::collection::vec(0u8..12, 300), reach in 3u16..11,
    ) {
        let grid = Grid::new((20, 15), true);
        let mask: Vec<bool> = cells.iter().map(|c| *c > 8).collect();
        let chamfer = |a: usize, b: usize| {
            let (x, y) = ((a % 20).abs_diff(b % 20), (a / 20).abs_diff(b / 20));
            3 * x.max(y) + x.min(y)
        };
        let near = |mask: &[bool], value: bool| -> Vec<bool> {
            let reaches = |a: usize, b: usize| mask[b] == value && chamfer(a, b) <= usize::from(reach);
            (0..300).map(|a| (0..300).any(|b| reaches(a, b)) == value).collect()
        };
        let mut scratch = vec![false; 300];
        let mut closed = mask.clone();
        shape::close(&mut closed, grid, reach, &mut scratch);
        prop_assert_eq!(closed, near(&near(&mask, true), false));
        let mut opened = mask.clone();
        shape::open(&mut opened, grid, reach, &mut scratch);
        prop_assert_eq!(opened, near(&near(&mask, false), true));
    }
}
