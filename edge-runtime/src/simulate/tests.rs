use super::*;
use crate::capture::Frame;
use crate::line::geometry::PixelBox;
use crate::recognise::NoScores;
use boards::{Destination, MotionSource};
use image::{Rgba, RgbaImage};
use simulator::Picture;

/// The colour of each category's cards.
const COLOURS: [[u8; 3]; 4] = [[220, 60, 50], [60, 200, 70], [60, 90, 230], [230, 220, 60]];

/// Plain cards of the categories' colours, so that an oracle can read them off the frame.
struct Cards {
    count: usize,
    left: usize,
}

impl Feed for Cards {
    fn next_picture(&mut self) -> Result<Option<Picture>, String> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let n = self.count - self.left;
        let kind = (n * 7 + n / 3) % COLOURS.len();
        let [r, g, b] = COLOURS[kind];
        Ok(Some(Picture {
            image: RgbaImage::from_pixel(60, 40 + (n % 5) as u32 * 5, Rgba([r, g, b, 255])),
            kind,
            size_mm: 120.0 + (n % 4) as f64 * 12.0,
        }))
    }
}

/// Knows a card by the hue of what is in the middle of the view.
struct Oracle;

impl Recognise for Oracle {
    fn scores(
        &mut self,
        frame: &Frame,
        area: PixelBox,
        scores: &mut Vec<f32>,
    ) -> Result<(), NoScores> {
        let (x, y) = ((area.x0 + area.x1) / 2, (area.y0 + area.y1) / 2);
        let seen = frame.image.get_pixel(x, y).0.map(f32::from);
        let unit = |c: [f32; 3]| {
            let length = c.iter().map(|v| v * v).sum::<f32>().sqrt().max(1.0);
            c.map(|v| v / length)
        };
        let seen = unit(seen);
        let likeness = COLOURS.map(|c| {
            let colour = unit(c.map(f32::from));
            seen.iter().zip(colour).map(|(a, b)| a * b).sum::<f32>()
        });
        let best = (0..COLOURS.len()).max_by(|a, b| likeness[*a].total_cmp(&likeness[*b]));
        scores.clear();
        scores.resize(COLOURS.len(), 0.01);
        if let Some(best) = best {
            scores[best] = 0.97;
        }
        Ok(())
    }
}

fn arguments(extra: &[&str]) -> Args {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }
    let count: &[&str] = if extra.contains(&"--count") {
        &[]
    } else {
        &["--count", "24"]
    };
    let all = ["simulate"].iter().chain(count).chain(extra);
    <Cli as clap::Parser>::try_parse_from(all).unwrap().args
}

fn cards(args: &Args, board: Profile) -> Setup {
    let categories: Vec<String> = (0..COLOURS.len()).map(|c| format!("c{c}")).collect();
    let items = categories.iter().map(|c| (c.clone(), c.clone())).collect();
    let labels = LabelSet::new("cards", items).unwrap();
    let routes = Routes::new(&board, &labels, &[0.5; 4]);
    let ways: Vec<_> = categories
        .iter()
        .map(|c| route::way(&board, c, c))
        .collect();
    Setup {
        world: world_config(args, &board, 180.0),
        routes,
        truth: Truth {
            category_of: (0..COLOURS.len()).collect(),
            way_of: ways.clone(),
            ways,
            reject: Destination::PassThrough,
            categories,
        },
        feed: Box::new(Cards {
            count: args.count,
            left: args.count,
        }),
        known: labels.clone(),
        labels,
        board,
    }
}

fn board(speed_mm_s: f64) -> Profile {
    let categories: Vec<String> = (0..COLOURS.len()).map(|c| format!("c{c}")).collect();
    Profile::simulated(&categories, speed_mm_s, MotionSource::Fixed).unwrap()
}

fn sort(extra: &[&str]) -> Report {
    let args = arguments(extra);
    let setup = cards(&args, board(args.rate / 60.0 * PITCH_MM));
    simulate_virtual(&args, setup, &mut Oracle).unwrap()
}

#[track_caller]
fn assert_sums(report: &Report) {
    let parts = report.correct + report.wrong + report.rejected + report.missed;
    assert_eq!(parts, report.items, "{report:?}");
    assert_eq!(report.misrouted_although_recognised, 0, "{report:?}");
}

#[test]
fn with_an_oracle_every_item_is_sorted_at_60_a_minute() {
    let report = sort(&["--seed", "3"]);
    assert_sums(&report);
    assert_eq!((report.items, report.correct), (24, 24), "{report:?}");
    assert!(
        report
            .chutes
            .iter()
            .all(|c| c.purity == Some(1.0) && c.recall == Some(1.0))
    );
    assert!((report.throughput_per_min - 60.0).abs() < 5.0);
    assert!(report.latency_ms.p50 >= 40.0);
}

