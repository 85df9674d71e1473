//! Any bytes give a bundle or an error, and a bundle is written again as the same bytes.
//!
//! The checksum would keep nearly all inputs away from what lies behind it, so every input is also
//! tried as a manifest in a file whose checksum is right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use models::Bundle;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&file_with_manifest(bytes));
});

fn check(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::read(bytes) {
        assert_eq!(bundle.write().as_deref(), Ok(bytes));
    }
}

fn file_with_manifest(manifest: &[u8]) -> Vec<u8> {
    let network = [1];
    let length = 24 + 2 * 16 + manifest.len() + network.len() + 32;
    let mut file = b"SORTLINE\x01\0\x02\0\0\0\0\0".to_vec();
    file.extend((length as u64).to_le_bytes());
    for (kind, length) in [(1u64, manifest.len()), (2, network.len())] {
        file.extend(kind.to_le_bytes());
        file.extend((length as u64).to_le_bytes());
    }
    file.extend(manifest);
    file.extend(network);
    let checksum = blake3::hash(&file);
    file.extend(checksum.as_bytes());
    file
}
