//! The guardian as a process, with files in the place of PWM channels; with GPIO lines: `cargo xtask vm-test`.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::NamedTempFile;
use tests::program;

/// A guardian of a servo whose safe pulse is 1.5 ms, reading from `input`, a command of the shell.
fn shell(script: &str, servo: &NamedTempFile) -> Command {
    let program = program("edge-runtime");
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .env("GUARD", program.get_program())
        .env("SERVO", servo.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn guardian(servo: &NamedTempFile) -> Child {
    let script = r#"exec 3>"$SERVO"; exec "$GUARD" guard "pulse:3:1500000:gate a""#;
    shell(script, servo).spawn().unwrap()
}

fn written(servo: &NamedTempFile) -> String {
    std::fs::read_to_string(servo.path()).unwrap()
}

/// Says what it is told, then closes the pipe; what the guardian says to that.
fn told(words: &[u8], servo: &NamedTempFile) -> String {
    let mut guardian = guardian(servo);
    let mut pipe = guardian.stdin.take().unwrap();
    pipe.write_all(words).unwrap();
    drop(pipe);
    assert!(guardian.wait().unwrap().success());
    let mut said = String::new();
    guardian.stderr.unwrap().read_to_string(&mut said).unwrap();
    said
}

#[test]
fn a_program_that_dies_leaves_safe_outputs() {
    let servo = NamedTempFile::new().unwrap();
    let said = told(b"...", &servo);
    assert!(said.contains("the program has died"), "{said}");
    assert_eq!(written(&servo), "1500000\n");
}

#[test]
fn a_program_that_ends_leaves_them_too_and_nothing_is_said() {
    let servo = NamedTempFile::new().unwrap();
    assert_eq!(told(b"..e", &servo), "");
    assert_eq!(written(&servo), "1500000\n");
}

#[test]
fn what_ends_other_programs_does_not_end_the_guardian() {
    let servo = NamedTempFile::new().unwrap();
    let mut guardian = guardian(&servo);
    std::thread::sleep(Duration::from_millis(300));
    for signal in ["TERM", "INT", "HUP"] {
        let mut kill = Command::new("kill");
        kill.args(["-s", signal, &guardian.id().to_string()]);
        assert!(kill.status().unwrap().success());
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(guardian.try_wait().unwrap().is_none());
    assert_eq!(written(&servo), "", "nothing has happened to the program");
    drop(guardian.stdin.take());
    assert!(guardian.wait().unwrap().success());
    assert_eq!(written(&servo), "1500000\n");
}

#[test]
fn a_program_that_hangs_is_killed() {
    let servo = NamedTempFile::new().unwrap();
    // The shell is the guardian's parent; what it should say all the time is said once.
    let script = r#"
        exec 3>"$SERVO"
        { printf .; exec sleep 4; } | { exec "$GUARD" guard "pulse:3:1500000:gate a"; } &
        wait
        sleep 60"#;
    let output = shell(script, &servo).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has hung for"), "{said}");
    assert_eq!(output.status.code(), None, "a signal ended it");
    assert_eq!(written(&servo), "1500000\n");
}
