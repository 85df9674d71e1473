//! Debian's systemd for the virtual machine, unpacked and not installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian::Archive;
use crate::{install, root, run};

/// What goes into the machine, of all that the packages bring.
const FOLDERS: &[&str] = &["bin", "lib", "sbin", "usr/bin", "usr/lib", "usr/sbin"];
/// The machine's own files: users, the unit that makes the checks, and no first start that asks questions.
const FILES: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0::/:/bin/sh\nsortline:x:990:990::/:/bin/false\n",
    ),
    (
        "etc/group",
        "root:x:0:\nvideo:x:44:\ngpio:x:991:\nsortline:x:990:\n",
    ),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    (
        "etc/systemd/system/checks.service",
        "[Unit]\nFailureAction=poweroff-immediate\n[Service]\nType=oneshot\nExecStart=/bin/busybox sh /systemd.sh\nTimeoutStartSec=infinity\n\
         StandardOutput=tty\nStandardError=tty\nTTYPath=/dev/console\n",
    ),
];

/// Unpacks systemd with what it needs; made once.
fn fetch() -> Result<PathBuf, String> {
    let work = install::cache_dir().join("vm");
    let (folder, done) = (work.join("systemd"), work.join("systemd-complete"));
    if done.exists() {
        return Ok(folder);
    }
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let archive = Archive::open(work.join("apt-arm64"), "arm64")?;
    let packages = archive.with_dependencies("systemd")?;
    eprintln!("fetching systemd, {} packages (13 MB)", packages.len());
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    archive.unpack(&packages, &folder)?;
    std::fs::write(done, "").map_err(|e| e.to_string())?;
    Ok(folder)
}

/// Puts the root folder of a machine that systemd runs at `target`: it, our unit, and what makes the checks.
pub(super) fn pack(target: &Path) -> Result<(), String> {
    let systemd = fetch()?;
    for folder in FOLDERS.iter().filter(|f| systemd.join(f).is_dir()) {
        let to = target.join(folder);
        std::fs::create_dir_all(&to).map_err(|e| e.to_string())?;
        run(Command::new("cp")
            .arg("--archive")
            .arg(systemd.join(folder).join("."))
            .arg(to))?;
    }
    let write = |to: &str, content: &[u8]| {
        let path = target.join(to);
        let folder = path.parent().unwrap_or(target);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, content))
            .map_err(|e| format!("{}: {e}", path.display()))
    };
    for (to, content) in FILES {
        write(to, content.as_bytes())?;
    }
    let ours = [
        (
            "boards/systemd/sortline.service",
            "etc/systemd/system/sortline.service",
        ),
        ("boards/profiles/qemu-virt.toml", "etc/sortline/board.toml"),
        (
            "models/bundles/drawn-10.sortline",
            "etc/sortline/bundle.sortline",
        ),
        ("tests/vm/systemd.sh", "systemd.sh"),
        ("tests/vm/checks.sh", "checks.sh"),
    ];
    for (from, to) in ours {
        let content = std::fs::read(root().join(from)).map_err(|e| format!("{from}: {e}"))?;
        write(to, &content)?;
    }
    Ok(())
}
