//! `cargo xtask cross` and `arm-test`: edge-runtime for 64-bit ARM boards, in one static file; the kernels'
//! tests on emulated ones.
//!
//! The GNU C library is linked in, so that the program runs on boards with older ones (2.31 on Jetson).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, install, output, run, target_dir};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Debian's packages of the C compiler and library that rustc links with.
const PACKAGES: &[&str] = &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];
const STATIC: &str = "target-feature=+crt-static";
const GCC: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";

/// Makes sure that there is a compiler for the boards.
pub(crate) fn tools() -> Result<(), String> {
    install::libclang()?;
    if !install::on_path(GCC) {
        install::debian_packages(PACKAGES)?;
    }
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if !Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(TARGET)
        .is_dir()
    {
        run(Command::new("rustup").args(["target", "add", TARGET]))?;
    }
    Ok(())
}

/// A cargo command that links for the boards.
fn linked(command: &mut Command) -> &mut Command {
    command
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", GCC)
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            format!("-C {STATIC}"),
        )
}

/// Builds the program; gives its path.
pub(crate) fn build() -> Result<PathBuf, String> {
    compile(&[], "edge-runtime")
}

/// Builds what `bench` runs, with the features of the program's dependencies.
pub(crate) fn build_bench() -> Result<PathBuf, String> {
    let example = ["--package", "inference", "--example", "bench"];
    compile(&example, "examples/bench")
}

fn compile(more: &[&str], file: &str) -> Result<PathBuf, String> {
    let include = "--target=aarch64-linux-gnu -I/usr/aarch64-linux-gnu/include";
    let mut build = cargo(&["build", "--release", "--package", "edge-runtime"]);
    run(linked(&mut build)
        .args(more)
        .args(["--target", TARGET])
        .env("CC_aarch64_unknown_linux_gnu", GCC)
        .env("AR_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-ar")
        .env(
            "BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu",
            include,
        ))?;
    Ok(target_dir().join(TARGET).join("release").join(file))
}

/// The CPUs that the kernels are tested on, and the instructions that each has.
const CPUS: [(&str, &str); 3] = [
    ("cortex-a72", "NEON"),
    ("cortex-a76", "NEON with dot product"),
    ("max", "NEON with i8mm"),
];

/// Makes sure that programs for the boards run here.
pub(crate) fn emulator() -> Result<(), String> {
    if install::on_path(EMULATOR) {
        return Ok(());
    }
    install::debian_packages(&["qemu-user"])
}

/// Runs the tests of the kernels on emulated CPUs.
pub(crate) fn test_kernels() -> Result<(), String> {
    for (cpu, instructions) in CPUS {
        run(
            linked(&mut cargo(&["test", "--release", "--package", "kernels"]))
                .args(["--target", TARGET])
                .env(
                    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
                    format!("{EMULATOR} -cpu {cpu}"),
                )
                .env("SORTLINE_ISA", instructions),
        )?;
    }
    Ok(())
}

/// The compiler itself, for a program of one file.
pub(crate) fn rustc() -> Command {
    let mut command = Command::new("rustc");
    command
        .args(["--target", TARGET, "-C", STATIC])
        .arg(format!("-Clinker={GCC}"));
    command
}

/// Says how large the program is and which libraries it wants from the board.
pub(crate) fn describe(program: &Path) -> Result<(), String> {
    let bytes = std::fs::metadata(program)
        .map_err(|error| format!("{}: {error}", program.display()))?
        .len();
    let dynamic = output(
        Command::new("aarch64-linux-gnu-readelf")
            .args(["--dynamic", "--wide"])
            .arg(program),
    )?;
    let needed: Vec<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .collect();
    println!("{}", program.display());
    println!("{:.1} MB", bytes as f64 / 1e6);
    if needed.is_empty() {
        println!("needs no libraries");
        return Ok(());
    }
    Err(format!("it is not static: it needs {}", needed.join(", ")))
}
