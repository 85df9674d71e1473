//! How much memory the program takes.

use serde::Serialize;

/// Resident memory, in MB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Memory {
    /// Some seconds after the beginning of the run, everything in use.
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// The most at any time.
    pub(crate) peak: f64,
}

impl Memory {
    /// The beginning of a run.
    pub(crate) fn now() -> Self {
        let start = resident_mb("VmRSS:");
        Self {
            start,
            end: start,
            peak: start,
        }
    }

    /// The end of the run.
    pub(crate) fn until_now(self) -> Self {
        Self {
            end: resident_mb("VmRSS:"),
            peak: resident_mb("VmHWM:"),
            ..self
        }
    }
}

/// 0 where the system does not say.
fn resident_mb(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kb = line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kb.map_or(0.0, |kb| (kb / 102.4).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_used_is_counted() {
        let before = Memory::now();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = before.until_now();
        assert!(after.end > before.start + 32.0, "{before:?} {after:?}");
        assert!(after.peak >= after.end);
        drop(std::hint::black_box(block));
    }
}
