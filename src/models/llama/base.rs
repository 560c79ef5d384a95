use crate::Result;
use crate::config::divides;
use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense};
use crate::nn::Biases;

crate::config! {
    /// Configuration of [`Llama`].
    pub struct LlamaConfig("llama"): DecoderConfig {
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Whether the feed-forward layers have a bias.
        mlp_bias: bool = false,
    }
    ignored: ["pretraining_tp"]
    validate: |config: &LlamaConfig| {
        config.rope(false)?;
        divides("llama", ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))
    };
}

decoder! {
    /// Llama (Touvron et al., 2023); `transformers.models.llama`.
    pub struct Llama(LlamaConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Llama's decoder.
pub fn spec(config: &LlamaConfig) -> Result<DecoderSpec> {
    let spec = dense(config, config.rope(false)?)
        .with_attention(|attention| attention.bias = Biases::all(config.attention_bias))
        .with_mlps(|mlp| mlp.bias = config.mlp_bias);
    Ok(spec)
}
