use crate::Result;
use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense};

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
