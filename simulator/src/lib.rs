//! A belt that renders frames and knows where every item landed.
//!
//! [`World`] is a conveyor seen from above by one camera, with gates downstream. It is pure: it does
//! nothing by itself, has no clock, and for one seed and one sequence of calls it gives the same
//! frames and the same landings. Whoever runs it hands it pictures of items ([`World::place`]), asks
//! for frames ([`World::render`]), moves gates ([`World::set_gate`]) and asks where items ended up
//! ([`World::settle`]).
//!
//! Pictures are photos ([`Picture::photo`]) or [`drawn`] by a procedural artist, which needs no data.
//!
//! # Positions and time
//! Millimetres from the centre of the camera's view, `x` along the belt (positive downstream), `y`
//! across it. Times are microseconds on whatever clock the caller keeps.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod drawn;
mod noise;
mod picture;
mod surface;
mod world;

pub use picture::Picture;
pub use world::{
    GatePlace, Item, Landing, Place, SWING_US, Spacing, View, World, WorldConfig, WorldError,
};
