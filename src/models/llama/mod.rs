//! Llama and its dense heirs: RMS norms, rotary positions, grouped heads, gated feed-forward.
//!
//! All start from [`dense`](crate::models::decoder::dense), and each file states what its architecture changes:
//! windows (`mistral`), biases and normalised queries and keys (`qwen`), scaled embeddings, norms around the
//! sublayers, bounds and rotations by type of layer (`gemma`), fused projections (`phi`), those with rotations of
//! neighbours (`glm`, `helium`), sublayers side by side (`cohere`, and by a switch `stablelm`), norms of what comes out
//! (`olmo`, `exaone`), constant factors (`granite`), layers that rotate nothing (`smollm`), LayerNorms
//! and plain feed-forwards (`layernorm`), queries and keys that are normalised once they are rotated (`hunyuan`).

mod base;
mod cohere;
mod exaone;
mod gemma;
mod glm;
mod granite;
mod helium;
mod hunyuan;
mod layernorm;
mod mistral;
mod olmo;
mod phi;
mod qwen;
mod smollm;
mod stablelm;

pub use base::{Arcee, ArceeConfig, Llama, LlamaConfig, SeedOss, SeedOssConfig};
pub use cohere::{Cohere, Cohere2, Cohere2Config, CohereConfig};
pub use exaone::{Exaone4, Exaone4Config};
pub use gemma::{Gemma, Gemma2, Gemma2Config, Gemma3Text, Gemma3TextConfig, GemmaConfig, GemmaSandwichConfig};
pub use glm::{Glm, Glm4, Glm4Config, GlmConfig};
pub use granite::{Granite, GraniteConfig};
pub use helium::{Helium, HeliumConfig};
pub use hunyuan::{HunyuanV1Dense, HunyuanV1DenseConfig};
pub use layernorm::{Nemotron, NemotronConfig, Persimmon, PersimmonConfig, Starcoder2, Starcoder2Config};
pub use mistral::{Ministral, MinistralConfig, Mistral, MistralConfig, spec as mistral};
pub use olmo::{Olmo, Olmo2, Olmo2Config, Olmo3, Olmo3Config, OlmoConfig};
pub use phi::{Phi, Phi3, Phi3Config, PhiConfig};
pub use qwen::{Qwen2, Qwen2Config, Qwen3, Qwen3Config, qwen2};
pub use smollm::{SmolLm3, SmolLm3Config};
pub use stablelm::{StableLm, StableLmConfig};
