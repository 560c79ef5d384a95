//! The thin layer over libtorch: the only place of the project with `unsafe`.
//!
//! What `tch` lacks and the library needs lives here, each piece with the reason why it is sound.

mod libtorch;
mod mapped;
mod matrix;
mod weight;

pub use mapped::{MappedFile, release};
pub use matrix::{Matrix, Prepack};
pub use weight::Weight;
