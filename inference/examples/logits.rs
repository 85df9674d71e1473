//! Scores of an ONNX network on prepared tensors, to compare with another runtime:
//! `logits NETWORK.onnx CLASSES TENSORS.f32 OUT.f32`, all f32 in the machine's order.
#![allow(clippy::unwrap_used)]
use models::{Bundle, Filter, LabelSet, Manifest, Precision, PreprocessSpec, Provenance};
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let classes: usize = args[2].parse().unwrap();
    let items = (0..classes)
        .map(|i| ("all".to_owned(), format!("item {i}")))
        .collect();
    let labels = LabelSet::new("test", items).unwrap();
    let manifest = Manifest {
        name: "test".to_owned(),
        version: 1,
        network: "test".to_owned(),
        reject_thresholds: vec![0.0; 1],
        labels,
        preprocess: PreprocessSpec {
            size: 224,
            fill: [255; 3],
            filter: Filter::Triangle,
            mean: [0.0; 3],
            std: [1.0; 3],
        },
        parameters: 1,
        macs: 1,
        precision: Precision::F32,
        accuracy: None,
        provenance: Provenance {
            data_hash: String::new(),
            config: String::new(),
            seed: 0,
            tool: "test".to_owned(),
        },
    };
    let bundle = Bundle::new(manifest, std::fs::read(&args[1]).unwrap());
    let start = Instant::now();
    let mut classifier = inference::Classifier::new(&bundle, 1).unwrap();
    eprintln!("load {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    let bytes = std::fs::read(&args[3]).unwrap();
    let values: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|b| f32::from_ne_bytes(b.try_into().unwrap()))
        .collect();
    let mut out = Vec::new();
    let mut times = Vec::new();
    for tensor in values.chunks_exact(3 * 224 * 224) {
        let start = Instant::now();
        let verdict = classifier.classify_tensor(tensor).unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e3);
        for score in &verdict.item_scores {
            out.extend(score.to_ne_bytes());
        }
    }
    times.sort_by(f64::total_cmp);
    eprintln!(
        "min {:.2} median {:.2} ms",
        times[0],
        times[times.len() / 2]
    );
    std::fs::write(&args[4], out).unwrap();
}
