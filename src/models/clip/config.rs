use serde_json::{Map, Value};

use crate::Result;
use crate::config::{ModelConfig, divides, holds_patches, normalise_part, positive};
use crate::nn::Activation;

crate::config! {
    /// Configuration of [`ClipText`](super::ClipText).
    pub struct ClipTextConfig("clip_text_model") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 49408,
        /// Width of the hidden states.
        hidden_size: i64 = 512,
        /// Width of the feed-forward layers.
        intermediate_size: i64 = 2048,
        /// Width of the projected vector.
        projection_dim: i64 = 512,
        /// Number of layers.
        num_hidden_layers: i64 = 12,
        /// Attention heads per layer.
        num_attention_heads: i64 = 8,
        /// Length of the position table.
        max_position_embeddings: i64 = 77,
        /// Activation of the feed-forward layers.
        hidden_act: Activation = Activation::QuickGelu,
        /// Added to variances.
        layer_norm_eps: f64 = 1e-5,
        /// The token whose hidden state stands for the text.
        eos_token_id: i64 = 49407,
    }
    ignored: ["attention_dropout", "initializer_factor"]
    upgrade: |fields, _: &_| own_section(fields, "text_config");
    validate: validate_text;
}

crate::config! {
    /// Configuration of [`ClipVision`](super::ClipVision).
    pub struct ClipVisionConfig("clip_vision_model") {
        /// Width of the hidden states.
        hidden_size: i64 = 768,
        /// Width of the feed-forward layers.
        intermediate_size: i64 = 3072,
        /// Width of the projected vector.
        projection_dim: i64 = 512,
        /// Number of layers.
        num_hidden_layers: i64 = 12,
        /// Attention heads per layer.
        num_attention_heads: i64 = 12,
        /// Channels of the images.
        num_channels: i64 = 3,
        /// Height and width of the images.
        image_size: i64 = 224,
        /// Height and width of a patch.
        patch_size: i64 = 32,
        /// Activation of the feed-forward layers.
        hidden_act: Activation = Activation::QuickGelu,
        /// Added to variances.
        layer_norm_eps: f64 = 1e-5,
    }
    ignored: ["attention_dropout", "initializer_factor"]
    upgrade: |fields, _: &_| own_section(fields, "vision_config");
    validate: validate_vision;
}

crate::config! {
    /// Configuration of [`Clip`](super::Clip).
    pub struct ClipConfig("clip") {
        /// The text encoder.
        text_config: ClipTextConfig = ClipTextConfig::default(),
        /// The image encoder.
        vision_config: ClipVisionConfig = ClipVisionConfig::default(),
        /// Width of the space that texts and images share.
        projection_dim: i64 = 512,
    }
    ignored: ["logit_scale_init_value", "initializer_factor"]
    parts: ["text_config", "vision_config"]
    upgrade: upgrade;
    validate: |config: &ClipConfig| positive("clip", &[("projection_dim", config.projection_dim)]);
}

/// A part's class may be loaded from the files of the whole model, whose configuration has the part's as a section.
fn own_section(fields: &mut Map<String, Value>, section: &str) -> Result<()> {
    if fields.get("model_type").is_some_and(|model_type| model_type == ClipConfig::MODEL_TYPE)
        && let Some(Value::Object(own)) = fields.remove(section)
    {
        *fields = own;
    }
    Ok(())
}

fn upgrade(fields: &mut Map<String, Value>, _: &ClipConfig) -> Result<()> {
    // Classes with a projection have the configuration of their part alone.
    for (model_type, section) in [("clip_text_model", "text_config"), ("clip_vision_model", "vision_config")] {
        if fields.get("model_type").is_some_and(|given| given == model_type) {
            let part = std::mem::take(fields);
            fields.insert(section.to_owned(), part.into());
        }
    }
    // Older files have the parts a second time, and that is what counts.
    for section in ["text_config", "vision_config"] {
        if let Some(dict @ Value::Object(_)) = fields.remove(&format!("{section}_dict")) {
            fields.insert(section.to_owned(), dict);
        }
    }
    normalise_part::<ClipTextConfig>(fields, "text_config")?;
    normalise_part::<ClipVisionConfig>(fields, "vision_config")
}

fn validate_text(config: &ClipTextConfig) -> Result<()> {
    let model_type = ClipTextConfig::MODEL_TYPE;
    divides(model_type, ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))?;
    positive(
        model_type,
        &[
            ("vocab_size", config.vocab_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("projection_dim", config.projection_dim),
        ],
    )
}

fn validate_vision(config: &ClipVisionConfig) -> Result<()> {
    let model_type = ClipVisionConfig::MODEL_TYPE;
    divides(model_type, ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))?;
    holds_patches(model_type, [config.image_size; 2], [config.patch_size; 2])?;
    positive(
        model_type,
        &[
            ("num_hidden_layers", config.num_hidden_layers),
            ("intermediate_size", config.intermediate_size),
            ("num_channels", config.num_channels),
            ("projection_dim", config.projection_dim),
        ],
    )
}
