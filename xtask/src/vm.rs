//! `cargo xtask vm-test`: edge-runtime with the kernel's own test devices, in a virtual machine.
//!
//! Debian's arm64 kernel boots in QEMU with `vivid` as the camera and `gpio-sim` as the GPIO chip. The
//! machine's init is `tests/vm/init.sh`: it makes every check and says `ok` or `FAILED` on the console. At last it makes
//! way for Debian's systemd, under which `tests/vm/systemd.sh` makes the rest.

mod systemd;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::debian::Archive;
use crate::{cross, install, output, root, run, target_dir};

const QEMU: &str = "qemu-system-aarch64";
/// Ends a machine that hangs.
const LONGEST_S: &str = "1800";
/// Modules, besides what they need themselves.
const MODULES: &[&str] = &["vivid", "configfs", "gpio-sim", "softdog"];
/// Programs of the C tool chain and of the kernel's build.
const TOOLS: &[(&str, &str)] = &[
    ("kmod", "kmod"),
    ("cpio", "cpio"),
    ("make", "make"),
    ("xz", "xz-utils"),
];

/// Makes sure that QEMU and what builds a kernel module is there.
pub(crate) fn tools() -> Result<(), String> {
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _)| !install::on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        install::debian_packages(&missing)?;
    }
    if install::on_path(QEMU) {
        return Ok(());
    }
    // Where newer QEMU tools are installed, only Debian's backports have the machine that goes with them.
    install::debian_packages(&["qemu-system-arm"])
        .or_else(|_| install::debian_backports(&["qemu-system-arm"]))
}

/// The kernel with its modules, gpio-sim among them; made once per version of the kernel.
pub(crate) struct Kernel {
    folder: PathBuf,
    version: String,
}

impl Kernel {
    /// Fetches the kernel and builds the module that Debian leaves out.
    pub(crate) fn fetch() -> Result<Self, String> {
        let work = install::cache_dir().join("vm");
        let folder = work.join("kernel");
        let done = work.join("complete");
        if let Ok(version) = std::fs::read_to_string(&done) {
            return Ok(Self { folder, version });
        }
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let board = Archive::open(work.join("apt-arm64"), "arm64")?;
        let image = board.dependency("linux-image-arm64", "linux-image-6")?;
        let version = image.trim_start_matches("linux-image-").to_owned();
        let headers = format!("linux-headers-{version}");
        let common = board.dependency(&headers, "linux-headers-")?;
        let series: String = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        eprintln!("fetching Linux {version} (210 MB)");
        board.unpack(&["busybox-static", &image, &headers, &common], &folder)?;
        let here = Archive::open(work.join("apt-host"), "amd64")?;
        let (build, source) = (
            format!("linux-kbuild-{series}"),
            format!("linux-source-{series}"),
        );
        here.unpack(&[&build, &source], &folder)?;
        let kernel = Self { folder, version };
        kernel.build_gpio_sim(&series)?;
        std::fs::write(done, &kernel.version).map_err(|e| e.to_string())?;
        Ok(kernel)
    }

    /// Builds gpio-sim outside of the kernel's tree, with the interrupt simulator that it needs.
    fn build_gpio_sim(&self, series: &str) -> Result<(), String> {
        let sources = self.folder.join("usr/src");
        let name = format!("linux-source-{series}");
        let files = [
            "drivers/gpio/gpio-sim.c",
            "drivers/gpio/gpiolib.h",
            "kernel/irq/irq_sim.c",
        ];
        let archive = sources.join(format!("{name}.tar.xz"));
        run(Command::new("tar")
            .current_dir(&sources)
            .arg("--extract")
            .arg("--file")
            .arg(&archive)
            .args(files.map(|file| format!("{name}/{file}"))))?;
        std::fs::remove_file(archive).map_err(|e| e.to_string())?;
        let work = self.folder.join("gpio-sim");
        std::fs::create_dir_all(&work).map_err(|e| e.to_string())?;
        let read = |file: &str| {
            std::fs::read_to_string(sources.join(&name).join(file)).map_err(|e| e.to_string())
        };
        // The kernel does not export the table of its interrupts to modules, but how to raise one.
        let interrupts = read(files[2])?.replace(
            "handle_simple_irq(irq_to_desc(irqnum))",
            "generic_handle_irq(irqnum)",
        );
        let written = [
            ("chip.c", read(files[0])?),
            ("gpiolib.h", read(files[1])?),
            ("interrupts.c", interrupts),
            (
                "Makefile",
                "obj-m := gpio-sim.o\ngpio-sim-y := chip.o interrupts.o\n".to_owned(),
            ),
        ];
        for (file, text) in written {
            std::fs::write(work.join(file), text).map_err(|e| e.to_string())?;
        }
        // Debian's headers name each other by their place in an installed system.
        let headers = sources.join(format!("linux-headers-{}", self.version));
        let makefile = headers.join("Makefile");
        let text = std::fs::read_to_string(&makefile).map_err(|e| e.to_string())?;
        let text = text.replace("/usr/src/", &format!("{}/", sources.display()));
        std::fs::write(makefile, text).map_err(|e| e.to_string())?;
        run(Command::new("make")
            .arg("-C")
            .arg(headers)
            .arg(format!("M={}", work.display()))
            .args([
                "ARCH=arm64",
                "CROSS_COMPILE=aarch64-linux-gnu-",
                "CC=aarch64-linux-gnu-gcc",
                "modules",
            ])
            .stdout(Stdio::null()))?;
        let modules = self.folder.join("lib/modules").join(&self.version);
        let place = modules.join("kernel/drivers/gpio/gpio-sim.ko");
        std::fs::copy(work.join("gpio-sim.ko"), place).map_err(|e| e.to_string())?;
        run(Command::new("depmod")
            .arg("-b")
            .arg(&self.folder)
            .arg(&self.version))
    }

