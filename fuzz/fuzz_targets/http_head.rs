//! Any bytes give the head of a request, an answer, or ask for more.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| edge_runtime::fuzz::http_head(bytes));
