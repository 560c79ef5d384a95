use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{OneOrMore, as_part, normalise_any_part, positive};
use crate::models::clip::ClipVisionConfig;
use crate::models::llama::LlamaConfig;
use crate::nn::Activation;
use crate::proofs::{Kind, Takes};
use crate::{Error, Result};

/// Which tokens of the vision tower are image features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureSelection {
    /// All but the first, the class token.
    Default,
    /// All.
    Full,
}

impl Takes for FeatureSelection {
    const KIND: Kind = Kind::Str;
}

crate::config! {
    /// Configuration of [`Llava`](super::Llava).
    pub struct LlavaConfig("llava") {
        /// The vision tower: any architecture of the roster that returns hidden states of an image.
        vision_config: Value = as_part(vision_default()),
        /// The language model: any decoder of the roster.
        text_config: Value = as_part(LlamaConfig::default()),
        /// The token that an image feature takes the place of.
        image_token_index: i64 = 32000,
        /// Activation between the two layers of the projector.
        projector_hidden_act: Activation = Activation::Gelu,
        /// Which tokens of the tower are features.
        vision_feature_select_strategy: FeatureSelection = FeatureSelection::Default,
        /// Whose hidden states are features; several stand side by side, negative numbers count from the last.
        vision_feature_layer: OneOrMore = OneOrMore::One(-2),
        /// Whether the projector's layers have a bias.
        multimodal_projector_bias: bool = true,
        /// Whether the head uses the language model's table of token vectors.
        tie_word_embeddings: bool = false,
    }
    ignored: ["image_seq_length"]
    aliases: [("image_token_id", "image_token_index")]
    parts: ["vision_config", "text_config"]
    upgrade: upgrade;
    validate: validate;
}

/// The tower of the first checkpoints, ViT-L/14 of 336 pixels.
fn vision_default() -> ClipVisionConfig {
    let mut config = ClipVisionConfig { projection_dim: 768, ..Default::default() };
    (config.hidden_size, config.intermediate_size) = (1024, 4096);
    (config.num_hidden_layers, config.num_attention_heads) = (24, 16);
    (config.image_size, config.patch_size) = (336, 14);
    config
}

fn upgrade(fields: &mut Map<String, Value>, default: &LlavaConfig) -> Result<()> {
    normalise_any_part::<ClipVisionConfig>(fields, "vision_config", default.vision_config.clone())?;
    normalise_any_part::<LlamaConfig>(fields, "text_config", default.text_config.clone())?;
    // Older files say so in the language model's section alone.
    if fields["text_config"].get("tie_word_embeddings").and_then(Value::as_bool) == Some(true) {
        fields.insert("tie_word_embeddings".into(), true.into());
    }
    Ok(())
}

fn validate(config: &LlavaConfig) -> Result<()> {
    let layers = config.vision_feature_layer.all().len() as i64;
    positive("llava", &[("vision_feature_layer", layers)])?;
    if config.image_token_index < 0 {
        let message = format!("must be a token of the vocabulary, got {}", config.image_token_index);
        return Err(Error::config("llava", "image_token_index", message));
    }
    Ok(())
}
