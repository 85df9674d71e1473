//! Any network whatever gives a classifier or an error.

use inference::{Classifier, InferenceError};
use models::manifest::ManifestError;
use proptest::prelude::*;
use prost::Message;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{ModelProto, StringStringEntryProto};

use crate::onnx::{bundle, colour_model, integers, model, node, tensor, value, with_int};

fn refusal(model: &ModelProto) -> InferenceError {
    match Classifier::new(&bundle(model), 1) {
        Err(error) => error,
        Ok(_) => panic!("accepted"),
    }
}

/// The error's message must hold `part`, on one line of bounded length.
#[track_caller]
fn check(model: &ModelProto, part: &str) {
    let text = refusal(model).to_string();
    assert!(text.contains(part), "{text}");
    assert!(!text.contains('\n') && text.chars().count() < 600, "{text}");
}

fn changed(change: impl FnOnce(&mut tract_onnx::pb::GraphProto)) -> ModelProto {
    let mut model = colour_model(1.0);
    change(model.graph.as_mut().unwrap());
    model
}

#[test]
fn the_input_must_be_as_the_manifest_says() {
    use DataType::{Float, Uint8};
    for (kind, dims, found) in [
        (
            Float,
            vec![None, Some(3), Some(9), Some(8)],
            "f32 [N, 3, 9, 8]",
        ),
        (
            Float,
            vec![Some(2), Some(3), Some(8), Some(8)],
            "f32 [2, 3, 8, 8]",
        ),
        (Float, vec![None, Some(3), None, None], "f32 [N, 3, N, N]"),
        (Float, vec![Some(3), Some(8), Some(8)], "f32 [3, 8, 8]"),
        (Float, vec![], "f32 []"),
        (
            Uint8,
            vec![None, Some(3), Some(8), Some(8)],
            "of another type than f32",
        ),
    ] {
        let model = changed(|g| g.input = vec![value("image", kind, &dims)]);
        check(&model, found);
        check(&model, "its manifest says f32 [N, 3, 8, 8]");
    }
    check(&changed(|g| g.input.clear()), "the input count 0");
    check(
        &changed(|g| g.input.push(value("two", Float, &[Some(1)]))),
        "the input count 2",
    );
    check(&changed(|g| g.input[0].r#type = None), "of no type");
    // A batch of exactly one frame is as good as a free one.
    let fixed = changed(|g| {
        g.input = vec![value("image", Float, &[Some(1), Some(3), Some(8), Some(8)])];
    });
    Classifier::new(&bundle(&fixed), 1).unwrap();
}

#[test]
fn the_output_must_have_one_value_an_item() {
    let four = changed(|g| {
        g.initializer = vec![
            tensor("weight", &[4, 3], vec![0.0; 12]),
            tensor("bias", &[4], vec![0.0; 4]),
        ];
    });
    check(
        &four,
        "the output f32 [1, 4], but its manifest says f32 [1, 3]",
    );
    check(
        &changed(|g| g.output[0].name = "pool".to_owned()),
        "f32 [1, 3, 1, 1]",
    );
    let both =
        |g: &mut tract_onnx::pb::GraphProto| g.output.push(value("flat", DataType::Float, &[]));
    check(&changed(both), "the output count 2");
    check(&changed(|g| g.output.clear()), "the output count 0");
}

#[test]
fn broken_graphs() {
    check(&ModelProto::default(), "it is not an ONNX model");
    check(
        &changed(|g| g.output[0].name = "nowhere".to_owned()),
        "cannot be run",
    );
    check(
        &changed(|g| g.node[1].input[0] = "nowhere".to_owned()),
        "cannot be run",
    );
    check(
        &changed(|g| g.node[0].input[0] = "flat".to_owned()),
        "cannot be run",
    );
    check(&changed(|g| g.node[0].input.clear()), "cannot be run");
    check(&changed(|g| g.node[2].input.truncate(1)), "cannot be run");
    check(
        &changed(|g| g.initializer[0].dims = vec![3, 4]),
        "cannot be run",
    );
    check(
        &changed(|g| g.initializer[0].dims = vec![-3, 3]),
        "is not in the file",
    );
    check(
        &changed(|g| g.initializer[0].data_type = 99),
        "cannot be run",
    );
    check(
        &changed(|g| g.initializer[0].raw_data = vec![1; 7]),
        "cannot be run",
    );
    let axis = changed(|g| g.node[1] = with_int(g.node[1].clone(), "axis", i64::MIN));
    check(&axis, "cannot be run");
}

/// tract reads the channels of such values without looking for them.
#[test]
fn images_that_are_none() {
    let of = |op: &str, inputs: &[&str]| {
        model(
            vec![
                node("Reshape", &["image", "shape"], "line"),
                node(op, inputs, "logits"),
            ],
            vec![
                integers("shape", vec![-1]),
                tensor("three", &[3], vec![1.0; 3]),
                tensor("weight", &[3, 192], vec![0.0; 576]),
            ],
        )
    };
    let norm = ["line", "three", "three", "three", "three"];
    for model in [
        of("BatchNormalization", &norm),
        of("InstanceNormalization", &norm[..3]),
        of("Conv", &["line", "weight"]),
        of("Conv", &["image", "weight"]),
        of("MaxPool", &["line"]),
        of("GlobalAveragePool", &["nowhere"]),
    ] {
        check(&model, "another number of dimensions");
    }
}

#[test]
fn operators_that_no_classifier_needs() {
    for op in [
        "Loop",
        "If",
        "ConstantOfShape",
        "Expand",
        "Tile",
        "Resize",
        "RandomNormal",
        "Frob",
    ] {
        let model = changed(|g| g.node[0].op_type = op.to_owned());
        let (operator, node) = (op.to_owned(), "pool".to_owned());
        assert_eq!(refusal(&model), InferenceError::Operator { operator, node });
    }
    let foreign = changed(|g| g.node[1].domain = "com.example".to_owned());
    check(&foreign, "\"com.example.Flatten\"");
}

#[test]
fn data_that_is_not_in_the_file() {
    let huge = changed(|g| g.initializer[0].dims = vec![1 << 40, 1 << 40]);
    check(&huge, "the data of tensor \"weight\" is not in the file");
    let elsewhere = changed(|g| {
        let (key, value) = ("location".to_owned(), "/etc/passwd".to_owned());
        g.initializer[0].external_data = vec![StringStringEntryProto { key, value }];
        g.initializer[0].data_location = Some(DataLocation::External as i32);
        g.initializer[0].float_data.clear();
    });
    check(
        &elsewhere,
        "the data of tensor \"weight\" is not in the file",
    );
}

#[test]
fn memory_bombs() {
    let n = 40_000;
    let broadcast = model(
        vec![
            node("Add", &["row", "column"], "sum"),
            node("Add", &["image", "sum"], "logits"),
        ],
        vec![
            tensor("row", &[1, n], vec![0.0; n as usize]),
            tensor("column", &[n, 1], vec![0.0; n as usize]),
        ],
    );
    check(&broadcast, "too large");
    let mut nodes = vec![with_int(
        node("Concat", &["image", "image"], "x0"),
        "axis",
        3,
    )];
    for i in 0..40 {
        let (from, to) = (format!("x{i}"), format!("x{}", i + 1));
        nodes.push(with_int(node("Concat", &[&from, &from], &to), "axis", 3));
    }
    nodes.push(node("Flatten", &["x40"], "logits"));
    check(&model(nodes, vec![]), "too large");
    let pad = model(
        vec![
            node("Pad", &["image", "pads"], "padded"),
            node("Flatten", &["padded"], "logits"),
        ],
        vec![integers("pads", vec![0, 0, 0, 0, 0, 0, 1 << 20, 1 << 20])],
    );
    check(&pad, "too large");
    let no_values = model(
        vec![node("Conv", &["image", "weight"], "logits")],
        vec![tensor("weight", &[1 << 42, 0, 1, 1], vec![])],
    );
    check(&no_values, "is not in the file");
}

#[test]
fn the_manifest_is_checked_too() {
    let mut bundle = bundle(&colour_model(1.0));
    bundle.manifest.reject_thresholds = vec![0.5];
    let fault = ManifestError::ThresholdCount {
        expected: 2,
        found: 1,
    };
    assert_eq!(
        Classifier::new(&bundle, 1).err(),
        Some(InferenceError::Manifest(fault))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bundle = bundle(&colour_model(1.0));
        bundle.onnx = bytes.into();
        prop_assert!(Classifier::new(&bundle, 1).is_err());
    }

    #[test]
    fn damaged_networks(
        cut in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = colour_model(1.0).encode_to_vec();
        if damage.is_empty() {
            bytes.truncate(cut.index(bytes.len()));
        }
        for (place, value) in &damage {
            let place = place.index(bytes.len());
            bytes[place] = *value;
        }
        let mut bundle = bundle(&colour_model(1.0));
        bundle.onnx = bytes.into();
        // Either is right; a panic is not.
        if let Ok(mut classifier) = Classifier::new(&bundle, 1) {
            classifier.classify_tensor(&[0.25; 192]).unwrap();
        }
    }
}
