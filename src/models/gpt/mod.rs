//! The decoders of GPT's era: layer norms with shifts, plain feed-forward, positions learned, rotary or added to scores.
//!
//! Where each variation lives: learned positions, projections of the vectors of tokens, ALiBi and how masks count are
//! switches of the [blueprint](crate::models::decoder); where layers normalise and whether their halves stand side by
//! side are switches of the [layer](crate::nn::LayerSpec). Each file has one architecture: GPT-2's names of fields with
//! learned (`gpt2`) or interleaved rotary positions (`gptj`); queries, keys and values fused head by head
//! (`gpt_neox`, `bloom`, `falcon`) or one after the other (`mpt`); positions that padding does not count
//! towards (`opt`).

mod bloom;
mod config;
mod falcon;
mod gpt2;
mod gpt_neox;
mod gptj;
mod mpt;
mod opt;

pub use bloom::{Bloom, BloomConfig};
pub use config::GptConfig;
pub use falcon::{Falcon, FalconConfig};
pub use gpt_neox::{GptNeox, GptNeoxConfig};
pub use gpt2::{Gpt2, Gpt2Config};
pub use gptj::{Gptj, GptjConfig};
pub use mpt::{Mpt, MptAttentionConfig, MptConfig};
pub use opt::{Opt, OptConfig};
