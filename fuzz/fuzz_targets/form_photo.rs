//! Any bytes give the photo in a form, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| edge_runtime::fuzz::form(bytes));
