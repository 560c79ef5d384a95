//! Blocks: the layers that all architectures are made of.
//!
//! A block is built from a spec (plain data) and [`Weights`](crate::weights::Weights), and knows no architecture.

mod activation;
mod attention;
mod batch_norm;
mod conv;
mod conv_branch;
mod disentangled;
mod embedding;
pub mod heads;
mod latent_attention;
mod layer;
mod linear;
mod lstm;
mod mask;
mod mlp;
pub mod moe;
mod norm;
mod patch;
mod pooling;
mod relative_bias;
pub mod rope;
mod stack;
mod summary;

pub use activation::Activation;
pub use attention::{
    Attend, Attention, AttentionSpec, Biases, ContentBias, Gate, QkNorm, QkScope, Scores, lowest, masked_bias,
    scaled_attention,
};
pub use batch_norm::BatchNorm;
pub use conv::{Conv, ConvSpec};
pub use conv_branch::{ConvBranch, ConvBranchSpec};
pub use disentangled::{DisentangledAttention, DisentangledSpec, RelativePositions, RelativeTable, RelativeTableSpec};
pub use embedding::Embedding;
pub use latent_attention::{LatentAttention, LatentAttentionSpec};
pub use layer::{Arrangement, FeedForwardSpec, Layer, LayerSpec, MixerSpec, Placement};
pub use linear::Linear;
pub use lstm::Lstm;
pub use mask::Mask;
pub use mlp::{GateLimit, Mlp, MlpSpec};
pub use moe::{Moe, MoeSpec};
pub use norm::{GroupNorm, Norm, NormKind, NormScale, NormSpec};
pub use patch::{PatchEmbedding, PatchSpec};
pub use pooling::{Pooling, PoolingSpec, token_at};
pub use relative_bias::{RelativeBias, RelativeBiasSpec};
pub use rope::Rotation;
pub use stack::{Context, Passed, Stack, StackSpec};
pub use summary::{Summary, SummarySpec, SummaryType};
