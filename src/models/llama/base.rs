use crate::Result;
use crate::config::divides;
use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense};
use crate::nn::{Activation, Biases};

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

crate::config! {
    /// Configuration of [`Arcee`].
    pub struct ArceeConfig("arcee"): LlamaConfig {}
    defaults: {
        hidden_size: 2560, intermediate_size: 18432, max_position_embeddings: 4096, hidden_act: Activation::Relu2,
        rms_norm_eps: 1e-5,
    }
}

decoder! {
    /// Arcee Foundation Model (Arcee, 2025), Llama with a plain feed-forward of squared rectifiers;
    /// `transformers.models.arcee`.
    pub struct Arcee(ArceeConfig) = arcee;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Arcee's decoder.
pub fn arcee(config: &ArceeConfig) -> Result<DecoderSpec> {
    Ok(spec(config)?.with_mlps(|mlp| mlp.gated = false))
}

crate::config! {
    /// Configuration of [`SeedOss`].
    pub struct SeedOssConfig("seed_oss"): DecoderConfig {
        /// Whether the projections to queries, keys and values have a bias.
        attention_bias: bool = true,
        /// Whether the projection out of attention has a bias.
        attention_out_bias: bool = false,
        /// Whether the feed-forward layers have a bias.
        mlp_bias: bool = false,
    }
    defaults: {
        vocab_size: 155136, intermediate_size: 27648, num_hidden_layers: 64, num_attention_heads: 80,
        num_key_value_heads: Some(8), head_dim: Some(128), max_position_embeddings: 524288, pad_token_id: Some(1),
    }
    ignored: ["residual_dropout", "pretraining_tp"]
    validate: |config: &SeedOssConfig| config.rope(false).map(drop);
}

decoder! {
    /// Seed-OSS (ByteDance Seed, 2025), Llama with biases of queries, keys and values; `transformers.models.seed_oss`.
    pub struct SeedOss(SeedOssConfig) = seed_oss;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// The decoder of Seed-OSS.
pub fn seed_oss(config: &SeedOssConfig) -> Result<DecoderSpec> {
    let bias = Biases { o: config.attention_out_bias, ..Biases::all(config.attention_bias) };
    let spec = dense(config, config.rope(false)?)
        .with_attention(|attention| attention.bias = bias)
        .with_mlps(|mlp| mlp.bias = config.mlp_bias);
    Ok(spec)
}
