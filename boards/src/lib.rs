//! Board profiles: what is wired where.
//!
//! A profile is a TOML file that names the camera, the belt, the gates and the way each category
//! goes. It is read twice over: [`raw`] takes the text apart and remembers the line of every value,
//! and [`Profile`] is what is left when nothing is wrong. A `Profile` cannot be built any other way,
//! so the rest of the program never checks it again.
//!
//! All faults are reported at once, each with its line ([`ProfileError::Invalid`]).
//!
//! # Positions
//! Positions along the belt are in millimetres from the centre of the camera's view, positive in
//! the direction of travel: items enter the view at minus half its length and leave it at plus half.
//!
//! # Example
//! ```
//! let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/simulated.toml"))?;
//! let board = boards::Profile::from_toml("simulated.toml", &text)?;
//! assert_eq!(board.gates().len(), 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod gate;
mod profile;
mod raw;
mod reader;
mod resolve;

pub use error::{Fault, Problem, ProfileError};
pub use gate::{Drive, Gate, GpioLine, Pin, PwmChannel};
pub use profile::{
    Belt, Camera, Destination, Detection, Direction, Encoder, Known, MotionSource, PIXEL_FORMATS,
    PhotoEye, Profile, SIMULATED,
};
