//! ViT and its heirs: transformer encoders over the patches of an image, or of a spectrogram.
//!
//! What varies, and where:
//!
//! - Special tokens before and after the patches, overlapping patches, the kind of positions and how they are resized,
//!   positions between layers: [`PatchSpec`](crate::nn::PatchSpec).
//! - Biases of scores between patches, a spectrogram for an image, masks, a norm before the layers: [`VisionSpec`].
//! - The layer (biases, LayerScale, gated feed-forward): [`LayerSpec`](crate::nn::LayerSpec), one by one.
//! - How one vector is made of the tokens: [`PoolingSpec`](crate::nn::PoolingSpec).
//! - Heads: [`FeatureMaps`] for backbones, [`Reconstruction`] for masked images, segmentation in `segmentation`, boxes
//!   beside their only architecture.

mod ast;
mod base;
mod beit;
mod config;
mod deit;
mod dinov2;
mod feature_maps;
mod reconstruction;
mod segmentation;
mod tower;
mod yolos;

pub use ast::{AstConfig, AudioSpectrogramTransformer};
pub use base::{Vit, names, spec, tower};
pub use beit::{Beit, BeitConfig};
pub use config::VitConfig;
pub use deit::{Deit, DeitConfig};
pub use dinov2::{Dinov2, Dinov2Config};
pub use feature_maps::FeatureMaps;
pub use reconstruction::Reconstruction;
pub use tower::{PatchBias, VisionSpec, VisionTower};
pub use yolos::{Yolos, YolosConfig};
