use models::Filter;
use models::graph::Shape;
use models::zoo::{self, INPUT_SIZES, MAX_CLASSES, ZooError};

/// Against the published numbers.
#[track_caller]
fn check(name: &str, parameters: u64, macs: u64) {
    let graph = zoo::build(name, 1000, None).unwrap();
    assert_eq!(graph.parameter_count().unwrap(), parameters, "{name}");
    assert_eq!(graph.macs().unwrap(), macs, "{name}");
}

/// Against a published number of parameters and of milliards of MACs, to the digits given.
#[track_caller]
fn check_about(name: &str, parameters: u64, gmacs: &str) {
    let graph = zoo::build(name, 1000, None).unwrap();
    assert_eq!(graph.parameter_count().unwrap(), parameters, "{name}");
    let digits = gmacs.split_once('.').map_or(0, |(_, digits)| digits.len());
    let found = graph.macs().unwrap() as f64 / 1e9;
    assert_eq!(format!("{found:.digits$}"), gmacs, "{name}");
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

/// Parameters as torchvision 0.29 states them for its weights (`num_params`); MACs as it states them
/// (`_ops`), where its input has our size.
#[test]
fn counts_are_torchvisions() {
    check_about("resnet18", 11_689_512, "1.814");
    check_about("resnet50", 25_557_032, "4.089");
    check_about("efficientnet-b0", 5_288_548, "0.386");
    check_about("efficientnet-b1", 7_794_184, "0.687");
    check_about("efficientnet-b3", 12_233_232, "1.827");
    check_about("efficientnet-b4", 19_341_616, "4.394");
    check_about("efficientnet-b5", 30_389_784, "10.266");
    check_about("efficientnet-b6", 43_040_704, "19.068");
    check_about("efficientnet-b7", 66_347_960, "37.746");
    check_about("mobilenet-v3-small", 2_542_856, "0.057");
    check_about("mobilenet-v3-large", 5_483_032, "0.217");
    // Its input is larger than ours.
    let b2 = zoo::build("efficientnet-b2", 1000, None).unwrap();
    assert_eq!(b2.parameter_count(), Ok(9_109_994));
}

/// Parameters of timm 1.0's `seresnet50`, `legacy_xception`, `tf_efficientnet_lite1` and `_lite2`.
#[test]
fn counts_are_timms() {
    let count = |name| zoo::build(name, 1000, None).unwrap().parameter_count();
    assert_eq!(count("se-resnet50"), Ok(28_088_024));
    assert_eq!(count("xception"), Ok(22_855_952));
    assert_eq!(count("efficientnet-lite1"), Ok(5_416_680));
    assert_eq!(count("efficientnet-lite2"), Ok(6_092_072));
}

/// No counts are published for these: the plain network's and those of the dense layers.
#[test]
fn squeeze_and_excitation_adds_its_dense_layers() {
    let count = |name: &str| zoo::build(name, 1000, None).unwrap().parameter_count();
    let dense_layers = |channels: u64| {
        let squeezed = channels / 16;
        2 * channels * squeezed + squeezed + channels
    };
    let with = |plain: &str, channels: &[u64]| {
        count(plain).map(|n| n + channels.iter().copied().map(dense_layers).sum::<u64>())
    };
    assert_eq!(count("se-resnet50-head"), with("resnet50", &[2048]));
    assert_eq!(count("se-xception-head"), with("xception", &[2048]));
    let mut blocks = vec![128, 256, 1024];
    blocks.extend([728; 9]);
    assert_eq!(count("se-xception"), with("xception", &blocks));
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
            assert!(matches!(shapes[feature], Shape::Features(_)));
            assert!(feature + 3 == shapes.len(), "dropout and classifier follow");
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
        ("efficientnet-b0", 1280),
        ("mobilenet-v3-small", 576),
        ("mobilenet-v3-large", 960),
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
fn group_norms_take_the_place_of_all_batch_norms() {
    for name in zoo::names() {
        let graph = zoo::build(name, 10, None).unwrap();
        let grouped = models::passes::with_group_norms(&graph).unwrap();
        assert_eq!(grouped.shapes(), graph.shapes());
        assert_eq!(grouped.parameter_count(), graph.parameter_count());
        let shapes = graph.shapes().unwrap();
        for ((node, before), shape) in grouped.nodes.iter().zip(&graph.nodes).zip(shapes) {
            match (node.op, before.op) {
                (models::Op::GroupNorm { groups, .. }, models::Op::BatchNorm { .. }) => {
                    let more = (groups + 1..=32).filter(|n| shape.channels() % n == 0);
                    assert!(groups <= 32 && more.count() == 0, "{name} {}", node.name);
                }
                (now, before) => assert_eq!(now, before),
            }
        }
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
