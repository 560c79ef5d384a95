//! Codecs of audio: convolutions down to a few frames, codes from codebooks, convolutions back up to samples.
//!
//! `seanet` has the convolutional network both ways, `quantizer` the codebooks; an architecture says which
//! convolutions, and how audio is cut into chunks.

mod encodec;
mod quantizer;
mod seanet;

pub use encodec::{Encodec, EncodecConfig};
pub use quantizer::ResidualQuantizer;
pub use seanet::{ConvNorm, PadMode, Piece, PieceSpec, SeaNet, SeaNetSpec};
