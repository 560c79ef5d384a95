//! Blocks: the layers that all architectures are made of.
//!
//! A block is built from a spec (plain data) and [`Weights`](crate::weights::Weights), and knows no architecture.

mod activation;
mod attention;
mod batch_norm;
mod conv;
mod embedding;
mod grid_bias;
pub mod heads;
mod layer;
mod linear;
mod lstm;
mod mask;
mod mix_mlp;
mod mlp;
mod norm;
mod patch;
mod perceptron;
mod pooling;
mod reduced;
mod relative_bias;
mod resize;
pub mod rope;
mod stack;
mod summary;
mod windows;

pub use activation::Activation;
pub use attention::{
    Attend, Attention, AttentionSpec, Biases, Gate, QkNorm, QkScope, Scores, masked_bias, scaled_attention,
};
pub use batch_norm::BatchNorm;
pub use conv::{Conv, ConvSpec};
pub use embedding::Embedding;
pub use grid_bias::{GridBias, GridBiasSpec};
pub use layer::{Arrangement, FeedForwardSpec, Layer, LayerSpec, MixerSpec, Placement};
pub use linear::Linear;
pub use lstm::Lstm;
pub use mask::Mask;
pub use mix_mlp::MixMlp;
pub use mlp::{Mlp, MlpSpec};
pub use norm::{GroupNorm, Norm, NormKind, NormScale, NormSpec};
pub use patch::{PatchEmbedding, PatchSpec, Positions};
pub use perceptron::Perceptron;
pub use pooling::{Pooling, PoolingSpec, token_at};
pub use reduced::{Reduced, ReducedSpec};
pub use relative_bias::{RelativeBias, RelativeBiasSpec};
pub use resize::bilinear;
pub use rope::Rotation;
pub use stack::{Context, Passed, Stack, StackSpec};
pub use summary::{Summary, SummarySpec, SummaryType};
pub use windows::{Windows, WindowsSpec};
