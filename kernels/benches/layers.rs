//! Times single layers: `cargo bench -p kernels --profile release [THREADS] [PART OF A NAME]`.
//!
//! For each kind that networks have, milliseconds: the fastest and the median of many runs; for
//! convolutions how much of the products that this CPU could compute they compute, the end with its
//! rounding included, of which 1x1 convolutions of few channels mostly consist.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use kernels::{
    Add, Conv, Depthwise, GlobalAverage, Image, Isa, Mul, Pool, PoolKind, Quantization, Range,
    Requantize, Table, Window, Workers, dequantize, float, quantize_planes,
};

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
        int8_values(isa, &mut workers);
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

/// Layers that sum no products: their speed is in values of the output, or for means of the input.
fn int8_values(isa: Isa, workers: &mut Workers) {
    println!("  fastest   median  million values/ms          layer");
    let (image, window) = shape(56, 128, 3, 2);
    let (input, second) = (vec![7; image.len()], vec![9; image.len()]);
    let mut output = vec![0; image.len()];
    let quantization = Quantization {
        scale: 0.1,
        zero_point: 9,
    };
    let range = Range::full(3);
    let mut values = |name: &str, count: usize, run: &mut dyn FnMut(&mut [u8])| {
        report(&format!("{name}, 56x56x128"), count, f64::INFINITY, || {
            run(&mut output)
        });
    };
    let add = Add::new(isa, [quantization; 2], 0.2, range).unwrap();
    values("add", image.len(), &mut |out| {
        add.run(black_box(&input), &second, out, workers)
    });
    let mul = Mul::new(isa, [quantization; 2], 0.2, range).unwrap();
    values("multiply by channel", image.len(), &mut |out| {
        mul.run(black_box(&input), &second[..image.channels], out, workers);
    });
    let table = Table::new(isa, |byte| byte / 2);
    values("table", image.len(), &mut |out| {
        table.run(black_box(&input), out, workers)
    });
    for kind in [
        PoolKind::Max,
        PoolKind::Average {
            count_padding: false,
        },
    ] {
        let pool = Pool::new(isa, kind, image, window, quantization, 0.1, range).unwrap();
        let count = pool.output().len();
        values(&format!("pool {kind:?} 3x3/2"), count, &mut |out| {
            pool.run(black_box(&input), &mut out[..count], workers);
        });
    }
    let mean = GlobalAverage::new(isa, image, quantization, 0.2, range).unwrap();
    values("global average", image.len(), &mut |out| {
        mean.run(black_box(&input), &mut out[..image.channels], workers);
    });
    let photo = vec![0.7; 224 * 224 * 3];
    values("quantize 224x224x3", photo.len(), &mut |out| {
        quantize_planes(
            isa,
            black_box(&photo),
            3,
            quantization,
            &mut out[..photo.len()],
            workers,
        );
    });
    let mut floats = vec![0.0; image.len()];
    values("dequantize", image.len(), &mut |_| {
        dequantize(
            black_box(&input),
            image.channels,
            quantization,
            &mut floats,
            workers,
        );
    });
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
    let wanted =
        |arg: String| arg.starts_with('-') || arg.parse::<usize>().is_ok() || name.contains(&arg);
    if !std::env::args().skip(1).all(wanted) {
        return;
    }
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
    let share = match 100.0 * speed / peak {
        0.0 => String::new(),
        share => format!("({share:3.0}% of the best)"),
    };
    println!(
        "{:9.3}{:9.3}{:10.1} {share:19}  {name}",
        fastest * 1e3,
        median * 1e3,
        speed / 1e9,
    );
}
