//! What counts instructions: QEMU with a plugin, and a board's Python with other engines in it.
//!
//! Nothing of it is installed. Newer QEMUs of Debian, which `vm-test` installs, take no plugins.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian::Archive;
use crate::{install, root, run};

/// QEMU and the libraries that it is linked with.
const EMULATOR: &[&str] = &[
    "qemu-user",
    "libcapstone4",
    "libffi8",
    "libglib2.0-0",
    "libgmp10",
    "libgnutls30",
    "libhogweed6",
    "libidn2-0",
    "libnettle8",
    "libnuma1",
    "libp11-kit0",
    "libpcre2-8-0",
    "libtasn1-6",
    "libunistring2",
    "liburing2",
    "zlib1g",
];

/// Python and the libraries that it and the engines are linked with.
const PYTHON: &[&str] = &[
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libssl3",
    "libstdc++6",
    "libuuid1",
    "python3.11-minimal",
    "zlib1g",
];

/// The engines, and what they import.
const WHEELS: &[&str] = &[
    "ai-edge-litert",
    "flatbuffers",
    "numpy",
    "onnxruntime",
    "packaging",
];

pub(crate) struct Emulator {
    pub(crate) program: PathBuf,
    /// The folder of its libraries.
    pub(crate) libraries: PathBuf,
    pub(crate) plugin: PathBuf,
}

impl Emulator {
    /// Downloads what is missing, and builds the plugin.
    pub(crate) fn fetch() -> Result<Self, String> {
        let folder = install::cache_dir().join("instructions");
        let files = folder.join("emulator");
        let program = files.join("usr/bin/qemu-aarch64");
        if !program.is_file() {
            Archive::open(folder.join("apt-amd64"), "amd64")?.unpack(EMULATOR, &files)?;
        }
        let plugin = folder.join("count.so");
        run(Command::new("cc")
            .args([
                "-O2",
                "-Wall",
                "-shared",
                "-fPIC",
                "-fvisibility=hidden",
                "-o",
            ])
            .arg(&plugin)
            .arg(root().join("xtask/bench/count.c")))?;
        let libraries = files.join("usr/lib/x86_64-linux-gnu");
        Ok(Self {
            program,
            libraries,
            plugin,
        })
    }
}

/// The root of a board's files, with the engines in `wheels`.
pub(crate) fn python() -> Result<PathBuf, String> {
    let folder = install::cache_dir().join("instructions");
    let board = folder.join("board");
    if !board.join("usr/bin/python3.11").is_file() {
        Archive::open(folder.join("apt-arm64"), "arm64")?.unpack(PYTHON, &board)?;
    }
    let wheels = board.join("wheels");
    if !wheels.join("onnxruntime").is_dir() {
        unpack_wheels(&wheels)?;
    }
    Ok(board)
}

fn unpack_wheels(folder: &Path) -> Result<(), String> {
    let platforms =
        ["2_17", "2_27", "2_28", "2_34"].map(|glibc| format!("manylinux_{glibc}_aarch64"));
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args([
            "--no-deps",
            "--only-binary=:all:",
            "--python-version",
            "3.11",
        ])
        .args(
            platforms
                .iter()
                .flat_map(|platform| ["--platform", platform]),
        )
        .arg("--target")
        .arg(folder)
        .args(WHEELS))
}
