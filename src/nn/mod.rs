//! Blocks: the layers that all architectures are made of.
//!
//! A block is built from a spec (plain data) and [`Weights`](crate::weights::Weights), and knows no architecture.

mod activation;
mod attention;
mod conv;
mod embedding;
pub mod heads;
mod layer;
mod linear;
mod mask;
mod mlp;
mod norm;
pub mod rope;
mod stack;
mod summary;

pub use activation::Activation;
pub use attention::{Attend, Attention, AttentionSpec, Biases};
pub use conv::{Conv, ConvSpec};
pub use embedding::Embedding;
pub use layer::{Layer, LayerSpec, Placement};
pub use linear::Linear;
pub use mask::Mask;
pub use mlp::{Mlp, MlpSpec};
pub use norm::{Norm, NormSpec};
pub use rope::Rotation;
pub use stack::{Context, Passed, Stack, StackSpec};
pub use summary::{Summary, SummarySpec, SummaryType};
