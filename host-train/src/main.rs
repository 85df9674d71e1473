//! host-train
fn main() {}
