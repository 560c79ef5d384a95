use crate::config::divides;
use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense_with};
use crate::nn::rope::RopeParameters;
use crate::nn::{Arrangement, Biases, NormSpec, QkNorm, QkScope};
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`StableLm`].
    pub struct StableLmConfig("stablelm"): DecoderConfig {
        /// Added to variances.
        layer_norm_eps: f64 = 1e-5,
        /// Whether the projections to queries, keys and values have a bias.
        use_qkv_bias: bool = false,
        /// Whether the queries and keys of each head are normalised.
        qk_layernorm: bool = false,
        /// Whether attention and feed-forward stand side by side, on one norm.
        use_parallel_residual: bool = false,
    }
    defaults: {
        vocab_size: 50304, hidden_size: 2560, intermediate_size: 6912, num_key_value_heads: Some(32),
        max_position_embeddings: 4096, rope_parameters: RopeParameters::plain(10_000.0).partial(0.25),
    }
    without: ["rms_norm_eps"]
    undeclared: ["head_dim"]
    ignored: ["hidden_dropout"]
    validate: |config: &StableLmConfig| {
        let heads = ("num_attention_heads", config.num_attention_heads);
        divides("stablelm", ("hidden_size", config.hidden_size), heads)?;
        if config.head_dim() * config.num_attention_heads != config.hidden_size {
            return Err(Error::config("stablelm", "head_dim", "must be `hidden_size` / `num_attention_heads`"));
        }
        config.rope(true).map(drop)
    };
}

decoder! {
    /// StableLM 2 (Bellagente et al., 2024), Llama with LayerNorms that rotates a part of each head;
    /// `transformers.models.stablelm`.
    pub struct StableLm(StableLmConfig) = stablelm;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// StableLM's decoder.
pub fn stablelm(config: &StableLmConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::layer(config.layer_norm_eps);
    let qk_norm = config.qk_layernorm.then(|| QkNorm::new(norm.unshifted(), QkScope::EachHeadListed));
    let arrangement = if config.use_parallel_residual { Arrangement::Parallel } else { Arrangement::Sequential };
    let spec = dense_with(config, Some(config.rope(true)?), norm)
        .with_arrangement(arrangement)
        .with_names(&[
            ("layers.*.attention.q_norm", "layers.*.self_attn.q_layernorm"),
            ("layers.*.attention.k_norm", "layers.*.self_attn.k_layernorm"),
        ])
        .with_attention(|attention| {
            attention.bias = Biases { o: false, ..Biases::all(config.use_qkv_bias) };
            attention.qk_norm = qk_norm;
        });
    Ok(spec)
}
