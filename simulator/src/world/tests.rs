use super::*;
use image::{Rgba, RgbaImage};
use proptest::prelude::*;

fn config(seed: u64) -> WorldConfig {
    WorldConfig {
        seed,
        speed_mm_s: 400.0,
        swing: 0.0,
        view: View {
            width_px: 200,
            height_px: 150,
            length_mm: 400.0,
        },
        rate_per_min: 60.0,
        spacing: Spacing::Apart { min_gap_mm: 30.0 },
        max_turn_deg: 180.0,
        gates: (0..3)
            .map(|g| GatePlace {
                position_mm: 500.0 + 200.0 * f64::from(g),
                window_mm: 40.0,
                opening_us: 20_000,
            })
            .collect(),
        lead_in_us: 500_000,
    }
}

fn card(kind: usize) -> Picture {
    Picture {
        image: RgbaImage::from_pixel(32, 32, Rgba([230, 40, 40, 255])),
        kind,
        size_mm: 120.0,
    }
}

fn filled(seed: u64, until_us: i64) -> World {
    let mut world = World::new(config(seed)).unwrap();
    while world.wants_item(until_us) {
        world.place(&card(world.items().len() % 4));
    }
    world
}

#[test]
fn the_same_seed_gives_the_same_frames() {
    let mut a = filled(7, 5_000_000);
    let mut b = filled(7, 5_000_000);
    let mut c = filled(8, 5_000_000);
    let [mut fa, mut fb, mut fc] = [(); 3].map(|()| RgbImage::new(1, 1));
    for t_us in (0..5_000_000).step_by(700_000) {
        a.render(t_us, &mut fa);
        b.render(t_us, &mut fb);
        c.render(t_us, &mut fc);
        assert_eq!(fa, fb);
    }
    assert_ne!(fa, fc);
}

proptest! {
    #[test]
    fn items_come_into_view_from_upstream(
        seed: u64, share in 0.0..1.0f64, rate_per_min in 20.0..100.0f64, touching: bool
    ) {
        let min_gap_mm = 30.0;
        let spacing = if touching {
            Spacing::Touching { share, min_gap_mm }
        } else {
            Spacing::Apart { min_gap_mm }
        };
        let mut world = World::new(WorldConfig { spacing, rate_per_min, ..config(seed) }).unwrap();
        for t_us in (0..20_000_000).step_by(50_000) {
            while world.wants_item(t_us) {
                let index = world.place(&card(0));
                let front_mm = world.position_mm(index, t_us) + world.items()[index].extent_mm[0] / 2.0;
                prop_assert!(front_mm < -200.0, "item {index} appears at {front_mm} mm");
            }
        }
    }
}

#[test]
fn an_item_is_seen_where_the_world_says() {
    let mut world = filled(3, 4_000_000);
    let t_us = world.time_at_us(0, 0.0);
    let mut frame = RgbImage::new(1, 1);
    world.render(t_us, &mut frame);
    let red = |p: &image::Rgb<u8>| p.0[0] > 130 && p.0[1] < 90;
    let (mut sum, mut count) = (0.0, 0.0);
    for (x, _, pixel) in frame.enumerate_pixels() {
        if red(pixel) && (i64::from(x) - 100).abs() < 60 {
            sum += f64::from(x) + 0.5;
            count += 1.0;
        }
    }
    assert!(count > 1000.0);
    assert!((sum / count - 100.0).abs() < 1.5, "{}", sum / count);
    assert_eq!(world.item_at(t_us, 3.0, 20.0), Some(0));
    assert_eq!(world.item_at(t_us, 100.0, 20.0), None);
}

#[test]
fn items_keep_apart_and_come_at_their_rate() {
    let world = filled(11, 300_000_000);
    for pair in world.items().windows(2) {
        let gap_mm = pair[1].travel_mm
            - pair[0].travel_mm
            - (pair[0].extent_mm[0] + pair[1].extent_mm[0]) / 2.0;
        assert!(gap_mm >= 29.9, "{gap_mm}");
    }
    let minutes = world.time_at_us(world.items().len() - 1, 0.0) as f64 / 60e6;
    let rate = world.items().len() as f64 / minutes;
    assert!((rate - 60.0).abs() < 2.0, "{rate}");
}

#[test]
fn impossible_worlds_are_refused() {
    let dense = WorldConfig {
        rate_per_min: 200.0,
        ..config(1)
    };
    assert!(matches!(
        World::new(dense),
        Err(WorldError::TooDense { .. })
    ));
    let still = WorldConfig {
        speed_mm_s: 0.0,
        ..config(1)
    };
    assert_eq!(
        World::new(still).err(),
        Some(WorldError::NotPositive("the speed"))
    );
}

#[test]
fn nothing_fired_means_everything_reaches_the_end() {
    let mut world = filled(5, 10_000_000);
    world.settle(world.cleared_us());
    let ends = world.items().iter().map(|i| i.landing.unwrap().place);
    assert!(ends.clone().count() > 5);
    assert!(ends.into_iter().all(|p| p == Place::End));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// An item falls at a gate exactly when the gate, having had time to open, is open while the
    /// item is in its window; however often the world is asked in between.
    #[test]
    fn items_fall_where_a_gate_is_open(
        seed in 0u64..1000,
        gate in 0usize..3,
        from_us in -300_000i64..300_000,
        length_us in 1i64..300_000,
        steps in 1i64..20,
    ) {
        let mut world = filled(seed, 3_000_000);
        let place = world.config().gates[gate];
        let at_us = world.time_at_us(1, place.position_mm);
        let (on, off) = (at_us + from_us, at_us + from_us + length_us);
        let expected: Vec<Place> = (0..world.items().len()).map(|item| {
            let enters = world.time_at_us(item, place.position_mm - place.window_mm / 2.0);
            let leaves = world.time_at_us(item, place.position_mm + place.window_mm / 2.0);
            let open = on + place.opening_us;
            if open.max(enters) <= off.min(leaves) { Place::Gate(gate) } else { Place::End }
        }).collect();
        world.set_gate(gate, true, on);
        world.set_gate(gate, false, off);
        let end = world.cleared_us();
        for step in 1..=steps {
            world.settle(end * step / steps);
        }
        let landed: Vec<Place> = world.items().iter().map(|i| i.landing.unwrap().place).collect();
        prop_assert_eq!(landed, expected);
    }
}

#[test]
fn a_belt_that_swings_keeps_its_mean_speed_and_its_times() {
    let world = World::new(WorldConfig {
        swing: 0.3,
        ..config(1)
    });
    let world = world.unwrap();
    let whole_mm = world.config().travel_mm(10 * SWING_US);
    assert!((whole_mm - 400.0 * 60.0).abs() < 0.01, "{whole_mm}");
    for t_us in [0, 1_234_567, 4_000_000, 77_777_777] {
        let found_us = world.config().time_us(world.config().travel_mm(t_us));
        assert!((found_us - t_us).abs() <= 1, "{found_us} {t_us}");
    }
}
