//! Any bytes give a picture in RGB or are refused, whatever the format.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| edge_runtime::fuzz::picture(bytes));
