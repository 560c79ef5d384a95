//! Llama and its dense heirs: RMS norms, rotary positions, grouped heads, gated feed-forward.
//!
//! All start from [`dense`](crate::models::decoder::dense), and each file states what its architecture changes:
//! windows ([`mistral`]), biases and normalised queries and keys ([`qwen`]).

mod base;
mod mistral;
mod qwen;

mod base;
mod mistral;
mod qwen;

pub use base::{Llama, LlamaConfig};
pub use mistral::{Mistral, MistralConfig, spec as mistral};
pub use qwen::{Qwen2, Qwen2Config, Qwen3, Qwen3Config};
