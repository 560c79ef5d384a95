//! DeBERTa: encoders whose attention takes content and relative positions apart.
//!
//! They are encoders of the [`bert`](super::bert) blueprint with [disentangled attention](crate::nn::DisentangledAttention),
//! padding that enters as zeros and sees nothing, and a pooler that belongs to the heads. What varies is how positions are
//! counted (one by one, or in buckets that grow logarithmically), which matrices project them, and a convolution beside the
//! first layer.

mod deberta_v2;

pub use deberta_v2::{DebertaV2, DebertaV2Config};
