//! Debian's packages, downloaded and unpacked into a folder of ours instead of installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{output, run};

const RELEASE: &str = "bookworm";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where this machine gets Debian's packages from.
pub(crate) fn mirror() -> Result<String, String> {
    let list = output(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))?;
    let mut places = list.lines().map(|line| line.trim_end_matches('/'));
    let place = places.find(|place| place.ends_with("/debian"));
    place.map(str::to_owned).ok_or_else(|| {
        "apt knows no mirror of Debian on this machine (see /etc/apt/sources.list)".to_owned()
    })
}

/// A private view of Debian's archive for one architecture; apt checks its signatures.
pub(crate) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Reads the archive's list of packages.
    pub(crate) fn open(folder: PathBuf, architecture: &str) -> Result<Self, String> {
        for part in [
            "state/lists/partial",
            "cache/archives/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
        ] {
            std::fs::create_dir_all(folder.join(part)).map_err(|e| e.to_string())?;
        }
        let suite =
            |mirror: &str, suite: &str| format!("deb [signed-by={KEYS}] {mirror} {suite} main\n");
        let mirror = mirror()?;
        let sources = [
            suite(&mirror, RELEASE),
            suite(&mirror, &format!("{RELEASE}-updates")),
            suite(
                &format!("{mirror}-security"),
                &format!("{RELEASE}-security"),
            ),
        ];
        let at = folder.display();
        let settings = format!(
            "APT::Architecture \"{architecture}\";\nAPT::Architectures {{ \"{architecture}\"; }};\n\
             APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
             Dir::State \"{at}/state\";\nDir::State::status \"{at}/status\";\n\
             Dir::Cache \"{at}/cache\";\nDir::Etc \"{at}/etc\";\n"
        );
        let files = [
            ("status", String::new()),
            ("etc/sources.list", sources.concat()),
            ("apt.conf", settings),
        ];
        for (name, text) in files {
            std::fs::write(folder.join(name), text).map_err(|e| e.to_string())?;
        }
        let archive = Self { folder };
        run(archive.command("apt-get").args(["update", "--quiet=2"]))?;
        Ok(archive)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }

    /// What a package depends on whose name begins so.
    pub(crate) fn dependency(&self, package: &str, prefix: &str) -> Result<String, String> {
        let list = output(self.command("apt-cache").args(["depends", package]))?;
        let mut names = list
            .lines()
            .filter_map(|l| l.trim().strip_prefix("Depends: "));
        let found = names.find(|name| name.starts_with(prefix));
        found
            .map(str::to_owned)
            .ok_or_else(|| format!("Debian's {package} depends on no {prefix}*"))
    }

    /// A package and all that it cannot do without.
    pub(crate) fn with_dependencies(&self, package: &str) -> Result<Vec<String>, String> {
        let list = output(self.command("apt-get").args([
            "install",
            "--simulate",
            "--no-install-recommends",
            "--quiet=2",
            package,
        ]))?;
        let installed = list.lines().filter_map(|l| l.strip_prefix("Inst "));
        let names = installed.filter_map(|l| l.split(' ').next());
        Ok(names.map(str::to_owned).collect())
    }

    /// Downloads packages and unpacks them into `root`, each as it would be installed.
    pub(crate) fn unpack(&self, packages: &[&str], root: &Path) -> Result<(), String> {
        let debs = self.folder.join("debs");
        let _ = std::fs::remove_dir_all(&debs);
        std::fs::create_dir_all(&debs).map_err(|e| e.to_string())?;
        run(self
            .command("apt-get")
            .current_dir(&debs)
            .args(["download", "--quiet=2"])
            .args(packages))?;
        let entries = std::fs::read_dir(&debs).map_err(|e| e.to_string())?;
        for entry in entries.flatten() {
            run(Command::new("dpkg-deb")
                .arg("--extract")
                .arg(entry.path())
                .arg(root))?;
        }
        std::fs::remove_dir_all(&debs).map_err(|e| e.to_string())
    }
}