#[test]
fn a_faster_belt_carries_more_items_as_well() {
    let report = sort(&["--rate", "300", "--compute-ms", "10"]);
    assert_sums(&report);
    assert_eq!(report.correct, 24, "{report:?}");
}

#[test]
fn a_classifier_slower_than_the_belt_costs_rejects_and_nothing_else() {
    let report = sort(&["--rate", "120", "--compute-ms", "900"]);
    assert_sums(&report);
    assert_eq!(report.wrong, 0, "{report:?}");
    assert!(report.rejected > 0, "{report:?}");
}

#[test]
fn items_that_touch_are_never_sorted_wrongly() {
    let report = sort(&["--touching", "0.5"]);
    assert_sums(&report);
    assert_eq!(report.wrong, 0, "{report:?}");
    assert!(report.correct > 6, "{report:?}");
}

/// With a belt that is slower than the board says, and whose speed swings.
fn sort_on_a_restless_belt(motion: &str) -> Report {
    let extra = [
        "--motion",
        motion,
        "--belt-swing",
        "0.1",
        "--belt-error",
        "-0.05",
    ];
    let args = arguments(&extra);
    let categories: Vec<String> = (0..COLOURS.len()).map(|c| format!("c{c}")).collect();
    let board = Profile::simulated(&categories, 400.0, args.motion).unwrap();
    simulate_virtual(&args, cards(&args, board), &mut Oracle).unwrap()
}

#[test]
fn encoder_and_camera_follow_a_restless_belt() {
    for motion in ["encoder", "camera"] {
        let report = sort_on_a_restless_belt(motion);
        assert_sums(&report);
        assert_eq!(report.correct, 24, "{motion}: {report:?}");
    }
    // Such a belt is too much for one that is thought to be constant.
    assert!(sort_on_a_restless_belt("fixed").correct < 12);
}

#[test]
fn the_same_seed_gives_the_same_report_but_for_the_wall_clock() {
    let report = |seed: &str| {
        let mut report = sort(&["--seed", seed, "--count", "12"]);
        report.compute_ms = Default::default();
        report
    };
    assert_eq!(report("5"), report("5"));
    assert_ne!(report("5"), report("6"));
}

#[test]
fn a_belt_of_any_direction_sorts_alike() {
    let path = "../boards/profiles/simulated.toml";
    let text = std::fs::read_to_string(path).unwrap();
    let (head, _) = text.split_once("[routes]").unwrap();
    let routes =
        "[routes]\nc0 = \"gate-1\"\nc1 = \"gate-2\"\nc2 = \"gate-3\"\nc3 = \"pass through\"\n";
    for direction in ["right-to-left", "top-to-bottom", "bottom-to-top"] {
        let mut text = format!("{head}{routes}").replace("left-to-right", direction);
        if direction.contains("top") {
            text = text
                .replace(
                    "width_px = 640\nheight_px = 480",
                    "width_px = 480\nheight_px = 640",
                )
                .replace("[400, 300]", "[300, 400]");
        }
        let args = arguments(&["--count", "12"]);
        let setup = cards(&args, Profile::from_toml("t.toml", &text).unwrap());
        let report = simulate_virtual(&args, setup, &mut Oracle).unwrap();
        assert_sums(&report);
        assert_eq!(report.correct, 12, "{direction}: {report:?}");
    }
}

#[test]
fn in_real_time_nothing_is_sorted_wrongly() {
    let args = arguments(&["--count", "6", "--rate", "240"]);
    let setup = cards(&args, board(1600.0));
    let report = simulate_in_real_time(&args, setup, &mut Oracle).unwrap();
    assert_eq!(report.items, 6);
    let parts = report.correct + report.wrong + report.rejected + report.missed;
    assert_eq!(parts, 6, "{report:?}");
}

#[test]
fn views_are_written_in_the_form_that_the_trainer_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let args = arguments(&[
        "--count",
        "8",
        "--save-crops",
        path,
        "--crops-per-item",
        "3",
    ]);
    let setup = cards(&args, board(400.0));
    simulate_virtual(&args, setup, &mut Nobody).unwrap();
    let data = dataset::read(folder.path(), None).unwrap();
    assert_eq!(data.samples.len(), 24);
    for sample in &data.samples {
        let view = dataset::decode(&data.path(sample)).unwrap();
        let middle = view.get_pixel(view.width() / 2, view.height() / 2).0;
        let name = &data.labels.items()[sample.item].name;
        let [r, g, b] = COLOURS[name[1..].parse::<usize>().unwrap()].map(i32::from);
        let [x, y, z] = middle.map(i32::from);
        let apart = (r - x).abs().max((g - y).abs()).max((b - z).abs());
        assert!(apart < 60, "{name}: {middle:?}");
    }
}
