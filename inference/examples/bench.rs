//! Times a network for `cargo xtask bench inference`, beside other engines.
//!
//! Usage: `bench BUNDLE THREADS`, `bench peak [f32]` or `bench bundle NETWORK.onnx BUNDLE`. The network takes
//! 224 x 224 pixels and has 1000 classes. It prints the milliseconds that opening the bundle and loading the network
//! took, and the MB that this process had used at most before. For every line on standard input, a number, it runs
//! that often and prints for each run the milliseconds that it took and those that the first thread was on a core;
//! `peak` prints multiply-accumulates per second that this CPU could do in 8 bits, or in f32, on one thread; `bundle`
//! writes a bundle around a network.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use inference::Classifier;
use kernels::cores;
use models::{Bundle, Filter, LabelSet, Manifest, Precision, PreprocessSpec, Provenance};

const SIZE: u32 = 224;
const CLASSES: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["peak"] => {
            println!("{}", kernels::Isa::detect().peak_macs_per_second());
            Ok(())
        }
        ["peak", "f32"] => {
            println!("{}", kernels::Isa::detect().peak_float_macs_per_second());
            Ok(())
        }
        ["bundle", network, file] => Ok(bundle(std::fs::read(network)?)?.save(file)?),
        [bundle, threads] => serve(bundle, threads.parse()?),
        _ => Err("bench BUNDLE THREADS, bench peak or bench bundle NETWORK.onnx BUNDLE".into()),
    }
}

fn serve(bundle: &str, threads: usize) -> Result<(), Box<dyn Error>> {
    let image = image();
    let (idle, start) = (peak_mb(), Instant::now());
    let mut classifier = Classifier::new(&Bundle::open(bundle)?, threads)?;
    let loaded = start.elapsed().as_secs_f64() * 1e3;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{loaded} {idle}")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let runs: usize = line?.trim().parse()?;
        for _ in 0..runs {
            let (start, cpu) = (Instant::now(), cores::time());
            classifier.classify_tensor(&image)?;
            let (wall, cpu) = (start.elapsed(), cores::time() - cpu);
            write!(
                out,
                "{} {} ",
                wall.as_secs_f64() * 1e3,
                cpu.as_secs_f64() * 1e3
            )?;
        }
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

/// What Linux says this process has used at most; 0 where it says nothing.
fn peak_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<f64>().ok());
    kb.unwrap_or(0.0) / 1e3
}

/// Values from -2 to 2 without a pattern.
fn image() -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / f32::from(u16::MAX) / 64.0 - 2.0
    };
    (0..3 * SIZE * SIZE).map(|_| next()).collect()
}

fn bundle(onnx: Vec<u8>) -> Result<Bundle, Box<dyn Error>> {
    let items = (0..CLASSES).map(|class| (format!("{}", class % 4), format!("{class}")));
    let labels = LabelSet::new("bench", items.collect())?;
    let manifest = Manifest {
        name: "bench".to_owned(),
        version: 1,
        network: "bench".to_owned(),
        reject_thresholds: vec![0.0; labels.categories().len()],
        labels,
        preprocess: PreprocessSpec {
            size: SIZE,
            fill: [255; 3],
            filter: Filter::Triangle,
            mean: [0.5; 3],
            std: [0.25; 3],
        },
        parameters: 1,
        macs: 1,
        precision: Precision::F32,
        accuracy: None,
        provenance: Provenance {
            data_hash: String::new(),
            config: String::new(),
            seed: 0,
            tool: "bench".to_owned(),
        },
    };
    Ok(Bundle::new(manifest, onnx))
}
