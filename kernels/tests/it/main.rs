//! Every kernel against the plain definition of its layer, for every instruction set of this CPU.
#![allow(clippy::unwrap_used)]

mod float;
mod layers;
mod reference;
mod rounding;

/// `cargo xtask arm-test` says which kernels it means to test.
#[test]
fn the_cpu_has_the_instructions_that_are_to_be_tested() {
    let best = kernels::Isa::detect().to_string();
    match std::env::var("SORTLINE_ISA") {
        Ok(expected) => assert_eq!(best, expected),
        Err(_) => assert!(!best.is_empty()),
    }
}
