//! Any bytes give the records of a journal up to where they are none.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| edge_runtime::fuzz::journal(bytes));
