use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense_with};
use crate::nn::rope::RopeParameters;
use crate::nn::{Biases, NormSpec};
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Helium`].
    pub struct HeliumConfig("helium"): DecoderConfig {
        /// Whether the projections to queries, keys and values have a bias.
        attention_bias: bool = false,
        /// Whether the feed-forward layers have a bias.
        mlp_bias: bool = false,
    }
    defaults: {
        vocab_size: 48000, hidden_size: 2560, intermediate_size: 7040, num_hidden_layers: 24, num_attention_heads: 20,
        num_key_value_heads: Some(20), head_dim: Some(128), max_position_embeddings: 4096, rms_norm_eps: 1e-8,
        pad_token_id: Some(3), rope_parameters: RopeParameters::plain(100_000.0),
    }
    validate: |config: &HeliumConfig| {
        if config.head_dim() * config.num_attention_heads != config.hidden_size {
            return Err(Error::config("helium", "head_dim", "must be `hidden_size` / `num_attention_heads`"));
        }
        config.rope(false).map(drop)
    };
}

decoder! {
    /// Helium 1 (Kyutai, 2025), Llama that rotates neighbours and scales its norms before it rounds them;
    /// `transformers.models.helium`.
    pub struct Helium(HeliumConfig) = helium;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// Helium's decoder.
pub fn helium(config: &HeliumConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::rms(config.rms_norm_eps).wide();
    let spec = dense_with(config, Some(config.rope(false)?.interleaved()), norm)
        .with_mlps(|mlp| mlp.bias = config.mlp_bias)
        .with_attention(|attention| attention.bias = Biases { o: false, ..Biases::all(config.attention_bias) });
    Ok(spec)
}
