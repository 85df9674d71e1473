//! Layers in `f32`: rows, columns, channels, as the int8 ones.
//!
//! Every value is computed in the same order on any number of threads. CPUs that round products and
//! sums together give other last bits than those that round both.

mod activation;
mod conv;
mod depthwise;
mod elementwise;
mod planes;
mod pool;

pub use activation::Activation;
pub use conv::Conv;
pub use depthwise::Depthwise;
pub use elementwise::{activate, add, multiply};
pub(crate) use planes::planes_of;
pub use planes::{from_planes, to_planes};
pub use pool::{GlobalAverage, Pool};
