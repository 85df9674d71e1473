//! `cargo xtask bench inference`: our engine beside those that a user would take instead.

use std::process::Command;

use crate::stage::Stages;
use crate::{cargo, install, root, run, target_dir};

/// What the other engines, and the making of the networks, need.
const PACKAGES: &[&str] = &[
    "ai-edge-litert",
    "flatbuffers",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
];
const MODULES: &str = "ai_edge_litert, flatbuffers, numpy, onnx, onnxruntime, openvino";

pub(crate) fn run_bench(args: &[String]) -> Result<(), String> {
    let [what, args @ ..] = args else {
        return Err("what is to be timed? `cargo xtask bench inference`".to_owned());
    };
    if what != "inference" {
        return Err(format!("no bench named '{what}': there is `inference`"));
    }
    let mut stages = Stages::new("bench inference");
    stages.run("system packages", install::libclang)?;
    let python = stages.run("the other engines", || {
        install::python_environment("bench", PACKAGES, MODULES)
    })?;
    // The whole workspace, or tract would be compiled again with fewer features.
    let build = ["build", "--release", "--workspace", "--example", "bench"];
    stages.run("build (the first time compiles tract: minutes)", || {
        run(cargo(&build))
    })?;
    stages.run("run", || {
        run(Command::new(&python)
            .arg(root().join("xtask/bench/inference.py"))
            .arg("--folder")
            .arg(install::cache_dir().join("bench-networks"))
            .arg("--program")
            .arg(target_dir().join("release/examples/bench"))
            .args(args)
            .env("PYTHONDONTWRITEBYTECODE", "1"))
    })?;
    stages.print();
    Ok(())
}
