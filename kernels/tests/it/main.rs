//! Every kernel against the plain definition of its layer, for every instruction set of this CPU.
#![allow(clippy::unwrap_used)]

mod layers;
mod reference;
mod rounding;
