use super::*;

const WIDTH: u32 = 240;
const HEIGHT: u32 = 180;
const NOTHING: [[u32; 4]; 0] = [];

/// A textured belt under some light, with coloured boxes on it.
fn frame(step: u32, light: f32, boxes: &[([u32; 4], [u8; 3])]) -> Vec<u8> {
    let mut data = Vec::with_capacity((WIDTH * HEIGHT * 3) as usize);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let hash = x
                .wrapping_sub(step * 7)
                .wrapping_mul(2_654_435_761)
                .wrapping_add(y.wrapping_mul(40_503))
                .wrapping_mul(2_246_822_519);
            let grain = (hash >> 28) as f32 - 8.0;
            let on = boxes
                .iter()
                .find(|([x0, y0, x1, y1], _)| (*x0..*x1).contains(&x) && (*y0..*y1).contains(&y));
            let colour = on.map_or([60, 72, 68], |(_, c)| *c);
            for value in colour {
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
    fn new() -> Self {
        let mut bench = Self {
            detector: Detector::new(DetectorConfig::new([1.6, 1.6])),
            step: 0,
        };
        for _ in 0..12 {
            assert_eq!(bench.see(1.0, &[]), NOTHING);
        }
        bench
    }

    fn see(&mut self, light: f32, boxes: &[([u32; 4], [u8; 3])]) -> Vec<[u32; 4]> {
        self.step += 1;
        let data = frame(self.step, light, boxes);
        let view = RgbView::new(&data, WIDTH, HEIGHT).unwrap();
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
fn parts_within_each_other_are_one_item() {
    let area = |x0, y0, x1, y1| PixelBox { x0, y0, x1, y1 };
    let mut found = vec![
        Detection {
            area: area(0, 0, 100, 100),
            pixels: 500,
        },
        Detection {
            area: area(200, 0, 300, 100),
            pixels: 70,
        },
        Detection {
            area: area(30, 30, 70, 70),
            pixels: 60,
        },
    ];
    merge_nested(&mut found);
    let pixels: Vec<u32> = found.iter().map(|d| d.pixels).collect();
    assert_eq!(pixels, [560, 70]);
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
