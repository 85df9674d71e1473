//! Times single layers: `cargo run --release -p kernels --example layers`.
//!
//! For every layer and instruction set the least and the median time of one run, and products per
//! second.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use kernels::{Add, Conv, Depthwise, Image, Isa, Quantization, Range, Requantize, Window, Workers};

/// Input side, input channels, output channels (0: depthwise), kernel, stride.
const LAYERS: [(usize, usize, usize, usize, usize); 16] = [
    (224, 3, 32, 3, 2),
    (112, 32, 16, 1, 1),
    (112, 16, 96, 1, 1),
    (56, 144, 24, 1, 1),
    (28, 32, 192, 1, 1),
    (14, 384, 64, 1, 1),
    (14, 96, 576, 1, 1),
    (7, 960, 320, 1, 1),
    (1, 1280, 1000, 1, 1),
    (224, 3, 64, 7, 2),
    (56, 64, 64, 3, 1),
    (7, 512, 512, 3, 1),
    (112, 32, 0, 3, 1),
    (112, 96, 0, 3, 2),
    (28, 240, 0, 5, 1),
    (7, 960, 0, 3, 1),
];

fn main() {
    let isas: Vec<Isa> = match std::env::args().nth(1).as_deref() {
        Some("all") => Isa::available(),
        _ => vec![Isa::detect()],
    };
    for isa in isas {
        for layer in LAYERS {
            time_layer(isa, layer);
        }
        time_add(isa);
    }
}

fn time_layer(
    isa: Isa,
    (side, channels, outputs, kernel, stride): (usize, usize, usize, usize, usize),
) {
    let image = Image {
        height: side,
        width: side,
        channels,
    };
    let window = Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        pad_before: [kernel / 2; 2],
        pad_after: [kernel / 2; 2],
    };
    let input: Vec<u8> = (0..image.len()).map(|i| (i * 37 % 251) as u8).collect();
    let depth = kernel * kernel * if outputs == 0 { 1 } else { channels };
    let count = if outputs == 0 { channels } else { outputs };
    let weights: Vec<i8> = (0..depth * count)
        .map(|i| (i * 31 % 255) as u8 as i8)
        .collect();
    let requantize = Requantize {
        bias: vec![17; count],
        scale: vec![1e-3; count],
        range: Range::full(13),
    };
    let mut workers = Workers::single();
    let name = if outputs == 0 { "depthwise" } else { "conv" };
    let label = format!("{name} {side}x{side}x{channels} {kernel}x{kernel}/{stride} -> {count}");
    if outputs == 0 {
        let layer = Depthwise::new(isa, image, window, 7, &weights, &requantize).unwrap();
        let mut out = vec![0; layer.output().len()];
        report(isa, &label, layer.products(), || {
            layer.run(&input, &mut out, &mut workers)
        });
    } else {
        let layer = Conv::new(isa, image, window, 7, &weights, &requantize).unwrap();
        let mut out = vec![0; layer.output().len()];
        report(isa, &label, layer.products(), || {
            layer.run(&input, &mut out, &mut workers)
        });
    }
}

fn time_add(isa: Isa) {
    let quantization = Quantization {
        scale: 0.1,
        zero_point: 9,
    };
    let add = Add::new(isa, [quantization; 2], 0.2, Range::full(3)).unwrap();
    let (a, b) = (vec![5; 56 * 56 * 256], vec![99; 56 * 56 * 256]);
    let mut out = vec![0; a.len()];
    let mut workers = Workers::single();
    report(isa, "add 56x56x256", a.len(), || {
        add.run(&a, &b, &mut out, &mut workers)
    });
}

fn report(isa: Isa, label: &str, products: usize, mut run: impl FnMut()) {
    if std::env::args()
        .nth(2)
        .is_some_and(|part| !label.contains(&part))
    {
        return;
    }
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 20 || start.elapsed() < Duration::from_millis(150) {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let (least, median) = (times[0], times[times.len() / 2]);
    println!(
        "{isa:10} {label:40} {:8.1} µs least {:8.1} µs median {:6.1} G/s",
        least * 1e6,
        median * 1e6,
        products as f64 / least / 1e9
    );
}
