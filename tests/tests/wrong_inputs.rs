//! What a new user gets wrong: each time one clear sentence that names the file, an exit status that
//! is not 0, and neither a panic nor a backtrace.

use std::fs;
use std::path::Path;

use tests::{program, root, run};

/// A folder with everything that can be wrong with a file.
fn wrong_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let bundle =
        fs::read(root().join("models/bundles/drawn-10.sortline")).expect("the demo bundle");
    fs::create_dir(at("empty")).expect("mkdir");
    fs::create_dir_all(at("textphotos/metal")).expect("mkdir");
    fs::write(at("textphotos/metal/can.jpg"), "this is no photo").expect("write");
    fs::create_dir_all(at("photos/metal")).expect("mkdir");
    for n in 0..4 {
        let photo = image::RgbImage::from_pixel(16, 16, image::Rgb([n * 60, 10, 10]));
        photo
            .save(at(&format!("photos/metal/{n}.png")))
            .expect("a photo");
    }
    fs::create_dir_all(at("photos/glass")).expect("mkdir");
    fs::write(at("labels.toml"), "name = \"broken\"\n[[items]]\nid = 7\n").expect("write");
    fs::write(at("text.jpg"), "this is no photo").expect("write");
    fs::write(at("text.sortline"), "this is no bundle").expect("write");
    fs::write(at("empty.sortline"), "").expect("write");
    fs::write(at("cut.sortline"), &bundle[..bundle.len() / 2]).expect("write");
    let mut flipped = bundle;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    fs::write(at("flipped.sortline"), flipped).expect("write");
    fs::write(at("weights.pth"), "these are no weights").expect("write");
    fs::write(at("board.toml"), "camera = 7\n").expect("write");
    folder
}

/// Runs `command_line` in the folder; its error must be one sentence that holds every one of `says`.
#[track_caller]
fn check(folder: &Path, command_line: &str, says: &[&str]) {
    let mut words = command_line.split_whitespace();
    let mut command = program(words.next().expect("a program"));
    let run = run(command.current_dir(folder).args(words));
    let told = format!("`{command_line}` printed:\n{}\n{}", run.stdout, run.stderr);
    assert!(
        run.status.is_some_and(|status| status != 0),
        "exit status {:?}. {told}",
        run.status
    );
    for word in ["panicked", "backtrace", "RUST_BACKTRACE"] {
        assert!(!run.stderr.contains(word), "{told}");
    }
    let all = format!("{}{}", run.stdout, run.stderr);
    for word in says {
        assert!(all.contains(word), "it does not say {word:?}. {told}");
    }
    let errors = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("error"))
        .count();
    let in_json = run.stdout.contains("\"error\"");
    assert!(errors == 1 || in_json, "{errors} lines of error. {told}");
}

#[test]
fn host_train_says_what_is_wrong() {
    let folder = wrong_files();
    let bundle = root().join("models/bundles/drawn-10.sortline");
    let bundle = bundle.display();
    let check = |line: &str, says: &[&str]| check(folder.path(), line, says);
    check(
        "host-train train --data nowhere --network mobilenet-v2 --out run",
        &["nowhere"],
    );
    check(
        "host-train train --data empty --network mobilenet-v2 --out run",
        &["empty"],
    );
    check(
        "host-train train --data textphotos --network mobilenet-v2 --out run",
        &["can.jpg"],
    );
    check(
        "host-train train --data photos --network mobilenet-v2 --out run",
        &["glass"],
    );
    check(
        "host-train train --data photos --network resnet-900 --out run",
        &["resnet-900", "mobilenet-v2", "efficientnet-lite0"],
    );
    check(
        "host-train train --data photos --network mobilenet-v2 --out run --labels labels.toml",
        &["labels.toml"],
    );
    check(
        "host-train train --data photos/metal --network mobilenet-v2 --out run --labels nowhere.toml",
        &["nowhere.toml"],
    );
    check(
        "host-train export --run nowhere --out x.sortline",
        &["nowhere"],
    );
    check("host-train export --run empty --out x.sortline", &["empty"]);
    check(
        "host-train evaluate --bundle nowhere.sortline --data photos",
        &["nowhere.sortline"],
    );
    check(
        "host-train evaluate --bundle text.sortline --data photos",
        &["text.sortline"],
    );
    check(
        "host-train evaluate --bundle cut.sortline --data photos",
        &["cut.sortline"],
    );
    check(
        "host-train evaluate --bundle flipped.sortline --data photos",
        &["flipped.sortline"],
    );
    check(
        "host-train evaluate --bundle empty.sortline --data photos",
        &["empty.sortline"],
    );
    check(
        &format!("host-train evaluate --bundle {bundle} --data nowhere"),
        &["nowhere"],
    );
    check(
        &format!("host-train evaluate --bundle {bundle} --data empty"),
        &["empty"],
    );
}

