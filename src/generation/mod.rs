//! Generation of tokens: its settings, and what changes the scores that tokens are chosen by.

mod config;
mod decoding;
pub mod processors;

pub use config::GenerationConfig;
pub use decoding::GenerationOptions;
pub(crate) use decoding::ids_name;
