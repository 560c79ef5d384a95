use serde_json::{Map, Value, json};

use crate::Result;
use crate::config::{divides, positive};
use crate::models::decoder::{DecoderLayer, DecoderSpec, LearnedPositions, Names, decoder};
use crate::nn::{Activation, AttentionSpec, Biases, LayerSpec, MlpSpec, NormSpec, Placement};
use crate::weights::NameTable;

crate::config! {
    /// Configuration of [`Opt`].
    pub struct OptConfig("opt") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 50272,
        /// Width of the hidden states.
        hidden_size: i64 = 768,
        /// Number of layers.
        num_hidden_layers: i64 = 12,
        /// Width of the feed-forward layers.
        ffn_dim: i64 = 3072,
        /// Positions that tokens can take.
        max_position_embeddings: i64 = 2048,
        /// Whether the input of each sublayer is normalised, and not the sum after it.
        do_layer_norm_before: bool = true,
        /// Whether the last norm, which there is where inputs are normalised, is left out.
        _remove_final_layer_norm: bool = false,
        /// Width of the vectors of tokens, which are projected to that of the layers where it differs.
        word_embed_proj_dim: i64 = 768,
        /// Attention heads per layer.
        num_attention_heads: i64 = 12,
        /// Activation of the feed-forward layers.
        activation_function: Activation = Activation::Relu,
        /// Whether the projections of the layers have a bias.
        enable_bias: bool = true,
        /// Whether norms have parameters.
        layer_norm_elementwise_affine: bool = true,
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = true,
        /// The token that fills rows up.
        pad_token_id: Option<i64> = Some(1),
    }
    ignored: ["dropout", "attention_dropout", "layerdrop", "init_std"]
    upgrade: upgrade;
    validate: validate;
}

fn upgrade(fields: &mut Map<String, Value>, default: &OptConfig) -> Result<()> {
    if fields.get("word_embed_proj_dim").is_none_or(Value::is_null) {
        let hidden = fields.get("hidden_size").cloned().unwrap_or(json!(default.hidden_size));
        // A width that is no number is for the parser to refuse, by its own name.
        let width = if hidden.is_number() { hidden } else { json!(1) };
        fields.insert("word_embed_proj_dim".into(), width);
    }
    Ok(())
}

fn validate(config: &OptConfig) -> Result<()> {
    divides("opt", ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))?;
    positive(
        "opt",
        &[
            ("vocab_size", config.vocab_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("ffn_dim", config.ffn_dim),
            ("max_position_embeddings", config.max_position_embeddings),
            ("word_embed_proj_dim", config.word_embed_proj_dim),
        ],
    )
}

decoder! {
    /// OPT (Zhang et al., 2022): learned positions that padding does not count towards; `transformers.models.opt`.
    pub struct Opt(OptConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, QuestionAnswering]
}

/// OPT's decoder.
pub fn spec(config: &OptConfig) -> Result<DecoderSpec> {
    let hidden = config.hidden_size;
    let norm = NormSpec::layer(1e-5);
    let norm = if config.layer_norm_elementwise_affine { norm } else { norm.bare() };
    let bias = Biases::all(config.enable_bias);
    let attention = AttentionSpec { bias, ..AttentionSpec::even(hidden, config.num_attention_heads) };
    let mlp =
        MlpSpec { bias: config.enable_bias, ..MlpSpec::plain(hidden, config.ffn_dim, config.activation_function) };
    let placement = if config.do_layer_norm_before { Placement::Pre } else { Placement::Post };
    let layer = DecoderLayer::new(LayerSpec { placement, ..LayerSpec::new(attention, mlp, norm) });
    let layers = vec![layer; config.num_hidden_layers as usize];
    let last_norm = config.do_layer_norm_before && !config._remove_final_layer_norm;
    let spec = DecoderSpec {
        token_width: config.word_embed_proj_dim,
        positions: Some(LearnedPositions { count: config.max_position_embeddings, offset: 2, masked: true }),
        final_norm: last_norm.then_some(norm),
        frozen_padding: true,
        ..DecoderSpec::new(config.vocab_size, layers, norm, Names::below("model", names()))
    };
    Ok(spec.with_heads(config.tie_word_embeddings, config.num_labels, config.pad_token_id))
}

fn names() -> NameTable {
    NameTable::new().names(&[
        ("token", "decoder.embed_tokens"),
        ("position", "decoder.embed_positions"),
        ("project_in", "decoder.project_in"),
        ("project_out", "decoder.project_out"),
        ("norm", "decoder.final_layer_norm"),
        ("layers", "decoder.layers"),
        ("layers.*.attention_norm", "decoder.layers.*.self_attn_layer_norm"),
        ("layers.*.mlp_norm", "decoder.layers.*.final_layer_norm"),
        ("layers.*.attention", "decoder.layers.*.self_attn"),
        ("layers.*.attention.q", "decoder.layers.*.self_attn.q_proj"),
        ("layers.*.attention.k", "decoder.layers.*.self_attn.k_proj"),
        ("layers.*.attention.v", "decoder.layers.*.self_attn.v_proj"),
        ("layers.*.attention.o", "decoder.layers.*.self_attn.out_proj"),
        ("layers.*.mlp.up", "decoder.layers.*.fc1"),
        ("layers.*.mlp.down", "decoder.layers.*.fc2"),
    ])
}
