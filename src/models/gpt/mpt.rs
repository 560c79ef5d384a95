use serde_json::{Map, Value};

use crate::Result;
use crate::config::{divides, normalise_part, positive};
use crate::models::decoder::{DecoderLayer, DecoderSpec, Names, decoder};
use crate::nn::{Activation, AlibiOrigin, AlibiSpec, AttentionSpec, LayerSpec, MlpSpec, NormSpec};
use crate::weights::NameTable;

crate::config! {
    /// The attention of [`MptConfig`].
    pub struct MptAttentionConfig("mpt") {
        /// Bound of the elements of queries, keys and values on either side of 0; none where `None` or 0.
        clip_qkv: Option<f64> = None,
        /// What scores are multiplied by; divided by the root of the head's width where `None`.
        softmax_scale: Option<f64> = None,
    }
    // The reference has the first of the kinds of attention that these once chose between, and ALiBi always.
    ignored: ["attn_type", "attn_pdrop", "attn_impl", "prefix_lm", "qk_ln", "attn_uses_sequence_id", "alibi", "alibi_bias_max"]
}

crate::config! {
    /// Configuration of [`Mpt`].
    pub struct MptConfig("mpt") {
        /// Width of the hidden states.
        d_model: i64 = 2048,
        /// Attention heads per layer.
        n_heads: i64 = 16,
        /// Number of layers.
        n_layers: i64 = 24,
        /// Most tokens of a sequence.
        max_seq_len: i64 = 2048,
        /// Tokens in the vocabulary.
        vocab_size: i64 = 50368,
        /// Added to variances.
        layer_norm_epsilon: f64 = 1e-5,
        /// The attention.
        attn_config: MptAttentionConfig = MptAttentionConfig::default(),
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = true,
        /// The token that fills rows up.
        pad_token_id: Option<i64> = None,
    }
    // The reference reads none of these: feed-forward layers are four times as wide, there are no biases, and logits
    // are not scaled.
    ignored: [
        "expansion_ratio", "resid_pdrop", "emb_pdrop", "learned_pos_emb", "init_device", "logit_scale", "no_bias",
        "embedding_fraction", "norm_type",
    ]
    aliases: [("num_attention_heads", "n_heads"), ("hidden_size", "d_model"), ("num_hidden_layers", "n_layers")]
    parts: ["attn_config"]
    upgrade: |fields: &mut Map<String, Value>, _: &_| normalise_part::<MptAttentionConfig>(fields, "attn_config");
    validate: validate;
}

fn validate(config: &MptConfig) -> Result<()> {
    divides("mpt", ("d_model", config.d_model), ("n_heads", config.n_heads))?;
    positive(
        "mpt",
        &[("vocab_size", config.vocab_size), ("n_layers", config.n_layers), ("max_seq_len", config.max_seq_len)],
    )
}

decoder! {
    /// MPT (MosaicML, 2023): positions are linear biases of the scores, and nothing has a shift or a bias;
    /// `transformers.models.mpt`.
    pub struct Mpt(MptConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// MPT's decoder.
pub fn spec(config: &MptConfig) -> Result<DecoderSpec> {
    let (hidden, heads) = (config.d_model, config.n_heads);
    let norm = NormSpec::layer(config.layer_norm_epsilon).unshifted();
    let attention = AttentionSpec::grouped(hidden, heads, heads, hidden / heads);
    let attention = AttentionSpec {
        scale: config.attn_config.softmax_scale.unwrap_or(attention.scale),
        eager: true,
        filled: true,
        clip: config.attn_config.clip_qkv.filter(|bound| *bound != 0.0),
        ..attention
    };
    let mlp = MlpSpec { bias: false, ..MlpSpec::plain(hidden, 4 * hidden, Activation::Gelu) };
    let layers = vec![DecoderLayer::new(LayerSpec::new(attention, mlp, norm)); config.n_layers as usize];
    let spec = DecoderSpec {
        alibi: Some(AlibiSpec::new(heads, AlibiOrigin::LastKey)),
        most_tokens: Some(config.max_seq_len),
        ..DecoderSpec::new(config.vocab_size, layers, norm, Names::below("transformer", names(hidden)))
    };
    Ok(spec.with_heads(config.tie_word_embeddings, config.num_labels, config.pad_token_id))
}

fn names(hidden: i64) -> NameTable {
    NameTable::new()
        .names(&[
            ("token", "wte"),
            ("norm", "norm_f"),
            ("layers", "blocks"),
            ("layers.*.attention_norm", "blocks.*.norm_1"),
            ("layers.*.mlp_norm", "blocks.*.norm_2"),
            ("layers.*.attention", "blocks.*.attn"),
            ("layers.*.attention.o", "blocks.*.attn.out_proj"),
            ("layers.*.mlp.up", "blocks.*.ffn.up_proj"),
            ("layers.*.mlp.down", "blocks.*.ffn.down_proj"),
        ])
        .fused(
            "blocks.*.attn.Wqkv",
            &[("layers.*.attention.q", hidden), ("layers.*.attention.k", hidden), ("layers.*.attention.v", hidden)],
            false,
        )
}
