use serde_json::{Map, Value};

use crate::Result;
use crate::config::{holds_patches, positive};
use crate::models::clip::{TextConfig, TowerConfig, own_section, upgrade_sections};
use crate::nn::Activation;

crate::config! {
    /// Configuration of [`BlipText`](super::BlipText).
    pub struct BlipTextConfig("blip_text_model"): TextConfig {
        /// Width of the states that cross attention looks at; that of the images within the whole model.
        encoder_hidden_size: i64 = 768,
        /// Whether layers have cross attention.
        is_decoder: bool = true,
        /// The token of padding, whose embedding is not trained.
        pad_token_id: Option<i64> = Some(0),
        /// The first token of an answer.
        bos_token_id: i64 = 30522,
        /// Whether the prediction head uses the table of word embeddings.
        tie_word_embeddings: bool = true,
        /// How much of a target is spread over the whole vocabulary in the loss.
        label_smoothing: f64 = 0.0,
    }
    defaults: {
        vocab_size: 30524, hidden_size: 768, intermediate_size: 3072, max_position_embeddings: 512,
        hidden_act: Activation::Gelu, layer_norm_eps: 1e-12,
    }
    ignored: ["projection_dim", "hidden_dropout_prob", "attention_probs_dropout_prob"]
    validate: |config: &BlipTextConfig| {
        positive("blip_text_model", &[("encoder_hidden_size", config.encoder_hidden_size)])
    };
}

crate::config! {
    /// Configuration of [`BlipVision`](super::BlipVision).
    pub struct BlipVisionConfig("blip_vision_model"): TowerConfig {
        /// Height and width of the images.
        image_size: i64 = 384,
        /// Height and width of a patch.
        patch_size: i64 = 16,
    }
    defaults: { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12, hidden_act: Activation::Gelu }
    ignored: ["projection_dim"]
    upgrade: |fields, _: &_| own_section(fields, "vision_config");
    validate: |config: &BlipVisionConfig| {
        holds_patches("blip_vision_model", [config.image_size; 2], [config.patch_size; 2])
    };
}

crate::config! {
    /// Configuration of [`Blip`](super::Blip).
    pub struct BlipConfig("blip") {
        /// The text model.
        text_config: BlipTextConfig = BlipTextConfig::default(),
        /// The image encoder.
        vision_config: BlipVisionConfig = BlipVisionConfig::default(),
        /// Width of the space in which the base model compares texts and images.
        projection_dim: i64 = 512,
        /// Width of that of image-text retrieval.
        image_text_hidden_size: i64 = 256,
        /// Whether the prediction head uses the table of word embeddings; the text model's own word counts as much.
        tie_word_embeddings: bool = true,
    }
    ignored: ["logit_scale_init_value", "initializer_factor", "label_smoothing"]
    parts: ["text_config", "vision_config"]
    upgrade: upgrade;
    validate: |config: &BlipConfig| {
        let BlipConfig { projection_dim, image_text_hidden_size, .. } = *config;
        positive("blip", &[("projection_dim", projection_dim), ("image_text_hidden_size", image_text_hidden_size)])
    };
}

/// The text model looks at the images, whatever width its own section names.
fn upgrade(fields: &mut Map<String, Value>, _: &BlipConfig) -> Result<()> {
    upgrade_sections::<BlipTextConfig, BlipVisionConfig>(fields)?;
    let width = fields["vision_config"]["hidden_size"].clone();
    fields["text_config"]["encoder_hidden_size"] = width;
    Ok(())
}
