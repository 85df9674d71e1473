use models::graph::Shape;
use models::zoo::{self, INPUT_SIZES, MAX_CLASSES, ZooError};
use models::{Filter, Op};

/// Against the published numbers.
#[track_caller]
fn check(name: &str, parameters: u64, macs: u64) {
    let graph = zoo::build(name, 1000, None).unwrap();
    assert_eq!(graph.parameter_count().unwrap(), parameters);
    assert_eq!(graph.macs().unwrap(), macs);
}

#[test]
fn counts_are_the_published_ones() {
    // Published: 3.50, 1.68, 1.97, 2.64, 6.11 and 4.65 million parameters; 300, 59, 97, 209, 582
    // and 407 million MACs. What is counted in the last number is not stated.
    check("mobilenet-v2", 3_504_872, 300_774_272);
    check("mobilenet-v2-0.35", 1_677_128, 59_285_808);
    check("mobilenet-v2-0.5", 1_968_680, 97_131_840);
    check("mobilenet-v2-0.75", 2_636_424, 209_069_792);
    check("mobilenet-v2-1.4", 6_108_776, 582_195_824);
    check("efficientnet-lite0", 4_652_008, 385_187_552);
}

#[test]
fn every_network_builds_at_every_size_with_preprocessing_to_match() {
    for name in zoo::names() {
        for size in [
            None,
            Some(*INPUT_SIZES.start()),
            Some(97),
            Some(*INPUT_SIZES.end()),
        ] {
            let graph = zoo::build(name, 40, size).unwrap();
            let shapes = graph.shapes().unwrap();
            assert_eq!(shapes.last(), Some(&Shape::Features(40)));
            assert_eq!(graph.name, name);
            let feature = graph.feature_node().unwrap();
            assert_eq!(graph.nodes[feature].op, Op::GlobalAvgPool);
            let spec = zoo::preprocess(name, size).unwrap();
            assert_eq!(spec.check(), Ok(()));
            assert_eq!(graph.input, [3, spec.size as usize, spec.size as usize]);
            assert_eq!(
                spec.size,
                size.unwrap_or(zoo::default_input_size(name).unwrap())
            );
        }
    }
}

#[test]
fn maps_shrink_as_published() {
    for (name, last_channels) in [
        ("mobilenet-v2", 1280),
        ("mobilenet-v2-0.35", 1280),
        ("mobilenet-v2-1.4", 1792),
        ("efficientnet-lite0", 1280),
    ] {
        let graph = zoo::build(name, 2, None).unwrap();
        let shapes = graph.shapes().unwrap();
        let shape = |node: &str| shapes[graph.find(node).unwrap()];
        let Shape::Map { height, width, .. } = shape("stem.act") else {
            panic!("no map")
        };
        assert_eq!([height, width], [112, 112]);
        let expect = Shape::Map {
            channels: last_channels,
            height: 7,
            width: 7,
        };
        assert_eq!(shape("head.act"), expect);
    }
}

#[test]
fn nodes_have_their_documented_names() {
    let graph = zoo::build("efficientnet-lite0", 2, None).unwrap();
    let blocks = (0..).take_while(|n| graph.find(&format!("blocks.{n}.depthwise.conv")).is_some());
    assert_eq!(blocks.count(), 16);
    assert_eq!(graph.find("blocks.0.expand.conv"), None);
    let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    let last = "classifier dropout pool head.act head.bn head.conv blocks.15.project.bn";
    let mut reversed = names.iter().rev();
    last.split(' ')
        .for_each(|name| assert_eq!(reversed.next(), Some(&name)));
    let block = "blocks.2.expand.conv blocks.2.expand.bn blocks.2.expand.act \
                 blocks.2.depthwise.conv blocks.2.depthwise.bn blocks.2.depthwise.act \
                 blocks.2.project.conv blocks.2.project.bn blocks.2.add";
    let found: Vec<&str> = names
        .into_iter()
        .filter(|n| n.starts_with("blocks.2."))
        .collect();
    assert_eq!(found.join(" "), block);
}

#[test]
fn lite_is_preprocessed_as_it_was_trained() {
    let spec = zoo::preprocess("efficientnet-lite0", None).unwrap();
    assert_eq!((spec.size, spec.filter), (224, Filter::CatmullRom));
    let mut tensor = [0.0; 3];
    let spec = models::PreprocessSpec { size: 1, ..spec };
    spec.normalize(&[0, 127, 255], &mut tensor).unwrap();
    for (value, expect) in tensor.iter().zip([-127.0 / 128.0, 0.0, 1.0]) {
        assert!((value - expect).abs() < 1e-6, "{value} for {expect}");
    }
}

#[test]
fn what_cannot_be_built_is_refused() {
    let error = |name, classes, size| zoo::build(name, classes, size).unwrap_err();
    let unknown = ZooError::UnknownNetwork {
        name: "resnet".into(),
    };
    assert_eq!(error("resnet", 2, None), unknown);
    assert_eq!(zoo::preprocess("resnet", None), Err(unknown.clone()));
    let message = unknown.to_string();
    zoo::names()
        .iter()
        .for_each(|name| assert!(message.contains(name), "{message}"));
    for size in [0, 31, 1025, u32::MAX] {
        assert_eq!(
            error("mobilenet-v2", 2, Some(size)),
            ZooError::InputSize(size)
        );
        assert_eq!(
            zoo::preprocess("mobilenet-v2", Some(size)),
            Err(ZooError::InputSize(size))
        );
    }
    for classes in [0, MAX_CLASSES + 1, usize::MAX] {
        assert_eq!(
            error("mobilenet-v2", classes, None),
            ZooError::Classes(classes)
        );
    }
}
