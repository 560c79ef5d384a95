use serde_json::{Map, Value};

use super::{FeatureSelection, Images, Multimodal, Pick, Projector, Text, is_token, lift_tie, tower};
use crate::config::{OneOrMore, as_part, normalise_any_part, positive};
use crate::model::{Architecture, Head, Module};
use crate::models::clip::ClipVisionConfig;
use crate::models::llama::LlamaConfig;
use crate::nn::{Activation, Linear};
use crate::weights::Weights;
use crate::{Result, tasks};

crate::config! {
    /// Configuration of [`Llava`].
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
    validate: |config: &LlavaConfig| {
        positive("llava", &[("vision_feature_layer", config.vision_feature_layer.all().len() as i64)])?;
        is_token("llava", "image_token_index", config.image_token_index)
    };
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
    lift_tie(fields);
    Ok(())
}

/// LLaVA (Liu et al., 2023); `transformers.models.llava`.
#[derive(Debug)]
pub struct Llava;

impl Architecture for Llava {
    type Config = LlavaConfig;
}

fn body(config: &LlavaConfig, weights: &Weights) -> Result<Multimodal> {
    // Files on the hub have the parts at the root, later ones below `model`.
    let place = |part: &str| weights.either(&[part, &format!("model.{part}")]);
    let (tower, vision_width) = tower("llava", "vision_config", &config.vision_config, &place("vision_tower"))?;
    let text = Text::load("llava", &config.text_config, &place("language_model"))?;
    let (layers, bias) = (config.vision_feature_layer.clone(), config.multimodal_projector_bias);
    let (inputs, outputs) = (vision_width * layers.all().len() as i64, text.width());
    let projector = place("multi_modal_projector");
    let images = Images {
        model_type: "llava",
        tower,
        pick: Pick::Layers { layers, selection: config.vision_feature_select_strategy },
        projector: Projector::two(
            Linear::load(&projector.at("linear_1"), inputs, outputs, bias),
            config.projector_hidden_act,
            Linear::load(&projector.at("linear_2"), outputs, outputs, bias),
        ),
        placeholder: config.image_token_index,
        flat: true,
    };
    Ok(Multimodal::new(text, images))
}

impl Head<tasks::FeatureExtraction> for Llava {
    fn load(config: &LlavaConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(body(config, weights)?.bare())
    }
}

impl Head<tasks::ImageTextToText> for Llava {
    fn load(config: &LlavaConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let names = ["language_model.lm_head.weight", "lm_head.weight"];
        Ok(body(config, weights)?.generating(weights, &names, config.tie_word_embeddings, None))
    }
}
