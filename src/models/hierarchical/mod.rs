//! Hierarchical transformers: in each stage a convolution makes fewer, wider tokens of the map before it, and layers work
//! on them.
//!
//! What varies, and where: the convolution and the layers of a stage in [`StageSpec`], what a layer mixes tokens and
//! channels with in [`LayerSpec`](crate::nn::LayerSpec); heads beside their architecture.

mod segformer;
mod tower;

pub use segformer::{Segformer, SegformerConfig};
pub use tower::{HierarchicalTower, StageSpec};
