use serde_json::{Map, Value};

use crate::Result;
use crate::config::{ModelConfig, divides, holds_patches, normalise_part, positive};
use crate::nn::Activation;

crate::config! {
    /// What the configurations of both towers have in common.
    ///
    /// The defaults are those of CLIP's text encoder.
    pub struct TowerConfig("clip tower") {
        /// Width of the hidden states.
        hidden_size: i64 = 512,
        /// Width of the feed-forward layers.
        intermediate_size: i64 = 2048,
        /// Number of layers.
        num_hidden_layers: i64 = 12,
        /// Attention heads per layer.
        num_attention_heads: i64 = 8,
        /// Activation of the feed-forward layers.
        hidden_act: Activation = Activation::QuickGelu,
        /// Added to variances.
        layer_norm_eps: f64 = 1e-5,
    }
    ignored: ["attention_dropout"]
    validate: validate;
}

crate::config! {
    /// What the configurations of text encoders have in common; each architecture derives its own from it.
    pub struct TextConfig("clip text encoder"): TowerConfig {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 49408,
        /// Length of the position table.
        max_position_embeddings: i64 = 77,
    }
    upgrade: |fields, _: &_| own_section(fields, "text_config");
    validate: |config: &TextConfig| {
        let TextConfig { vocab_size, max_position_embeddings, .. } = *config;
        let sizes = [("vocab_size", vocab_size), ("max_position_embeddings", max_position_embeddings)];
        positive(TextConfig::MODEL_TYPE, &sizes)
    };
}

crate::config! {
    /// What the configurations of image encoders have in common; each architecture derives its own from it.
    pub struct VisionConfig("clip image encoder"): TowerConfig {
        /// Channels of the images.
        num_channels: i64 = 3,
        /// Height and width of the images.
        image_size: i64 = 224,
        /// Height and width of a patch.
        patch_size: i64 = 32,
    }
    defaults: { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 }
    upgrade: |fields, _: &_| own_section(fields, "vision_config");
    validate: |config: &VisionConfig| {
        holds_patches(VisionConfig::MODEL_TYPE, [config.image_size; 2], [config.patch_size; 2])?;
        positive(VisionConfig::MODEL_TYPE, &[("num_channels", config.num_channels)])
    };
}

fn validate(config: &TowerConfig) -> Result<()> {
    let TowerConfig { hidden_size, num_attention_heads, .. } = *config;
    divides(TowerConfig::MODEL_TYPE, ("hidden_size", hidden_size), ("num_attention_heads", num_attention_heads))?;
    let sizes = [("num_hidden_layers", config.num_hidden_layers), ("intermediate_size", config.intermediate_size)];
    positive(TowerConfig::MODEL_TYPE, &sizes)
}

/// A part's class may be loaded from the files of the whole model, whose configuration has the part's as a section.
pub fn own_section(fields: &mut Map<String, Value>, section: &str) -> Result<()> {
    if let Some(Value::Object(own)) = fields.remove(section) {
        *fields = own;
    }
    Ok(())
}

/// Brings the sections of a whole model's configuration into today's form; absent ones take their defaults.
///
/// # Errors
/// As [`ModelConfig::from_json`].
pub fn upgrade_sections<Text: ModelConfig, Vision: ModelConfig>(fields: &mut Map<String, Value>) -> Result<()> {
    normalise_part::<Text>(fields, "text_config")?;
    normalise_part::<Vision>(fields, "vision_config")
}
