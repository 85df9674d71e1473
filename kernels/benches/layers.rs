//! Times single layers: `cargo bench -p kernels --profile release [THREADS]`.
//!
//! For each kind that networks have: milliseconds, the fastest and the median of many runs, and how
//! much of the products that this CPU could compute it computes.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use kernels::{Conv, Depthwise, Image, Isa, Range, Requantize, Window, Workers, float};

/// Side, input and output channels, kernel, stride.
const CONVOLUTIONS: [[usize; 5]; 12] = [
    [224, 3, 32, 3, 2],
    [224, 3, 64, 7, 2],
    [112, 16, 96, 1, 1],
    [56, 144, 24, 1, 1],
    [56, 64, 64, 1, 1],
    [56, 64, 64, 3, 1],
    [14, 96, 576, 1, 1],
    [14, 576, 96, 1, 1],
    [14, 1024, 256, 1, 1],
    [7, 512, 512, 3, 1],
    [7, 512, 2048, 1, 1],
    [1, 2048, 1000, 1, 1],
];

/// Side, channels, kernel, stride.
const DEPTHWISE: [[usize; 4]; 5] = [
    [112, 96, 3, 2],
    [112, 32, 3, 1],
    [56, 144, 3, 1],
    [28, 240, 5, 1],
    [7, 960, 3, 1],
];

fn main() {
    let threads = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1);
    let mut workers = Workers::new(threads).unwrap();
    for isa in Isa::available() {
        let peak = isa.peak_macs_per_second() * threads as f64;
        heading(&format!("{isa}, int8"), threads, peak);
        int8(isa, peak, &mut workers);
        let peak = isa.peak_float_macs_per_second() * threads as f64;
        heading(&format!("{isa}, f32"), threads, peak);
        f32(isa, peak, &mut workers);
    }
}

fn heading(what: &str, threads: usize, peak: f64) {
    let peak = peak / 1e9;
    println!("\n{what}, {threads} threads: at best {peak:.1} million products/ms");
    println!("  fastest   median  million products/ms        layer");
}

fn int8(isa: Isa, peak: f64, workers: &mut Workers) {
    for [side, inputs, outputs, kernel, stride] in CONVOLUTIONS {
        let (image, window) = shape(side, inputs, kernel, stride);
        let weights = vec![3; kernel * kernel * inputs * outputs];
        let conv = Conv::new(isa, image, window, 9, &weights, &end(outputs)).unwrap();
        let input = vec![7; image.len()];
        let mut output = vec![0; conv.output().len()];
        let name = format!("{kernel}x{kernel}/{stride}, {side}x{side}x{inputs} to {outputs}");
        report(&name, conv.products(), peak, || {
            conv.run(black_box(&input), &mut output, workers);
        });
    }
    for [side, channels, kernel, stride] in DEPTHWISE {
        let (image, window) = shape(side, channels, kernel, stride);
        let weights = vec![3; kernel * kernel * channels];
        let layer = Depthwise::new(isa, image, window, 9, &weights, &end(channels)).unwrap();
        let input = vec![7; image.len()];
        let mut output = vec![0; layer.output().len()];
        let name = format!("depthwise {kernel}x{kernel}/{stride}, {side}x{side}x{channels}");
        report(&name, layer.products(), peak, || {
            layer.run(black_box(&input), &mut output, workers);
        });
    }
}

fn f32(isa: Isa, peak: f64, workers: &mut Workers) {
    for [side, inputs, outputs, kernel, stride] in CONVOLUTIONS {
        let (image, window) = shape(side, inputs, kernel, stride);
        let weights = vec![0.5; kernel * kernel * inputs * outputs];
        let bias = vec![0.0; outputs];
        let relu = float::Activation::RELU;
        let conv = float::Conv::new(isa, image, window, &weights, &bias, relu).unwrap();
        let input = vec![0.7; image.len()];
        let mut output = vec![0.0; conv.output().len()];
        let name = format!("{kernel}x{kernel}/{stride}, {side}x{side}x{inputs} to {outputs}");
        report(&name, conv.products(), peak, || {
            conv.run(black_box(&input), None, &mut output, workers);
        });
    }
    for [side, channels, kernel, stride] in DEPTHWISE {
        let (image, window) = shape(side, channels, kernel, stride);
        let weights = vec![0.5; kernel * kernel * channels];
        let bias = vec![0.0; channels];
        for activation in [float::Activation::RELU, float::Activation::Silu] {
            let layer =
                float::Depthwise::new(isa, image, window, &weights, &bias, activation).unwrap();
            let input = vec![0.7; image.len()];
            let mut output = vec![0.0; layer.output().len()];
            let name = format!(
                "depthwise {kernel}x{kernel}/{stride}, {side}x{side}x{channels}, {activation:?}"
            );
            report(&name, layer.products(), peak, || {
                layer.run(black_box(&input), &mut output, workers);
            });
        }
    }
}

fn shape(side: usize, channels: usize, kernel: usize, stride: usize) -> (Image, Window) {
    let (height, width) = (side, side);
    let image = Image {
        height,
        width,
        channels,
    };
    let pad = [kernel / 2; 2];
    let window = Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        pad_before: pad,
        pad_after: pad,
    };
    (image, window)
}

fn end(channels: usize) -> Requantize {
    Requantize {
        bias: vec![5; channels],
        scale: vec![1e-3; channels],
        range: Range::full(3),
    }
}

fn report(name: &str, products: usize, peak: f64, mut run: impl FnMut()) {
    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || started.elapsed().as_millis() < 200 {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_unstable_by(f64::total_cmp);
    let (fastest, median) = (times[0], times[times.len() / 2]);
    let speed = products as f64 / fastest;
    println!(
        "{:9.3}{:9.3}{:10.1} ({:3.0}% of the best)  {name}",
        fastest * 1e3,
        median * 1e3,
        speed / 1e9,
        100.0 * speed / peak
    );
}
