//! The program as a user meets it: runs that are killed and resumed, and wrong inputs.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use image::{Rgb, RgbImage};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

const ITEMS: [&str; 3] = ["metal/can", "metal/foil", "paper/box"];

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_host-train"))
}

/// Photos of three kinds of things: a disc, a bar, a frame, in changing places.
fn photos(folder: &Path, per_item: u32) {
    for (kind, item) in ITEMS.iter().enumerate() {
        let folder = folder.join(item);
        std::fs::create_dir_all(&folder).unwrap();
        for n in 0..per_item {
            let (cx, cy) = (12 + (n * 7) % 16, 12 + (n * 5) % 16);
            let photo = RgbImage::from_fn(40, 40, |x, y| {
                let (dx, dy) = (x.abs_diff(cx), y.abs_diff(cy));
                let inside = match kind {
                    0 => dx * dx + dy * dy < 64,
                    1 => dx < 3,
                    _ => dx.max(dy) < 9 && dx.max(dy) > 5,
                };
                let shade = ((x * 3 + y * 5 + n * 11) % 40) as u8;
                if inside {
                    Rgb([40 + shade, 60, 200 - shade])
                } else {
                    Rgb([230, 225 - shade, 220])
                }
            });
            photo.save(folder.join(format!("{n}.png"))).unwrap();
        }
    }
}

fn train(data: &Path, out: &Path, resume: bool) -> Command {
    let mut command = program();
    command
        .arg("train")
        .arg("--data")
        .arg(data)
        .arg("--out")
        .arg(out);
    command.args([
        "--network",
        "mobilenet-v2-0.35",
        "--input-size",
        "32",
        "--epochs",
        "4",
    ]);
    command.args([
        "--batch",
        "8",
        "--seed",
        "3",
        "--threads",
        "2",
        "--workers",
        "2",
    ]);
    command.args(resume.then_some("--resume"));
    command.stdout(Stdio::null());
    command
}

