//! Llama, which most decoders derive from: RMS norms, rotary positions, grouped heads, gated feed-forward.

mod config;

pub use config::LlamaConfig;

use crate::Result;
use crate::model::Architecture;
use crate::models::decoder::{DecoderLayer, DecoderSpec, LmHead, Names, decoder_classes};
use crate::nn::{AttentionSpec, Biases, LayerSpec, MlpSpec, NormSpec, Placement};
use crate::weights::NameTable;

/// Llama (Touvron et al., 2023); `transformers.models.llama`.
#[derive(Debug)]
pub struct Llama;

impl Architecture for Llama {
    type Config = LlamaConfig;
}

/// Llama's decoder.
pub fn spec(config: &LlamaConfig) -> Result<DecoderSpec> {
    let norm = NormSpec::rms(config.rms_norm_eps);
    let layer = LayerSpec {
        attention: AttentionSpec {
            hidden: config.hidden_size,
            source: config.hidden_size,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            scale: (config.head_dim as f64).powf(-0.5),
            bias: if config.attention_bias { Biases::ALL } else { Biases::NONE },
        },
        cross: None,
        mlp: MlpSpec {
            hidden: config.hidden_size,
            intermediate: config.intermediate_size,
            activation: config.hidden_act,
            gated: true,
            bias: config.mlp_bias,
        },
        norm,
        placement: Placement::Pre,
        adapter: None,
    };
    let layer = DecoderLayer { layer, window: None, rope: Some(config.rope()?) };
    Ok(DecoderSpec {
        vocab_size: config.vocab_size,
        hidden: config.hidden_size,
        embedding_scale: None,
        positions: None,
        token_types: false,
        layers: vec![layer; config.num_hidden_layers as usize],
        final_norm: Some(norm),
        lm_head: LmHead { tied: config.tie_word_embeddings, bias: false },
        labels: config.num_labels,
        pad_token: config.pad_token_id,
        frozen_padding: true,
        names: Names {
            table: names(),
            prefix: "model",
            span_prefix: "transformer",
            token_head: "score",
            ignored: &["attention.rotary_emb.inv_freq"],
        },
    })
}

/// The names of Llama's parameters, which its heirs share.
pub fn names() -> NameTable {
    NameTable::new().names(&[
        ("token", "embed_tokens"),
        ("layers.*.attention", "layers.*.self_attn"),
        ("layers.*.attention.q", "layers.*.self_attn.q_proj"),
        ("layers.*.attention.k", "layers.*.self_attn.k_proj"),
        ("layers.*.attention.v", "layers.*.self_attn.v_proj"),
        ("layers.*.attention.o", "layers.*.self_attn.o_proj"),
        ("layers.*.attention_norm", "layers.*.input_layernorm"),
        ("layers.*.mlp_norm", "layers.*.post_attention_layernorm"),
        ("layers.*.mlp.gate", "layers.*.mlp.gate_proj"),
        ("layers.*.mlp.up", "layers.*.mlp.up_proj"),
        ("layers.*.mlp.down", "layers.*.mlp.down_proj"),
    ])
}

decoder_classes!(
    Llama,
    spec,
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
);
