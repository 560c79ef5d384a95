//! Architectures, one folder per family.

pub mod bert;
pub mod seq2seq;
pub mod t5;
pub mod wav2vec2;
pub mod whisper;
