//! The decoders of GPT's era: layer norms with shifts, plain feed-forward, positions learned or added to scores.

mod gpt2;

pub use gpt2::{Gpt2, Gpt2Config};