#[test]
fn host_train_refuses_weights_that_are_none() {
    let folder = wrong_files();
    fs::remove_dir(folder.path().join("photos/glass")).expect("rmdir");
    check(
        folder.path(),
        "host-train train --data photos --network efficientnet-lite0 --out run --pretrained weights.pth",
        &["weights.pth"],
    );
}

#[test]
fn edge_runtime_says_what_is_wrong() {
    let folder = wrong_files();
    let bundle = root().join("models/bundles/drawn-10.sortline");
    let bundle = bundle.display();
    let check = |line: &str, says: &[&str]| check(folder.path(), line, says);
    for name in [
        "nowhere.sortline",
        "text.sortline",
        "cut.sortline",
        "flipped.sortline",
    ] {
        check(
            &format!("edge-runtime classify --bundle {name} text.jpg"),
            &[name],
        );
        check(
            &format!("edge-runtime simulate --bundle {name} --items synthetic"),
            &[name],
        );
    }
    check(
        &format!("edge-runtime classify --bundle {bundle} text.jpg"),
        &["text.jpg"],
    );
    check(
        &format!("edge-runtime classify --bundle {bundle} nowhere.jpg"),
        &["nowhere.jpg"],
    );
    check(
        &format!("edge-runtime simulate --bundle {bundle} --items nowhere"),
        &["nowhere"],
    );
    check(
        &format!("edge-runtime simulate --bundle {bundle} --items empty"),
        &["empty"],
    );
    check(
        &format!("edge-runtime simulate --bundle {bundle} --rate 0"),
        &["rate"],
    );
    check(
        &format!("edge-runtime run --bundle {bundle} --board nowhere.toml"),
        &["nowhere.toml"],
    );
    check(
        &format!("edge-runtime run --bundle {bundle} --board board.toml"),
        &["board.toml"],
    );
}

#[test]
fn a_photo_that_is_none_does_not_stop_the_others() {
    let folder = wrong_files();
    let mut classify = program("edge-runtime");
    classify
        .current_dir(&folder)
        .arg("classify")
        .arg("--bundle");
    classify.arg(root().join("models/bundles/drawn-10.sortline"));
    classify.args(["photos/metal/0.png", "text.jpg", "photos/metal/1.png"]);
    let run = run(&mut classify);
    assert_eq!(run.status, Some(1), "{}", run.stderr);
    let lines: Vec<serde_json::Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 3, "{}", run.stdout);
    assert!(lines[0]["result"].is_string() && lines[2]["result"].is_string());
    assert!(
        lines[1]["error"]
            .as_str()
            .is_some_and(|error| !error.is_empty())
    );
    assert_eq!(lines[1]["file"], "text.jpg");
}

#[test]
fn run_on_a_machine_without_the_devices_drives_nothing() {
    let folder = wrong_files();
    let board = fs::read_to_string(root().join("boards/profiles/raspberry-pi-4.toml"));
    let board = board.expect("the profile").replace("/dev/", "/dev/absent-");
    fs::write(folder.path().join("pi.toml"), board).expect("write");
    let bundle = root().join("models/bundles/drawn-10.sortline");
    check(
        folder.path(),
        &format!(
            "edge-runtime run --board pi.toml --bundle {}",
            bundle.display()
        ),
        &["pi.toml"],
    );
}

#[test]
fn detect_says_what_is_wrong() {
    let folder = wrong_files();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("truth.json"), "{}").expect("write");
    fs::create_dir(at("mixed")).expect("mkdir");
    for (name, side) in [("a.png", 16), ("b.png", 20)] {
        let frame = image::RgbImage::new(side, side);
        frame.save(at("mixed").join(name)).expect("a frame");
    }
    let check = |options: &str, says: &[&str]| {
        let line = format!("edge-runtime detect --mm-per-px 1 --frames {options}");
        check(folder.path(), &line, says);
    };
    check("nowhere", &["nowhere"]);
    check("empty", &["empty"]);
    check("textphotos/metal", &["can.jpg"]);
    check("mixed", &["b.png", "20x20", "16x16"]);
    check("text.jpg", &["text.jpg", "neither", "ffmpeg"]);
    let video = "YUV4MPEG2 W2 H2 Cmono\nFRAME\n1234FRAME\n12";
    fs::write(at("cut.y4m"), video).expect("write");
    check("cut.y4m", &["cut.y4m", "000002.png", "cut short"]);
    check("cut.y4m --truth truth.json", &["--truth", "folder"]);
    check("photos/metal --learn empty", &["empty"]);
    check("photos/metal --truth nowhere.json", &["nowhere.json"]);
    check("photos/metal --truth text.jpg", &["text.jpg", "Annotator"]);
    check(
        "photos/metal --truth truth.json",
        &["0.png", "not annotated"],
    );
    check(
        "photos/metal --belt-area 0,0,17,9",
        &["--belt-area", "16x16"],
    );
    check("photos/metal --belt-area 9,0,3,9", &["x0 < x1"]);
    check("photos/metal --min-area-mm2 0", &["above 0"]);
}
