//! Any text gives a label set or an error, and a label set keeps its own rules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use models::LabelSet;

fuzz_target!(|text: &str| {
    if let Ok(set) = LabelSet::from_toml(text) {
        for item in 0..set.len() {
            assert_eq!(set.find(&set.path(item)), Some(item));
        }
        let pairs = set
            .items()
            .iter()
            .map(|item| (set.categories()[item.category].clone(), item.name.clone()));
        assert_eq!(
            LabelSet::new(set.name(), pairs.collect()).as_ref(),
            Ok(&set)
        );
    }
});
