//! The machine's own watchdog: restarts it when nothing is written for a while
//! (`Documentation/watchdog/watchdog-api.rst`).

use super::Keeper;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

/// A watchdog that runs since it was opened.
pub(crate) struct Watchdog {
    device: File,
}

impl Watchdog {
    /// # Errors
    /// A sentence that names the device.
    pub(crate) fn open(device: &Path) -> Result<Self, String> {
        let opened = OpenOptions::new().write(true).open(device);
        let device = opened.map_err(|e| format!("watchdog {}: {e}", device.display()))?;
        Ok(Self { device })
    }
}

impl Keeper for Watchdog {
    fn well(&mut self) -> Result<(), String> {
        let written = self.device.write_all(b".");
        written.map_err(|e| format!("the watchdog cannot be reached: {e}"))
    }

    /// The letter by which a watchdog knows that its closing is meant.
    fn ending(&mut self) {
        // Then the machine starts again, which is its purpose.
        let _ = self.device.write_all(b"V");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fed_and_released() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut watchdog = Watchdog::open(file.path()).unwrap();
        watchdog.well().unwrap();
        watchdog.well().unwrap();
        watchdog.ending();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "..V");
        let missing = Watchdog::open(Path::new("/nowhere/watchdog"))
            .err()
            .unwrap();
        assert!(missing.contains("/nowhere/watchdog"), "{missing}");
    }
}
