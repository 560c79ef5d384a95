//! Llama and its dense heirs: RMS norms, rotary positions, grouped heads, gated feed-forward.
//!
//! All start from [`dense`](crate::models::decoder::dense), and each file states what its architecture changes:
//! windows (`mistral`), biases and normalised queries and keys (`qwen`), scaled embeddings, norms around the
//! sublayers, bounds and rotations by type of layer (`gemma`), fused projections (`phi`), those with rotations of
//! neighbours (`glm`), sublayers side by side (`cohere`, and by a switch `stablelm`), norms of what comes out
//! (`olmo`), constant factors (`granite`), layers that rotate nothing (`smollm`).

mod base;
mod cohere;
mod gemma;
mod glm;
mod granite;
mod mistral;
mod olmo;
mod phi;
mod qwen;
mod smollm;
mod stablelm;

pub use base::{Llama, LlamaConfig};
pub use cohere::{Cohere, CohereConfig};
pub use gemma::{Gemma, Gemma2, Gemma2Config, Gemma3Text, Gemma3TextConfig, GemmaConfig, GemmaSandwichConfig};
pub use glm::{Glm4, Glm4Config};
pub use granite::{Granite, GraniteConfig};
pub use mistral::{Mistral, MistralConfig, spec as mistral};
pub use olmo::{Olmo2, Olmo2Config};
pub use phi::{Phi3, Phi3Config};
pub use qwen::{Qwen2, Qwen2Config, Qwen3, Qwen3Config};
pub use smollm::{SmolLm3, SmolLm3Config};
pub use stablelm::{StableLm, StableLmConfig};
