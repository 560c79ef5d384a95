//! Architectures, one folder per family.

pub mod bert;
pub mod seq2seq;
pub mod t5;
