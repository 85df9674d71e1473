//! Frames in, verdicts out.

use inference::{Classifier, Decision, InferenceError, Verdict};
use models::{PreprocessError, Preprocessor, Region, RgbView};
use proptest::prelude::*;

use crate::onnx::{SIZE, bundle, colour_model};

fn solid(colour: [u8; 3], width: u32, height: u32) -> Vec<u8> {
    colour.repeat((width * height) as usize)
}

/// The picture's colour is the item; `(item, category, decision)` as expected.
#[track_caller]
fn check(colour: [u8; 3], item: usize, category: usize, decision: Decision) -> Verdict {
    let mut bundle = bundle(&colour_model(10.0));
    bundle.manifest.reject_thresholds = vec![0.9, 0.9];
    let mut classifier = Classifier::new(&bundle, 1).unwrap();
    let pixels = solid(colour, 20, 20);
    let verdict = classifier
        .classify(RgbView::new(&pixels, 20, 20).unwrap(), None)
        .unwrap();
    assert_eq!(
        (verdict.item, verdict.category, verdict.decision),
        (item, category, decision)
    );
    let logits = colour.map(|c| 10.0 * f64::from(c) / 255.0);
    let sum: f64 = logits.iter().map(|l| l.exp()).sum();
    for (score, logit) in verdict.item_scores.iter().zip(logits) {
        assert!(
            (f64::from(*score) - logit.exp() / sum).abs() < 1e-5,
            "{verdict:?}"
        );
    }
    verdict.clone()
}

#[test]
fn the_colour_is_the_item() {
    check([255, 0, 0], 0, 0, Decision::Category(0));
    check([0, 255, 0], 1, 1, Decision::Category(1));
    check([0, 0, 255], 2, 1, Decision::Category(1));
}

#[test]
fn doubt_within_a_category_is_none_and_between_two_is_a_reject() {
    let verdict = check([0, 200, 210], 2, 1, Decision::Category(1));
    assert!(verdict.item_score() < 0.7 && verdict.category_score() > 0.99);
    check([220, 0, 200], 0, 0, Decision::Reject);
}

#[test]
fn a_region_is_classified_as_if_it_were_the_frame() {
    let mut classifier = Classifier::new(&bundle(&colour_model(1.0)), 1).unwrap();
    let mut frame = solid([255, 0, 0], 30, 20);
    for y in 5..15 {
        for x in 10..18 {
            frame[(y * 30 + x) * 3..][..3].copy_from_slice(&[0, 0, 255]);
        }
    }
    let view = RgbView::new(&frame, 30, 20).unwrap();
    let inside = Region {
        x: 10,
        y: 5,
        width: 8,
        height: 10,
    };
    let seen = classifier.classify(view, Some(inside)).unwrap().clone();
    let cut = solid([0, 0, 255], 8, 10);
    assert_eq!(
        &seen,
        classifier
            .classify(RgbView::new(&cut, 8, 10).unwrap(), None)
            .unwrap()
    );
    assert_eq!(seen.item, 2);
    let outside = Region {
        x: 29,
        y: 0,
        width: 2,
        height: 1,
    };
    match classifier.classify(view, Some(outside)) {
        Err(InferenceError::Preprocess(PreprocessError::Region { .. })) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn tensors_must_fit_and_bad_numbers_are_rejected() {
    let mut classifier = Classifier::new(&bundle(&colour_model(1.0)), 1).unwrap();
    let expected = (SIZE * SIZE * 3) as usize;
    let error = classifier.classify_tensor(&[0.0; 5]).unwrap_err();
    assert_eq!(error, InferenceError::TensorLength { expected, found: 5 });
    for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
        let verdict = classifier.classify_tensor(&vec![bad; expected]).unwrap();
        assert_eq!(verdict.decision, Decision::Reject, "{bad}");
        assert!(verdict.item_scores.iter().all(|s| *s == 0.0));
    }
    let verdict = classifier.classify_tensor(&vec![0.5; expected]).unwrap();
    assert_eq!(
        verdict.decision,
        Decision::Category(1),
        "one bad frame spoils no other"
    );
}

#[test]
fn no_threads_is_an_error() {
    let error = Classifier::new(&bundle(&colour_model(1.0)), 0).err();
    assert_eq!(error, Some(InferenceError::NoThreads));
}

#[test]
fn two_threads_give_the_same_scores() {
    let bundle = bundle(&colour_model(1.0));
    let values: Vec<f32> = (0..SIZE * SIZE * 3).map(|i| i as f32 / 192.0).collect();
    let verdict = |threads| -> Result<Verdict, InferenceError> {
        Ok(Classifier::new(&bundle, threads)?
            .classify_tensor(&values)?
            .clone())
    };
    assert_eq!(verdict(2), verdict(1));
}

#[test]
fn a_classifier_can_move_to_its_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let mut classifier = is_send(Classifier::new(&bundle(&colour_model(1.0)), 1).unwrap());
    let worker =
        std::thread::spawn(move || classifier.classify_tensor(&[0.0; 192]).unwrap().category);
    assert_eq!(worker.join().unwrap(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A verdict depends on its frame alone, and `classify` is preprocessing plus `classify_tensor`.
    #[test]
    fn frames_do_not_influence_each_other(
        frames in prop::collection::vec((1..40_u32, 1..40_u32, any::<u8>()), 1..6),
    ) {
        let bundle = bundle(&colour_model(3.0));
        let mut classifier = Classifier::new(&bundle, 1).unwrap();
        let mut preprocessor = Preprocessor::new(bundle.manifest.preprocess).unwrap();
        let mut tensor = vec![0.0; bundle.manifest.preprocess.len()];
        let mut verdicts = Vec::new();
        for (width, height, seed) in &frames {
            let bytes = width * height * 3;
            let pixels: Vec<u8> = (0..bytes).map(|i| (i * 7) as u8 ^ seed).collect();
            let view = RgbView::new(&pixels, *width, *height).unwrap();
            let verdict = classifier.classify(view, None).unwrap().clone();
            preprocessor.tensor(view, None, &mut tensor).unwrap();
            verdicts.push((tensor.clone(), verdict));
        }
        let mut fresh = Classifier::new(&bundle, 1).unwrap();
        for (tensor, verdict) in verdicts.iter().rev() {
            prop_assert_eq!(fresh.classify_tensor(tensor).unwrap(), verdict);
        }
    }
}

#[test]
fn threads_stay_on_the_cores_that_are_asked_for() {
    let bundle = bundle(&colour_model(10.0));
    let allowed = inference::cores::allowed().unwrap();
    let core = *allowed.last().unwrap();
    let mut classifier = Classifier::pinned(&bundle, &[core, core]).unwrap();
    assert_eq!(inference::cores::allowed().unwrap(), allowed);
    let classified = std::thread::spawn(move || {
        let pixels = solid([255, 0, 0], 20, 20);
        let view = RgbView::new(&pixels, 20, 20).unwrap();
        classifier.classify(view, None).unwrap();
        inference::cores::allowed().unwrap()
    });
    assert_eq!(
        classified.join().unwrap(),
        [core],
        "the thread that classifies"
    );
    assert_eq!(
        inference::cores::allowed().unwrap(),
        allowed,
        "not this one"
    );
    assert!(matches!(
        Classifier::pinned(&bundle, &[100_000]),
        Err(InferenceError::Cores(..))
    ));
    assert!(matches!(
        Classifier::pinned(&bundle, &[]),
        Err(InferenceError::NoThreads)
    ));
}
