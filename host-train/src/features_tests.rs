use super::*;
use crate::checkpoint::Checkpoint;
use crate::config::{Backend, FullConfig, Optimizer};
use crate::network::{Mode, Network, Norm};
use crate::step::{Lesson, Target, learn};
use crate::student::{Stage, Student};
use crate::thaw::Stages;
use crate::trainer::device;
use crate::value::Value;
use models::{reference, zoo};

#[test]
fn what_is_stored_at_any_stage_is_what_burn_computes() {
    for name in [
        "mobilenet-v2-0.35",
        "efficientnet-lite0",
        "se-resnet50",
        "mobilenet-v3-small",
    ] {
        let graph = zoo::build(name, 5, Some(64)).unwrap();
        let weights = crate::initialize::initialize(&graph, 7).unwrap();
        let spec = zoo::preprocess(name, Some(64)).unwrap();
        let device = device(Backend::Flex);
        let network = Network::new(graph.clone(), &weights, &device).unwrap();
        let image = reference::random_input(&graph, 1);
        for &node in Stages::new(&graph).unwrap().ends() {
            let backbone = Backbone::new(&graph, &weights, node, spec).unwrap();
            let found = backbone.extractor.features(&image).unwrap();
            let input = Value::new(image.clone(), network.shape(0), &device);
            let (expected, _) = network.run(0, node, input, Mode::Inference);
            let expected = expected.floats();
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                let apart = (found - expected).abs();
                assert!(apart <= 1e-4 * largest, "{name}: {found} {expected}");
            }
        }
    }
}

/// Three steps on four images, by running statistics: those of two images would magnify every
/// rounding. What the rows of the lesson are is given.
fn taught(graph: &Graph, weights: &Weights, from: usize, frozen: usize, rows: &[f32]) -> Weights {
    let device = device(Backend::Flex);
    let mut full = FullConfig::fine_tune();
    full.stage.optimizer = Optimizer::Sgd;
    let state = Checkpoint {
        data_hash: String::new(),
        epochs: 0,
        steps: 0,
        weights: weights.clone(),
        average: Weights::new(),
        scaler: None,
        discriminant: None,
        optimizer: Vec::new(),
        history: Vec::new(),
    };
    let mut student = Student::new(&full.stage, graph, &state, &device).unwrap();
    let targets = [0, 1, 2, 3].map(Target::new);
    let width = rows.len() / targets.len();
    let rows =
        |range: std::ops::Range<usize>| Ok(rows[range.start * width..range.end * width].to_vec());
    for step in 0..3 {
        let lesson = Lesson {
            from,
            frozen,
            shards: 2,
            threads: 1,
            norm: Norm::Running,
            label_smoothing: 0.1,
            seed: 1,
            step,
        };
        let stage = Stage {
            name: "full",
            config: &full.stage,
            first_epoch: 0,
            lesson,
            norm_momentum: 0.1,
            thaw: None,
        };
        let learned = learn(&student.network, &device, lesson, &targets, rows).unwrap();
        student.step(&stage, 1e-2, learned, step);
    }
    student.network.weights()
}

#[test]
fn what_learns_from_stored_outputs_learns_the_same_as_behind_a_frozen_part() {
    for name in ["mobilenet-v2-0.35", "resnet18"] {
        let graph = zoo::build(name, 4, Some(64)).unwrap();
        let weights = crate::initialize::initialize(&graph, 7).unwrap();
        let spec = zoo::preprocess(name, Some(64)).unwrap();
        let images: Vec<Vec<f32>> = (0..4)
            .map(|seed| reference::random_input(&graph, seed))
            .collect();
        for &node in &Stages::new(&graph).unwrap().ends()[1..] {
            let backbone = Backbone::new(&graph, &weights, node, spec).unwrap();
            let features = images
                .iter()
                .map(|i| backbone.extractor.features(i).unwrap());
            let stored: Vec<f32> = features.flatten().collect();
            let after_stored = taught(&graph, &weights, node, node, &stored);
            let after_images = taught(&graph, &weights, 0, node, &images.concat());
            assert_ne!(after_images, weights, "{name}");
            for (parameter, expected) in &after_images {
                let owner = graph.find(parameter.rsplit_once('.').unwrap().0).unwrap();
                let found = &after_stored[parameter].data;
                if owner <= node {
                    assert_eq!(found, &weights[parameter].data, "{name} {parameter}");
                }
                for (found, expected) in found.iter().zip(&expected.data) {
                    let apart = (found - expected).abs();
                    assert!(
                        apart <= 1e-4 * expected.abs().max(1.0),
                        "{name} after {node}, {parameter}: {found} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn another_photo_weight_or_place_is_not_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("features");
    let files = || std::fs::read_dir(&cache).unwrap().count();
    let photo = folder.path().join("photos/a/1.png");
    std::fs::create_dir_all(photo.parent().unwrap()).unwrap();
    let draw = |shade| {
        let pixels = image::RgbImage::from_pixel(32, 32, image::Rgb([shade, 90, 20]));
        pixels.save(&photo).unwrap();
    };
    let graph = zoo::build("mobilenet-v2-0.35", 4, Some(32)).unwrap();
    let mut weights = crate::initialize::initialize(&graph, 7).unwrap();
    let spec = zoo::preprocess("mobilenet-v2-0.35", Some(32)).unwrap();
    let augment = AugmentConfig::default();
    let views = Views {
        count: 2,
        augment: &augment,
        seed: 1,
    };
    let store = |weights: &Weights, node: usize| {
        let data = dataset::read(&folder.path().join("photos"), None).unwrap();
        let photos = Photos::new(&data, 0);
        let backbone = Backbone::new(&graph, weights, node, spec).unwrap();
        let stop = AtomicBool::new(false);
        let stored = backbone.store(&photos, &views, &cache, 2, &stop).unwrap();
        stored.read().unwrap().rows
    };
    let ends = Stages::new(&graph).unwrap().ends().to_vec();
    draw(10);
    let first = store(&weights, ends[3]);
    assert_eq!(files(), 1);
    assert_eq!(store(&weights, ends[3]), first);
    assert_eq!(files(), 1);
    store(&weights, ends[2]);
    assert_eq!(files(), 2);
    draw(11);
    assert_ne!(store(&weights, ends[3]), first);
    assert_eq!(files(), 3);
    weights.get_mut("stem.conv.weight").unwrap().data[0] += 0.5;
    store(&weights, ends[3]);
    assert_eq!(files(), 4);
}

#[test]
fn a_disk_that_is_too_small_is_said_before() {
    let folder = Path::new("run/features");
    check_room(folder, 10 << 20, Some(11 << 20)).unwrap();
    check_room(folder, 10 << 20, None).unwrap();
    let error = check_room(folder, 10 << 20, Some(9 << 20)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("10 MiB") && text.contains("9 MiB") && text.contains("run/features"),
        "{text}"
    );
}
