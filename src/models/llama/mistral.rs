use serde_json::{Map, Value};

use crate::Result;
use crate::models::decoder::{
    DecoderConfig, DecoderSpec, FULL, SLIDING, check_layer_types, check_window, decoder, dense, fill_layer_types,
};

crate::config! {
    /// Configuration of [`Mistral`].
    pub struct MistralConfig("mistral"): DecoderConfig {
        /// How many tokens back a token sees, itself included; all where `None`.
        sliding_window: Option<i64> = Some(4096),
    }
    defaults: { intermediate_size: 14336, num_key_value_heads: Some(8), max_position_embeddings: 4096 * 32 }
    validate: |config: &MistralConfig| config.rope(false).map(drop);
}

decoder! {
    /// Mistral (Jiang et al., 2023), Llama that sees a window of tokens; `transformers.models.mistral`.
    pub struct Mistral(MistralConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Mistral's decoder.
pub fn spec(config: &MistralConfig) -> Result<DecoderSpec> {
    let spec = dense(config, config.rope(false)?);
    Ok(spec.with_layers(|_, layer| layer.window = config.sliding_window))
}

crate::config! {
    /// Configuration of [`Ministral`].
    pub struct MinistralConfig("ministral"): MistralConfig {
        /// What each layer sees: `full_attention` or `sliding_attention`.
        layer_types: Vec<String> = Vec::new(),
    }
    upgrade: |fields: &mut Map<String, Value>, default: &MinistralConfig| {
        let windowed = fields.get("sliding_window").is_none_or(|window| !window.is_null());
        fill_layer_types(fields, default.num_hidden_layers, |_| if windowed { SLIDING } else { FULL });
        Ok(())
    };
    validate: |config: &MinistralConfig| {
        check_layer_types("ministral", &config.layer_types, config.num_hidden_layers, &[FULL, SLIDING])?;
        check_window("ministral", &config.layer_types, config.sliding_window)
    };
}

decoder! {
    /// Ministral (Mistral AI, 2024), Mistral of which some layers may see all tokens; `transformers.models.ministral`.
    pub struct Ministral(MinistralConfig) = ministral;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Ministral's decoder.
pub fn ministral(config: &MinistralConfig) -> Result<DecoderSpec> {
    Ok(spec(config)?.with_windows(&config.layer_types, config.sliding_window))
}
