//! What `doctor` and `exercise` say where there are no devices; with devices: `cargo xtask vm-test`.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tests::{Run, program, root, run};

/// A board that no machine has.
fn board(folder: &TempDir) -> PathBuf {
    let profile = root().join("boards/profiles/raspberry-pi-4.toml");
    let text = std::fs::read_to_string(profile).unwrap();
    let text = text
        .replace("/dev/v4l/by-id/", "/dev/no-such-folder/")
        .replace("GPIO", "NO-SUCH-");
    let file = folder.path().join("board.toml");
    std::fs::write(&file, text).unwrap();
    file
}

fn exercise(args: &[&str], answer: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let mut child = program("edge-runtime")
        .args(["exercise", "--board"])
        .arg(board(&folder))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that did not ask has gone already.
    let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
    child.wait_with_output().unwrap().into()
}

#[test]
fn doctor_names_every_part_that_is_missing_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(program("edge-runtime")
        .args(["doctor", "--board"])
        .arg(board(&folder)));
    assert_eq!(run.status, Some(1), "{run:?}");
    for part in [
        "FAULT  camera /dev/no-such-folder",
        "NO-SUCH-17",
        "NO-SUCH-27",
        "NO-SUCH-22",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    assert!(
        run.stderr.contains("board.toml: 4 faults"),
        "{}",
        run.stderr
    );
}

#[test]
fn exercise_refuses_what_the_board_does_not_allow() {
    let unknown = exercise(&["--gate", "garden", "--yes"], "");
    assert_eq!(unknown.status, Some(1));
    assert!(
        unknown.stderr.contains("recyclable, kitchen, harmful"),
        "{unknown:?}"
    );
    let long = exercise(&["--gate", "kitchen", "--on-ms", "801", "--yes"], "");
    assert_eq!(long.status, Some(1));
    assert!(long.stderr.contains("1 to 800 ms"), "{long:?}");
}

#[test]
fn exercise_warns_and_moves_nothing_without_a_yes() {
    for answer in ["", "no\n", "y\n"] {
        let run = exercise(&["--gate", "kitchen"], answer);
        assert_eq!(run.status, Some(1));
        assert!(run.stdout.contains("Hands and tools away"), "{run:?}");
        assert!(run.stderr.contains("nothing was moved"), "{run:?}");
    }
    let run = exercise(&["--gate", "kitchen"], "yes\n");
    assert!(
        run.stderr.contains("NO-SUCH-27"),
        "it went on to the line: {run:?}"
    );
}

#[test]
fn the_services_commands_are_understood() {
    let unit = std::fs::read_to_string(root().join("boards/systemd/sortline.service")).unwrap();
    let commands: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Exec")?.split_once('='))
        .map(|(_, command)| command)
        .collect();
    assert_eq!(commands.len(), 2, "to sort, and to switch off: {unit}");
    for command in commands {
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some("/usr/local/bin/edge-runtime"));
        let words = words.map(|word| word.replace("/etc/sortline/", "/no/such/folder/"));
        let run = run(program("edge-runtime").args(words));
        assert_eq!(run.status, Some(1), "not 2, which is wrong usage: {run:?}");
        assert!(run.stderr.contains("/no/such/folder/"), "{run:?}");
    }
}

#[test]
fn off_inputs_and_calibrate_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let board = board(&folder);
    let on_board = |command: &str| {
        run(program("edge-runtime")
            .args([command, "--board"])
            .arg(&board))
    };
    let off = on_board("off");
    assert_eq!(off.status, Some(1));
    for line in ["NO-SUCH-17", "NO-SUCH-27", "NO-SUCH-22"] {
        assert!(off.stderr.contains(line), "{line}: {off:?}");
    }
    let inputs = on_board("inputs");
    assert!(
        inputs.stderr.contains("the board has no inputs"),
        "{inputs:?}"
    );
    let calibrate = on_board("calibrate");
    assert!(
        calibrate.stderr.contains("/dev/no-such-folder"),
        "{calibrate:?}"
    );
}
