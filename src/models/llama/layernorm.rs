use crate::Result;
use crate::config::divides;
use crate::models::decoder::{DecoderConfig, DecoderSpec, decoder, dense_with};
use crate::nn::rope::RopeParameters;
use crate::nn::{Activation, Biases, NormSpec, QkNorm};

crate::config! {
    /// Configuration of [`Starcoder2`].
    pub struct Starcoder2Config("starcoder2"): DecoderConfig {
        /// Added to variances.
        norm_epsilon: f64 = 1e-5,
        /// How many tokens back a token sees, itself included; all where `None`.
        sliding_window: Option<i64> = None,
        /// Whether all projections have a bias.
        use_bias: bool = true,
    }
    defaults: {
        vocab_size: 49152, hidden_size: 3072, intermediate_size: 12288, num_hidden_layers: 30, num_attention_heads: 24,
        num_key_value_heads: Some(2), hidden_act: Activation::GeluNew, max_position_embeddings: 4096,
        tie_word_embeddings: true,
    }
    without: ["rms_norm_eps"]
    undeclared: ["head_dim"]
    ignored: ["residual_dropout", "embedding_dropout"]
    validate: |config: &Starcoder2Config| config.rope(false).map(drop);
}

decoder! {
    /// StarCoder 2 (Lozhkov et al., 2024), Mistral with LayerNorms, biases and a plain feed-forward;
    /// `transformers.models.starcoder2`.
    pub struct Starcoder2(Starcoder2Config) = starcoder2;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// The decoder of StarCoder 2.
pub fn starcoder2(config: &Starcoder2Config) -> Result<DecoderSpec> {
    let spec = dense_with(config, Some(config.rope(false)?), NormSpec::layer(config.norm_epsilon))
        .with_names(&[("layers.*.mlp.up", "layers.*.mlp.c_fc"), ("layers.*.mlp.down", "layers.*.mlp.c_proj")])
        .with_layers(|_, layer| layer.window = config.sliding_window)
        .with_mlps(|mlp| (mlp.gated, mlp.bias) = (false, config.use_bias))
        .with_attention(|attention| attention.bias = Biases::all(config.use_bias));
    Ok(spec)
}

crate::config! {
    /// Configuration of [`Nemotron`].
    pub struct NemotronConfig("nemotron"): DecoderConfig {
        /// Added to variances.
        norm_eps: f64 = 1e-5,
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Whether the feed-forward layers have a bias.
        mlp_bias: bool = false,
    }
    defaults: {
        vocab_size: 256000, hidden_size: 6144, intermediate_size: 24576, num_attention_heads: 48,
        hidden_act: Activation::Relu2, max_position_embeddings: 4096,
        rope_parameters: RopeParameters::plain(10_000.0).partial(0.5),
    }
    without: ["rms_norm_eps"]
    validate: |config: &NemotronConfig| config.rope(true).map(drop);
}

decoder! {
    /// Nemotron and Minitron (Parmar et al., 2024), Llama with LayerNorms that scale by one more than their weights and
    /// a plain feed-forward, which rotates a part of each head; `transformers.models.nemotron`.
    pub struct Nemotron(NemotronConfig) = nemotron;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Nemotron's decoder.
pub fn nemotron(config: &NemotronConfig) -> Result<DecoderSpec> {
    let spec = dense_with(config, Some(config.rope(true)?), NormSpec::layer(config.norm_eps).one_plus())
        .with_mlps(|mlp| (mlp.gated, mlp.bias) = (false, config.mlp_bias))
        .with_attention(|attention| attention.bias = Biases::all(config.attention_bias));
    Ok(spec)
}

crate::config! {
    /// Configuration of [`Persimmon`].
    pub struct PersimmonConfig("persimmon"): DecoderConfig {
        /// Added to variances.
        layer_norm_eps: f64 = 1e-5,
        /// Whether queries and keys are normalised.
        qk_layernorm: bool = true,
    }
    defaults: {
        vocab_size: 262144, intermediate_size: 16384, num_hidden_layers: 36, num_attention_heads: 64,
        hidden_act: Activation::Relu2, max_position_embeddings: 16384,
        rope_parameters: RopeParameters::plain(10_000.0).partial(0.5),
    }
    without: ["num_key_value_heads", "head_dim", "rms_norm_eps"]
    ignored: ["hidden_dropout"]
    validate: |config: &PersimmonConfig| {
        divides("persimmon", ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))?;
        config.rope(true).map(drop)
    };
}

decoder! {
    /// Persimmon (Adept, 2023), Llama with LayerNorms, biases and a plain feed-forward, whose queries, keys and values
    /// are stored head by head; `transformers.models.persimmon`.
    pub struct Persimmon(PersimmonConfig) = persimmon;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification]
}

/// Persimmon's decoder.
pub fn persimmon(config: &PersimmonConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::layer(config.layer_norm_eps);
    let head_dim = config.head_dim();
    let mut spec = dense_with(config, Some(config.rope(true)?), norm)
        .with_names(&[
            ("layers.*.attention.o", "layers.*.self_attn.dense"),
            ("layers.*.attention.q_norm", "layers.*.self_attn.q_layernorm"),
            ("layers.*.attention.k_norm", "layers.*.self_attn.k_layernorm"),
            ("layers.*.mlp.up", "layers.*.mlp.dense_h_to_4h"),
            ("layers.*.mlp.down", "layers.*.mlp.dense_4h_to_h"),
            ("norm", "final_layernorm"),
        ])
        .with_mlps(|mlp| (mlp.gated, mlp.bias) = (false, true))
        .with_attention(|attention| {
            attention.bias = Biases::ALL;
            attention.qk_norm = config.qk_layernorm.then(|| QkNorm::heads(norm));
        });
    spec.names.table = spec.names.table.interleaved(
        "layers.*.self_attn.query_key_value",
        config.num_attention_heads,
        &[("layers.*.attention.q", head_dim), ("layers.*.attention.k", head_dim), ("layers.*.attention.v", head_dim)],
    );
    Ok(spec)
}
