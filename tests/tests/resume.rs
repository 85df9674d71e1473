//! Training can be killed at any moment and goes on to the same result.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::{program, run, succeed};

/// Kills of the gate; `SORTLINE_KILLS=20` for more.
const KILLS: u32 = 4;

fn photos(folder: &Path) -> PathBuf {
    let photos = folder.join("photos");
    for (item, colour) in [
        ("red", [200, 30, 30]),
        ("green", [30, 200, 30]),
        ("blue", [30, 30, 200]),
    ] {
        fs::create_dir_all(photos.join(item)).expect("mkdir");
        for n in 0..12_u8 {
            let shade = |c: u8| c.saturating_add(n * 4);
            let pixel = image::Rgb(colour.map(shade));
            let photo = image::RgbImage::from_fn(40, 40, |x, y| {
                if (x + y) % (u32::from(n) + 5) == 0 {
                    image::Rgb([255; 3])
                } else {
                    pixel
                }
            });
            photo
                .save(photos.join(item).join(format!("{n}.png")))
                .expect("a photo");
        }
    }
    photos
}

fn train(photos: &Path, out: &Path) -> Command {
    let mut command = program("host-train");
    command.args([
        "train",
        "--network",
        "mobilenet-v2-0.35",
        "--input-size",
        "32",
    ]);
    command
        .args(["--epochs", "6", "--batch", "8", "--seed", "9", "--data"])
        .arg(photos);
    command.arg("--out").arg(out);
    command
}

/// The weights that a run ended with, as `export` writes them.
fn result(run: &Path) -> Vec<u8> {
    let onnx = run.with_extension("onnx");
    let bundle = run.with_extension("sortline");
    let mut export = program("host-train");
    export
        .args(["export", "--checkpoint", "last", "--run"])
        .arg(run)
        .arg("--out")
        .arg(&bundle);
    succeed(export.arg("--onnx").arg(&onnx));
    fs::read(onnx).expect("the exported network")
}

#[test]
fn killed_training_goes_on_to_the_same_weights() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let photos = photos(folder.path());
    let whole = folder.path().join("whole");
    let start = Instant::now();
    succeed(&mut train(&photos, &whole));
    let took = start.elapsed();

    let broken = folder.path().join("broken");
    let kills = std::env::var("SORTLINE_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(KILLS);
    for kill in 0..kills {
        let mut command = if broken.join("config.toml").exists() {
            let mut command = program("host-train");
            command.args(["train", "--resume", "--out"]).arg(&broken);
            command
        } else {
            let _ = fs::remove_dir_all(&broken);
            train(&photos, &broken)
        };
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.expect("host-train runs");
        // Moments spread over a whole training, the first ones before the first checkpoint.
        let part = (u64::from(kill) * 7_919 + 131) % 997;
        std::thread::sleep(Duration::from_millis(
            took.as_millis() as u64 * part / 1_500,
        ));
        let _ = child.kill();
        child.wait().expect("the killed process is reaped");
    }
    let mut last = if broken.join("config.toml").exists() {
        let mut command = program("host-train");
        command.args(["train", "--resume", "--out"]).arg(&broken);
        command
    } else {
        let _ = fs::remove_dir_all(&broken);
        train(&photos, &broken)
    };
    let end = run(&mut last);
    assert_eq!(end.status, Some(0), "{}", end.stderr);
    assert!(
        result(&broken) == result(&whole),
        "other weights after {kills} kills"
    );
    let epochs = |run: &Path| {
        let metrics = fs::read_to_string(run.join("metrics.csv")).expect("metrics");
        let first = |line: &str| line.split(',').next().unwrap_or_default().to_owned();
        metrics.lines().map(first).collect::<Vec<_>>()
    };
    assert_eq!(epochs(&broken), epochs(&whole), "every epoch once");
}
