use super::*;
use crate::checkpoint::Checkpoint;
use crate::config::{Backend, Optimizer};
use crate::initialize::initialize;
use crate::network::Norm;
use crate::step::{Lesson, Target, learn};
use crate::student::{Stage, Student};
use crate::trainer::device;
use models::{Weights, reference, zoo};

#[test]
fn stages_end_where_all_data_passes_and_maps_get_smaller() {
    for name in zoo::names() {
        let graph = zoo::build(name, 10, Some(64)).unwrap();
        let stages = Stages::new(&graph).unwrap();
        assert!(stages.cuts.len() >= 4, "{name}: {:?}", stages.cuts);
        assert_eq!(stages.cuts.last(), graph.feature_node().as_ref(), "{name}");
        for &cut in &stages.cuts {
            let later = graph.nodes.iter().skip(cut + 1);
            let around = later.flat_map(|node| &node.inputs).find(|&&i| i < cut);
            assert_eq!(around, None, "{name}: around {cut}");
        }
    }
}

#[test]
fn what_is_frozen_ends_at_a_stage_or_a_node_that_all_data_passes() {
    for name in zoo::names() {
        let graph = zoo::build(name, 10, Some(64)).unwrap();
        let stages = Stages::new(&graph).unwrap();
        for &gate in stages.gates() {
            let later = graph.nodes.iter().skip(gate + 1);
            assert!(later.flat_map(|node| &node.inputs).all(|&i| i >= gate));
            let found = stages.find(&graph, &graph.nodes[gate].name);
            assert_eq!(found, Some(gate), "{name}");
        }
        for (index, &end) in stages.ends().iter().enumerate() {
            let found = stages.find(&graph, &format!("stage{}", index + 1));
            assert_eq!(found, Some(end), "{name}");
        }
        let beyond = format!("stage{}", stages.ends().len() + 1);
        let input = &graph.nodes[0].name;
        for wrong in ["stage0", "stage", &beyond, "nothing", input] {
            assert_eq!(stages.find(&graph, wrong), None, "{name}: {wrong}");
        }
    }
}

#[test]
fn one_stage_after_the_other_thaws() {
    let graph = zoo::build("mobilenet-v2", 10, None).unwrap();
    let mut full = FullConfig::fine_tune();
    let frozen = |full: &FullConfig, epoch| Thaw::new(&graph, full).unwrap().frozen(epoch);
    assert_eq!(frozen(&full, 0), 0);
    full.thaw_epochs = 2;
    assert_eq!(Some(frozen(&full, 0)), graph.feature_node());
    assert_eq!(frozen(&full, 0), frozen(&full, 1));
    let course: Vec<usize> = (0..20).step_by(2).map(|e| frozen(&full, e)).collect();
    assert!(
        course.is_sorted_by(|a, b| a > b || (*a, *b) == (0, 0)),
        "{course:?}"
    );
    assert_eq!(course.last(), Some(&0));
}

/// The weights before and after one step of an epoch.
fn step(graph: &Graph, full: &FullConfig, epoch: u32) -> [Weights; 2] {
    let device = device(Backend::Flex);
    let state = Checkpoint {
        data_hash: String::new(),
        epochs: 0,
        steps: 0,
        weights: initialize(graph, 1).unwrap(),
        average: Weights::new(),
        scaler: None,
        discriminant: None,
        optimizer: Vec::new(),
        history: Vec::new(),
    };
    let thaw = Thaw::new(graph, full).unwrap();
    let lesson = Lesson {
        from: 0,
        frozen: thaw.frozen(epoch),
        shards: 1,
        threads: 1,
        norm: Norm::Batch,
        label_smoothing: 0.0,
        seed: 1,
        step: 0,
    };
    let targets = [0, 1, 2, 3].map(Target::new);
    let images: Vec<f32> = (0..4)
        .flat_map(|seed| reference::random_input(graph, seed))
        .collect();
    let size = images.len() / targets.len();
    let rows =
        |range: std::ops::Range<usize>| Ok(images[range.start * size..range.end * size].to_vec());
    let mut student = Student::new(&full.stage, graph, &state, &device).unwrap();
    let learned = learn(&student.network, &device, lesson, &targets, rows).unwrap();
    let stage = Stage {
        name: "full",
        config: &full.stage,
        first_epoch: 0,
        lesson,
        norm_momentum: full.norm_momentum,
        thaw: Some(thaw),
    };
    student.step(&stage, 1e-2, learned, 0);
    [state.weights, student.network.weights()]
}

#[test]
fn what_is_frozen_stays_to_the_bit_and_the_rest_moves() {
    let graph = zoo::build("se-resnet50", 4, Some(32)).unwrap();
    let mut full = FullConfig::from_scratch();
    full.thaw_epochs = 1;
    let frozen_at = |full: &FullConfig, epoch| Thaw::new(&graph, full).unwrap().frozen(epoch);
    for epoch in [0, 2, 9] {
        let frozen = frozen_at(&full, epoch);
        let [before, after] = step(&graph, &full, epoch);
        for (name, tensor) in &before {
            let node = graph.find(name.rsplit_once('.').unwrap().0).unwrap();
            let same = tensor.data == after[name].data;
            // The last bias of a squeeze may see no gradient where its unit is off.
            if node <= frozen || !name.contains(".se.") {
                assert_eq!(same, node <= frozen, "{name} in epoch {epoch}");
            }
        }
    }
}

#[test]
fn earlier_stages_take_shorter_steps() {
    let graph = zoo::build("mobilenet-v2-0.35", 4, Some(32)).unwrap();
    let mut full = FullConfig::from_scratch();
    assert!(Thaw::new(&graph, &full).unwrap().factors().is_none());
    for optimizer in [Optimizer::Adamw, Optimizer::Nadam, Optimizer::Sgd] {
        full.stage.optimizer = optimizer;
        full.stage_decay = 1.0;
        let [before, whole] = step(&graph, &full, 0);
        full.stage_decay = 0.5;
        let thaw = Thaw::new(&graph, &full).unwrap();
        let factors = thaw.factors().unwrap();
        assert!(factors.is_sorted() && factors.last() == Some(&1.0));
        assert_eq!(factors[graph.feature_node().unwrap()], 0.5);
        let [_, shorter] = step(&graph, &full, 0);
        for parameter in graph.parameters().unwrap().iter().filter(|p| p.trained) {
            let name = &parameter.name;
            let factor = factors[graph.find(name.rsplit_once('.').unwrap().0).unwrap()];
            for (place, before) in before[name].data.iter().enumerate() {
                let expected = (whole[name].data[place] - before) * factor;
                let found = shorter[name].data[place] - before;
                assert!(
                    (expected - found).abs() < 1e-6 + 1e-4 * before.abs(),
                    "{name} with {optimizer:?}: {found} {expected}"
                );
            }
        }
    }
}
