//! Milliseconds per frame of the preprocessing. Run: `cargo bench -p models`.

use std::hint::black_box;
use std::time::Instant;

use models::{Filter, PreprocessSpec, Preprocessor, RgbView};

fn main() -> Result<(), models::PreprocessError> {
    println!(
        "{:<28} {:>10} {:>10}",
        "ms per frame, best of 50", "square", "tensor"
    );
    for filter in [Filter::Triangle, Filter::CatmullRom] {
        for (width, height) in [
            (224, 224),
            (320, 320),
            (640, 480),
            (1280, 720),
            (1920, 1080),
        ] {
            let spec = PreprocessSpec {
                size: 224,
                fill: [255; 3],
                filter,
                mean: [0.5; 3],
                std: [0.5; 3],
            };
            let frame: Vec<u8> = (0..width * height * 3)
                .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect();
            let view = RgbView::new(&frame, width, height)?;
            let mut preprocessor = Preprocessor::new(spec)?;
            let mut tensor = vec![0.0; spec.len()];
            let square = best_ms(|| {
                let bytes = preprocessor.square(black_box(view), None);
                black_box(bytes.is_ok())
            });
            let tensor = best_ms(|| {
                let done = preprocessor.tensor(black_box(view), None, &mut tensor);
                black_box(done.is_ok())
            });
            let name = format!("{filter:?} {width}x{height}");
            println!("{name:<28} {square:>10.3} {tensor:>10.3}");
        }
    }
    Ok(())
}

fn best_ms(mut run: impl FnMut() -> bool) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..50).map(time).fold(f64::INFINITY, f64::min)
}
