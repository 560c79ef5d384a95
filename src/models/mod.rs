//! Architectures, one folder per family.

pub mod bert;
pub mod wav2vec2;
