//! Architectures, one folder per family.

pub mod bert;
pub mod decoder;
pub mod gpt2;
pub mod llama;
