//! Any text gives a board profile or faults, each with a line of the text.
#![no_main]

use boards::{Profile, ProfileError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(ProfileError::Invalid { faults, .. }) = Profile::from_toml("fuzz", text) {
        let lines = 1 + text.bytes().filter(|b| *b == b'\n').count();
        assert!(!faults.is_empty());
        assert!(faults.iter().all(|f| (1..=lines).contains(&f.line)));
    }
});
