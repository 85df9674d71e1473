//! Any bytes give the pictures of a video up to where they are none.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| edge_runtime::fuzz::video(bytes));