/// The network after the last epoch, as the bytes of its ONNX.
fn last_network(run: &Path) -> Vec<u8> {
    let onnx = run.with_extension("onnx");
    let output = program()
        .arg("export")
        .arg("--run")
        .arg(run)
        .arg("--out")
        .arg(run.with_extension("sortline"))
        .arg("--onnx")
        .arg(&onnx)
        .args(["--checkpoint", "last"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    std::fs::read(onnx).unwrap()
}

/// `metrics.csv` without the column that is time.
fn metrics(run: &Path) -> Vec<String> {
    let table = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    table
        .lines()
        .map(|line| line.rsplit_once(',').unwrap().0.to_owned())
        .collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Settings with a state of their own, and all that draws random numbers.
const EVERYTHING: [&str; 28] = [
    "--optimizer",
    "nadam",
    "--full-schedule",
    "plateau",
    "--full-plateau-patience",
    "0",
    "--full-ema",
    "0.9",
    "--full-clip-norm",
    "1",
    "--full-balance",
    "sampling",
    "--full-thaw-epochs",
    "1",
    "--full-stage-decay",
    "0.5",
    "--augment-rotation",
    "0.5",
    "--augment-belt",
    "0.5",
    "--augment-jpeg",
    "0.5",
    "--augment-mixup",
    "0.4",
    "--augment-cutmix",
    "0.4",
    "--augment-erase",
    "0.5",
];

#[test]
fn a_run_killed_at_any_moment_ends_like_one_left_alone() {
    check_killed(&[], 4);
}

#[test]
fn so_does_one_with_every_setting() {
    check_killed(&EVERYTHING, 4);
}

#[test]
fn so_does_one_that_tunes_what_comes_after_a_frozen_node() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    std::fs::write(&weights, random_weights("mobilenet-v2-0.35")).unwrap();
    let weights = weights.to_str().unwrap();
    let settings = [
        "--pretrained",
        weights,
        "--freeze",
        "stage4",
        "--finetune-epochs",
        "2",
    ];
    // The classifier, what comes after the node, the classifier again.
    check_killed(&settings, 4 + 2 + 4);
}

/// Weights under our own names, as safetensors.
fn random_weights(network: &str) -> Vec<u8> {
    let graph = models::zoo::build(network, ITEMS.len(), Some(32)).unwrap();
    let weights = models::reference::random_weights(&graph, 1).unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, tensor) in weights {
        let begin = data.len();
        data.extend(tensor.data.iter().flat_map(|value| value.to_le_bytes()));
        let entry = serde_json::json!({
            "dtype": "F32", "shape": tensor.shape, "data_offsets": [begin, data.len()],
        });
        header.insert(name, entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

#[track_caller]
fn check_killed(settings: &[&str], epochs: usize) {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("photos");
    photos(&data, 10);
    let alone = temp.path().join("alone");
    assert!(
        train(&data, &alone, false)
            .args(settings)
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let killed = temp.path().join("killed");
    let mut runner = TestRunner::deterministic();
    let mut kills = 0;
    loop {
        let wait = (5u64..900).new_tree(&mut runner).unwrap().current();
        let mut child = train(&data, &killed, true)
            .args(settings)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A late round is left alone, so that the test ends however slow the machine is.
        let status = if kills < 12 {
            std::thread::sleep(Duration::from_millis(wait));
            child.try_wait().unwrap()
        } else {
            Some(child.wait().unwrap())
        };
        match status {
            Some(status) => {
                assert!(status.success(), "after {kills} kills");
                break;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
        }
    }
    println!("{kills} kills");
    assert_eq!(metrics(&killed), metrics(&alone));
    assert_eq!(metrics(&killed).len(), 1 + epochs);
    assert!(
        last_network(&killed) == last_network(&alone),
        "the weights differ"
    );
    let left: Vec<PathBuf> = walk(&killed).into_iter().filter(|p| hidden(p)).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn checkpoints(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = walk(&run.join("checkpoints"))
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_full_disk_is_said_and_leaves_what_was_saved() {
    let temp = tempfile::tempdir().unwrap();
    let (data, out) = (temp.path().join("photos"), temp.path().join("run"));
    photos(&data, 4);
    // Many epochs, and a kill after the first checkpoint.
    let mut command = program();
    let base = train(&data, &out, false);
    let mut args: Vec<_> = base.get_args().map(ToOwned::to_owned).collect();
    let place = args.iter().position(|arg| arg == "--epochs").unwrap();
    args[place + 1] = "100000".into();
    let mut child = command.args(&args).stderr(Stdio::null()).spawn().unwrap();
    let has_saved = || {
        let names = std::fs::read_dir(out.join("checkpoints")).ok();
        let mut names = names
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name());
        names.any(|name| name.to_string_lossy().starts_with("epoch-"))
    };
    while !has_saved() {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let whole = |files: Vec<(String, Vec<u8>)>| -> Vec<(String, Vec<u8>)> {
        files
            .into_iter()
            .filter(|(name, _)| !name.starts_with('.'))
            .collect()
    };
    let before = whole(checkpoints(&out));
    // No file may be longer than 64 KiB: as on a full disk, a write fails halfway.
    let script = "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\"";
    let mut limited = Command::new("sh");
    limited.args(["-c", script, env!("CARGO_BIN_EXE_host-train")]);
    limited.args(["train", "--resume", "--out"]).arg(&out);
    check_refused(
        limited,
        &["checkpoints", "no room", "was saved before is whole"],
    );
    assert!(checkpoints(&out) == before, "the checkpoints changed");
    last_network(&out);
}

#[test]
fn checkpoints_tell_epoch_and_accuracy() {
    let temp = tempfile::tempdir().unwrap();
    let (data, out) = (temp.path().join("photos"), temp.path().join("run"));
    photos(&data, 6);
    let output = train(&data, &out, false)
        .args(["--keep-last", "1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let names: Vec<String> = checkpoints(&out)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let [best, last] = names.as_slice() else {
        panic!("{names:?}");
    };
    assert!(
        best.starts_with("best-epoch-000") && best.contains("-acc-"),
        "{best}"
    );
    let row = metrics(&out).pop().unwrap();
    let accuracy: f64 = row.split(',').nth(6).unwrap().parse().unwrap();
    assert_eq!(*last, format!("epoch-0004-acc-{accuracy:.4}.ckpt"));
    let events = out.join("tensorboard/events.out.tfevents.0.sortline");
    assert!(events.metadata().unwrap().len() > 4 * 100);
}

fn hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn threads_and_workers_do_not_change_the_result() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("photos");
    photos(&data, 6);
    let run = |name: &str, threads: &str| {
        let out = temp.path().join(name);
        let mut command = train(&data, &out, false);
        command.args(EVERYTHING);
        // The last of two equal options counts... so these are a command of their own.
        command = {
            let mut changed = program();
            let kept: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let mut kept = kept.into_iter();
            while let Some(arg) = kept.next() {
                if arg == "--threads" || arg == "--workers" {
                    kept.next();
                    changed.arg(arg).arg(threads);
                } else {
                    changed.arg(arg);
                }
            }
            changed
        };
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        last_network(&out)
    };
    assert!(run("one", "1") == run("three", "3"));
}

/// The program fails with one message that contains all of `expect`, and does not panic.
#[track_caller]
fn check_refused(mut command: Command, expect: &[&str]) {
    let output = command.output().unwrap();
    let message = text(&output);
    assert!(!output.status.success(), "{message}");
    for part in expect {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(
        message.contains("error: ") && !message.contains("panicked"),
        "{message}"
    );
}

#[test]
fn wrong_inputs_are_refused_in_one_sentence() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name);
    let data = path("photos");
    photos(&data, 3);
    let change = |wanted: &str, value: &Path| {
        let mut command = program();
        let base = train(&data, &path("run"), false);
        let mut args = base.get_args();
        while let Some(arg) = args.next() {
            command.arg(arg);
            if arg == wanted {
                args.next();
                command.arg(value);
            }
        }
        command
    };
    check_refused(change("--data", &path("nowhere")), &["nowhere"]);
    std::fs::create_dir(path("empty")).unwrap();
    check_refused(change("--data", &path("empty")), &["empty"]);
    check_refused(
        change("--network", Path::new("resnet-9000")),
        &["resnet-9000", "mobilenet-v2"],
    );
    check_refused(change("--input-size", Path::new("7")), &["7"]);
    check_refused(change("--batch", Path::new("0")), &["batch"]);

    let garbage = path("garbage.pth");
    std::fs::write(&garbage, [0x80, 2, b'}', b'q', 0, 0xff, 3, 1, 2, 3]).unwrap();
    for name in [
        "garbage.pth",
        "garbage.whl",
        "garbage.safetensors",
        "missing.pth",
    ] {
        if name != "missing.pth" {
            std::fs::copy(&garbage, path(name)).ok();
        }
        let mut command = train(&data, &path(&format!("run-{name}")), false);
        command.arg("--pretrained").arg(path(name));
        check_refused(command, &[name]);
        assert!(!path(&format!("run-{name}")).exists(), "a run was begun");
    }

    std::fs::create_dir(path("mine")).unwrap();
    std::fs::write(path("mine/thesis.txt"), "all my work").unwrap();
    check_refused(train(&data, &path("mine"), false), &["mine"]);
    check_refused(train(&data, &path("mine"), true), &["mine"]);
    assert!(path("mine/thesis.txt").exists());

    std::fs::write(data.join("paper/box/text.jpg"), "this is no picture").unwrap();
    let mut names = vec!["text.jpg".to_owned()];
    for n in 0..9 {
        names.push(format!("cut{n}.png"));
        let file = data.join("metal/can").join(&names[n + 1]);
        std::fs::write(file, [0x89, b'P', b'N', b'G']).unwrap();
    }
    // Whether they would be trained or validated on.
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    check_refused(train(&data, &path("run"), false), &names);

    let mut export = program();
    export
        .arg("export")
        .arg("--run")
        .arg(path("none"))
        .arg("--out")
        .arg(path("x.sortline"));
    check_refused(export, &["none"]);
}

#[test]
fn a_begun_run_is_neither_overwritten_nor_shared_nor_resumed_differently() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("photos");
    photos(&data, 4);
    let out = temp.path().join("run");
    assert!(
        train(&data, &out, false)
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    check_refused(train(&data, &out, false), &["--resume"]);
    let mut other = program();
    other
        .args(["train", "--resume", "--seed", "4", "--out"])
        .arg(&out);
    check_refused(other, &["seed = 3", "seed = 4"]);
    let lock = std::fs::File::create(out.join("lock")).unwrap();
    lock.lock().unwrap();
    check_refused(train(&data, &out, true), &["another process"]);
    drop(lock);
    std::fs::write(
        data.join("metal/can/new.png"),
        std::fs::read(data.join("metal/can/0.png")).unwrap(),
    )
    .unwrap();
    check_refused(train(&data, &out, true), &["changed"]);
}

#[test]
fn a_stage_that_gives_up_is_finished() {
    let temp = tempfile::tempdir().unwrap();
    let (data, out) = (temp.path().join("photos"), temp.path().join("run"));
    photos(&data, 4);
    let settings = [
        "--full-lr",
        "1e-12",
        "--full-norm-momentum",
        "0",
        "--full-patience",
        "2",
    ];
    for resume in [false, true] {
        let output = train(&data, &out, resume).args(settings).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        // The first epoch was the best; two more were waited for, the fourth is left out.
        assert_eq!(metrics(&out).len(), 1 + 3);
    }
    last_network(&out);
}

#[test]
fn a_config_file_says_what_options_say() {
    let temp = tempfile::tempdir().unwrap();
    let (data, out) = (temp.path().join("photos"), temp.path().join("run"));
    let printed = |command: &mut Command| {
        let output = command.arg("--print-config").output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let by_options = printed(
        train(&data, &out, false)
            .stdout(Stdio::piped())
            .args(EVERYTHING),
    );
    assert!(by_options.contains("optimizer = \"nadam\""), "{by_options}");
    let file = temp.path().join("config.toml");
    std::fs::write(&file, &by_options).unwrap();
    let by_file = |option: &[&str]| {
        printed(
            program()
                .args(["train", "--out", "nowhere", "--config"])
                .arg(&file)
                .args(option),
        )
    };
    assert_eq!(by_file(&[]), by_options);
    // Options count more than the file.
    let other = by_file(&["--full-ema", "0.5"]);
    assert_eq!(other, by_options.replace("ema = 0.9", "ema = 0.5"));
    assert!(!out.exists() && !Path::new("nowhere").exists());
}
