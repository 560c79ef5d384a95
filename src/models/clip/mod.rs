//! CLIP and its heirs: an encoder of texts and one of images that put matching pairs close together.
//!
//! What varies, and where:
//!
//! - the text encoder: which tokens a token sees, which one stands for the text, a layer on it ([`TextSpec`]);
//! - the image encoder: a [`VisionSpec`](super::vit::VisionSpec), here with its class token, its norms and its pooling;
//! - what becomes of the two vectors: projections, scale and shift, the loss ([`DualSpec`]). Any two bodies fit there.
//!
//! `original.rs` (CLIP itself), `siglip.rs` and `owlvit.rs` say what each architecture changes.

mod config;
mod dual;
mod original;
mod owlvit;
mod siglip;
mod text;
mod vision;

pub use config::{TextConfig, TowerConfig, VisionConfig};
pub(crate) use config::{own_section, upgrade_sections};
pub use dual::{Dual, DualSpec, Matching, Projection, Towers};
pub use original::{Clip, ClipConfig, ClipText, ClipTextConfig, ClipVision, ClipVisionConfig};
pub use owlvit::{OwlVit, OwlVitConfig, OwlVitText, OwlVitTextConfig, OwlVitVision, OwlVitVisionConfig};
pub use siglip::{Siglip, SiglipConfig, SiglipText, SiglipTextConfig, SiglipVision, SiglipVisionConfig};
pub use text::{TextPooling, TextSpec, TextTower};
pub use vision::{vision, vision_names, vision_spec};

use crate::nn::{AttentionSpec, LayerSpec, MlpSpec, NormSpec, StackSpec};
use crate::weights::NameTable;

/// The layers of either encoder.
fn stack(config: &TowerConfig) -> StackSpec {
    let TowerConfig { hidden_size, intermediate_size, hidden_act, .. } = *config;
    let attention = AttentionSpec::even(hidden_size, config.num_attention_heads);
    let mlp = MlpSpec::plain(hidden_size, intermediate_size, hidden_act);
    let layer = LayerSpec::new(attention, mlp, NormSpec::layer(config.layer_norm_eps));
    StackSpec { layers: vec![layer; config.num_hidden_layers as usize], final_norm: None }
}

/// Names of the layers of either encoder.
fn layer_names() -> NameTable {
    NameTable::new().names(&[
        ("layers.*.attention", "encoder.layers.*.self_attn"),
        ("layers.*.attention.q", "encoder.layers.*.self_attn.q_proj"),
        ("layers.*.attention.k", "encoder.layers.*.self_attn.k_proj"),
        ("layers.*.attention.v", "encoder.layers.*.self_attn.v_proj"),
        ("layers.*.attention.o", "encoder.layers.*.self_attn.out_proj"),
        ("layers.*.attention_norm", "encoder.layers.*.layer_norm1"),
        ("layers.*.mlp.up", "encoder.layers.*.mlp.fc1"),
        ("layers.*.mlp.down", "encoder.layers.*.mlp.fc2"),
        ("layers.*.mlp_norm", "encoder.layers.*.layer_norm2"),
    ])
}
