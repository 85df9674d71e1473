//! `cargo xtask bench`: our engine beside those that a user would take instead.

use std::path::PathBuf;
use std::process::Command;

use crate::stage::Stages;
use crate::{cargo, cross, emulated, install, root, run, target_dir};

/// What the other engines, and the making of the networks, need.
const PACKAGES: &[&str] = &[
    "ai-edge-litert",
    "flatbuffers",
    "ncnn",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
];
const MODULES: &str = "ai_edge_litert, flatbuffers, ncnn, numpy, onnx, onnxruntime, openvino";

pub(crate) fn run_bench(args: &[String]) -> Result<(), String> {
    match args.split_first() {
        Some((what, args)) if what == "inference" => inference(args),
        Some((what, args)) if what == "instructions" => instructions(args),
        Some((what, _)) => Err(format!(
            "no bench named '{what}': there are `inference` and `instructions`"
        )),
        None => Err("what is to be measured? `inference` or `instructions`".to_owned()),
    }
}

/// A script of the bench, in the environment of the other engines.
fn script(name: &str, stages: &mut Stages) -> Result<Command, String> {
    let python = stages.run("the other engines", || {
        let python = install::python_environment("bench", PACKAGES, MODULES)?;
        install::without_dependencies(&python, "pnnx")?;
        Ok(python)
    })?;
    let mut command = Command::new(&python);
    command
        .arg(root().join("xtask/bench").join(name))
        .arg("--folder")
        .arg(install::cache_dir().join("bench-networks"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

fn inference(args: &[String]) -> Result<(), String> {
    let mut stages = Stages::new("bench inference");
    stages.run("system packages", install::libclang)?;
    let mut script = script("inference.py", &mut stages)?;
    // The whole workspace, or tract would be compiled again with fewer features.
    let build = ["build", "--release", "--workspace", "--example", "bench"];
    stages.run("build (the first time compiles tract: minutes)", || {
        run(cargo(&build))
    })?;
    stages.run("run", || {
        run(script
            .arg("--program")
            .arg(target_dir().join("release/examples/bench"))
            .args(args))
    })?;
    stages.print();
    Ok(())
}

fn instructions(args: &[String]) -> Result<(), String> {
    let mut stages = Stages::new("bench instructions");
    stages.run("compiler for the boards", cross::tools)?;
    let mut script = script("instructions.py", &mut stages)?;
    let emulator = stages.run("an emulator that counts", emulated::Emulator::fetch)?;
    let board = stages.run("Python and the other engines for ARM", emulated::python)?;
    let program: PathBuf = stages.run(
        "build (the first time compiles tract: minutes)",
        cross::build_bench,
    )?;
    stages.run("run", || {
        run(script
            .arg("--root")
            .arg(&board)
            .arg("--emulator")
            .arg(&emulator.program)
            .arg("--libraries")
            .arg(&emulator.libraries)
            .arg("--plugin")
            .arg(&emulator.plugin)
            .arg("--program")
            .arg(&program)
            .args(args))
    })?;
    stages.print();
    Ok(())
}
