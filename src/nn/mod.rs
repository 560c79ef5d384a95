//! Blocks: the layers that all architectures are made of.
//!
//! A block is built from a spec (plain data) and [`Weights`](crate::weights::Weights), and knows no architecture.

mod activation;
mod alibi;
mod attention;
mod batch_norm;
mod boxes;
mod causal_conv;
mod conv;
mod conv_branch;
mod disentangled;
mod embedding;
mod gated_delta;
mod grid_bias;
pub mod heads;
mod latent_attention;
mod layer;
mod linear;
mod lstm;
mod mamba;
mod mask;
mod mix_mlp;
mod mlp;
pub mod moe;
mod norm;
mod patch;
mod perceptron;
mod pooling;
mod reduced;
mod relative_bias;
mod resize;
pub mod rope;
mod short_conv;
mod sinusoid;
mod stack;
mod summary;
mod windows;

pub use activation::Activation;
pub use alibi::{AlibiOrigin, AlibiSpec};
pub use attention::{
    Attend, Attention, AttentionSpec, Biases, ContentBias, Gate, QkNorm, QkScope, Scores, lowest, masked_bias,
    scaled_attention,
};
pub use batch_norm::BatchNorm;
pub use boxes::{BoxEmbedding, BoxSpec};
pub use causal_conv::CausalConv;
pub use conv::{Conv, ConvSpec};
pub use conv_branch::{ConvBranch, ConvBranchSpec};
pub use disentangled::{DisentangledAttention, DisentangledSpec, RelativePositions, RelativeTable, RelativeTableSpec};
pub use embedding::Embedding;
pub use gated_delta::{GatedDelta, GatedDeltaSpec};
pub use grid_bias::{GridBias, GridBiasSpec};
pub use latent_attention::{LatentAttention, LatentAttentionSpec};
pub use layer::{Arrangement, FeedForwardSpec, Layer, LayerSpec, MixerSpec, Placement};
pub use linear::Linear;
pub use lstm::Lstm;
pub use mamba::{Mamba, MambaSpec};
pub use mask::{Mask, real_among, without_padding};
pub use mix_mlp::MixMlp;
pub use mlp::{GateLimit, Mlp, MlpSpec};
pub use moe::{Moe, MoeSpec};
pub use norm::{GroupNorm, Norm, NormKind, NormScale, NormSpec, unit};
pub use patch::{PatchEmbedding, PatchSpec, Positions};
pub use perceptron::Perceptron;
pub use pooling::{AttentionPooling, AttentionPoolingSpec, Pooling, PoolingSpec, token_at};
pub use reduced::{Reduced, ReducedSpec};
pub use relative_bias::{RelativeBias, RelativeBiasSpec};
pub use resize::bilinear;
pub use rope::Rotation;
pub use short_conv::{ShortConv, ShortConvSpec};
pub use sinusoid::{Growth, Sinusoid};
pub use stack::{Context, Passed, Stack, StackSpec};
pub use summary::{Summary, SummarySpec, SummaryType};
pub use windows::{Windows, WindowsSpec};
