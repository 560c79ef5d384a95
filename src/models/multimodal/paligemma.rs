use serde_json::{Map, Value, json};

use super::{Images, MaskRule, Multimodal, Pick, PositionRule, Projector, Text, is_token, tower};
use crate::config::{as_part, normalise_any_part, positive};
use crate::model::{Architecture, Head, Module};
use crate::models::clip::SiglipVisionConfig;
use crate::models::llama::GemmaConfig;
use crate::nn::Linear;
use crate::weights::Weights;
use crate::{Error, Result, tasks};

crate::config! {
    /// Configuration of [`PaliGemma`].
    pub struct PaliGemmaConfig("paligemma") {
        /// The vision tower: any architecture of the roster that returns hidden states of an image.
        vision_config: Value = as_part(vision_default()),
        /// The language model, a Gemma as a rule; with `use_bidirectional_attention`, tokens of a text without
        /// `token_type_ids` all see each other, as long as none of them is padding.
        text_config: Value = both_ways(as_part(text_default())),
        /// The token that an image feature takes the place of.
        image_token_index: i64 = 256000,
        /// Width of image features; that of the language model.
        projection_dim: i64 = 2048,
        /// Whether the head uses the language model's table of token vectors.
        tie_word_embeddings: bool = true,
    }
    ignored: ["vocab_size", "hidden_size"]
    aliases: [("image_token_id", "image_token_index")]
    parts: ["vision_config", "text_config"]
    upgrade: upgrade;
    validate: |config: &PaliGemmaConfig| {
        positive("paligemma", &[("projection_dim", config.projection_dim)])?;
        is_token("paligemma", "image_token_index", config.image_token_index)
    };
}

/// The tower of the first checkpoints, SO400M/14 of 224 pixels.
fn vision_default() -> SiglipVisionConfig {
    let mut config = SiglipVisionConfig { vision_use_head: false, ..Default::default() };
    (config.hidden_size, config.intermediate_size) = (1152, 4096);
    (config.num_hidden_layers, config.num_attention_heads) = (27, 16);
    config.patch_size = 14;
    config
}

/// The language model of the first checkpoints, Gemma 2B with more tokens.
fn text_default() -> GemmaConfig {
    let mut config = GemmaConfig::default();
    (config.vocab_size, config.hidden_size, config.intermediate_size) = (257152, 2048, 16384);
    (config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads) = (18, 8, Some(1));
    config
}

const BOTH_WAYS: &str = "use_bidirectional_attention";

/// A language model's section where it says nothing about which way tokens see.
fn both_ways(mut section: Value) -> Value {
    if let Value::Object(section) = &mut section {
        section.insert(BOTH_WAYS.into(), true.into());
    }
    section
}

fn upgrade(fields: &mut Map<String, Value>, default: &PaliGemmaConfig) -> Result<()> {
    normalise_any_part::<SiglipVisionConfig>(fields, "vision_config", default.vision_config.clone())?;
    // The switch is this model's: decoders by themselves may refuse it.
    let mut given =
        fields.remove("text_config").filter(|given| !given.is_null()).unwrap_or(default.text_config.clone());
    let said = given.as_object_mut().and_then(|text| text.remove(BOTH_WAYS)).filter(|said| !said.is_null());
    let said = said.unwrap_or(json!(true));
    if !said.is_boolean() {
        return Err(Error::config("paligemma", "text_config.use_bidirectional_attention", format!("is {said}")));
    }
    fields.insert("text_config".into(), given);
    normalise_any_part::<GemmaConfig>(fields, "text_config", Value::Null)?;
    if let Some(text) = fields.get_mut("text_config").and_then(Value::as_object_mut) {
        text.insert(BOTH_WAYS.into(), said);
    }
    Ok(())
}

/// PaliGemma (Beyer et al., 2024); `transformers.models.paligemma`.
#[derive(Debug)]
pub struct PaliGemma;

impl Architecture for PaliGemma {
    type Config = PaliGemmaConfig;
}

fn body(config: &PaliGemmaConfig, weights: &Weights) -> Result<Multimodal> {
    // Files on the hub have the parts at the root, later ones below `model`.
    let place = |part: &str| weights.either(&[part, &format!("model.{part}")]);
    let mut text_config = config.text_config.clone();
    let whole = text_config.as_object_mut().and_then(|text| text.remove(BOTH_WAYS)) == Some(json!(true));
    let text = Text::load("paligemma", &text_config, &place("language_model"))?;
    let (tower, vision_width) = tower("paligemma", "vision_config", &config.vision_config, &place("vision_tower"))?;
    if config.projection_dim != text.width() {
        let message =
            format!("{} must be the `hidden_size` of `text_config` ({})", config.projection_dim, text.width());
        return Err(Error::config("paligemma", "projection_dim", message));
    }
    let projector = place("multi_modal_projector").at("linear");
    let images = Images {
        model_type: "paligemma",
        tower,
        pick: Pick::Last,
        projector: Projector::linear(Linear::load(&projector, vision_width, config.projection_dim, true)),
        placeholder: config.image_token_index,
        flat: false,
    };
    let body = Multimodal::new(text, images);
    Ok(body.with_positions(PositionRule::FromOne).with_mask(MaskRule::Prefix { whole }))
}

impl Head<tasks::FeatureExtraction> for PaliGemma {
    fn load(config: &PaliGemmaConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(body(config, weights)?.bare())
    }
}

impl Head<tasks::ImageTextToText> for PaliGemma {
    fn load(config: &PaliGemmaConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let names = ["language_model.lm_head.weight", "lm_head.weight"];
        let softcap = config.text_config.get("final_logit_softcapping").and_then(Value::as_f64);
        Ok(body(config, weights)?.generating(weights, &names, config.tie_word_embeddings, softcap))
    }
}