    /// Packs what the machine starts from: a shell, the modules, and our program with its files.
    pub(crate) fn pack(&self, program: &Path) -> Result<PathBuf, String> {
        let files = target_dir().join("vm/files");
        let image = files.with_extension("cpio.gz");
        let _ = std::fs::remove_dir_all(&files);
        for folder in ["bin", "dev", "proc", "sys", "config", "modules"] {
            std::fs::create_dir_all(files.join(folder)).map_err(|e| e.to_string())?;
        }
        let place = |from: PathBuf, to: &str| {
            std::fs::copy(&from, files.join(to))
                .map(drop)
                .map_err(|e| format!("{}: {e}", from.display()))
        };
        place(self.folder.join("bin/busybox"), "bin/busybox")?;
        place(program.to_owned(), "bin/edge-runtime")?;
        run(cross::rustc()
            .arg(root().join("tests/vm/probe.rs"))
            .args(["--edition", "2024", "-O", "-o"])
            .arg(files.join("bin/probe")))?;
        place(root().join("tests/vm/init.sh"), "init")?;
        place(root().join("tests/vm/checks.sh"), "checks.sh")?;
        place(root().join("boards/profiles/qemu-virt.toml"), "board.toml")?;
        place(
            root().join("models/bundles/drawn-10.sortline"),
            "bundle.sortline",
        )?;
        run(Command::new("chmod").arg("755").arg(files.join("init")))?;
        let mut order = Vec::new();
        for module in MODULES {
            let list = output(Command::new("modprobe").arg("-d").arg(&self.folder).args([
                "-S",
                &self.version,
                "--show-depends",
                module,
            ]))?;
            for path in list.lines().filter_map(|line| line.strip_prefix("insmod ")) {
                let path = PathBuf::from(path.split(' ').next().unwrap_or(path));
                let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                    continue;
                };
                if !order.contains(&name.to_owned()) {
                    order.push(name.to_owned());
                    place(path.clone(), &format!("modules/{name}"))?;
                }
            }
        }
        std::fs::write(files.join("modules/order"), order.join("\n") + "\n")
            .map_err(|e| e.to_string())?;
        systemd::pack(&files.join("systemd"))?;
        let pack = "find . | cpio --create --format=newc --quiet | gzip -1 > \"$0\"";
        run(Command::new("sh")
            .current_dir(&files)
            .args(["-c", pack])
            .arg(&image))?;
        Ok(image)
    }

    /// Runs all checks, and once more if some fail: those that measure times do on a host that is busy with
    /// something else, while a fault of ours is there again.
    pub(crate) fn check(&self, image: &Path) -> Result<(), String> {
        self.boot(image).or_else(|first| {
            println!("{first}\nonce more, as a busy host makes checks of times fail");
            let again = |second| format!("{first}; once more: {second}");
            self.boot(image).map_err(again)
        })
    }

    /// Boots the machine and waits for its verdict.
    fn boot(&self, image: &Path) -> Result<(), String> {
        let kernel = self
            .folder
            .join("boot")
            .join(format!("vmlinuz-{}", self.version));
        let mut machine = Command::new("timeout")
            .args(["--kill-after=5", LONGEST_S, QEMU])
            .args([
                "-M",
                "virt",
                "-cpu",
                "cortex-a72",
                "-smp",
                "2",
                "-m",
                "1024",
            ])
            .args([
                "-nodefaults",
                "-nographic",
                "-no-reboot",
                "-serial",
                "stdio",
            ])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(image)
            .args(["-append", "console=ttyAMA0 quiet panic=-1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{QEMU} cannot be started: {error}"))?;
        let console = machine.stdout.take().ok_or("the machine has no console")?;
        let (mut passed, mut failed, mut ended) = (0, Vec::new(), false);
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            println!("{line}");
            passed += usize::from(line.starts_with("ok "));
            ended |= line == "the end";
            failed.extend(line.strip_prefix("FAILED ").map(str::to_owned));
        }
        let status = machine.wait().map_err(|e| e.to_string())?;
        if !ended {
            return Err(format!("the machine did not come to its end ({status})"));
        }
        if passed == 0 || !failed.is_empty() {
            return Err(format!(
                "{passed} checks passed; failed: {}",
                failed.join("; ")
            ));
        }
        println!("{passed} checks passed");
        Ok(())
    }
}
