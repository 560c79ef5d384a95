use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense};
use crate::nn::Biases;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Granite`].
    pub struct GraniteConfig("granite"): DecoderConfig {
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Whether the feed-forward layers have a bias.
        mlp_bias: bool = false,
        /// What the vectors of tokens are multiplied by.
        embedding_multiplier: f64 = 1.0,
        /// What logits over the vocabulary are divided by.
        logits_scaling: f64 = 1.0,
        /// What the output of each sublayer is multiplied by.
        residual_multiplier: f64 = 1.0,
        /// What scores of attention are multiplied by.
        attention_multiplier: f64 = 1.0,
    }
    undeclared: ["head_dim"]
    validate: |config: &GraniteConfig| {
        if config.logits_scaling == 0.0 {
            return Err(Error::config("granite", "logits_scaling", "must not be 0"));
        }
        config.rope(false).map(drop)
    };
}

decoder! {
    /// Granite 3 (IBM, 2024), Llama with constant factors on embeddings, scores, residuals and logits;
    /// `transformers.models.granite`.
    pub struct Granite(GraniteConfig) = granite;
    [FeatureExtraction, TextGeneration]
}

/// Granite's decoder.
pub fn granite(config: &GraniteConfig) -> Result<DecoderSpec> {
    let spec = dense(config, config.rope(false)?)
        .with_layers(|_, layer| layer.layer.residual_scale = Some(config.residual_multiplier))
        .with_mlps(|mlp| mlp.bias = config.mlp_bias)
        .with_attention(|attention| {
            attention.bias = Biases::all(config.attention_bias);
            attention.scale = config.attention_multiplier;
        });
    Ok(DecoderSpec {
        input_scale: Some(config.embedding_multiplier),
        logit_scale: Some(config.logits_scaling.recip()),
        ..spec
    })
}
