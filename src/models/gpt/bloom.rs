use serde_json::{Map, Value};

use crate::config::{divides, positive};
use crate::models::decoder::{DecoderLayer, DecoderSpec, Names, decoder};
use crate::nn::{Activation, AlibiOrigin, AlibiSpec, AttentionSpec, LayerSpec, MlpSpec, NormSpec, Placement};
use crate::weights::NameTable;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Bloom`].
    pub struct BloomConfig("bloom") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 250880,
        /// Width of the hidden states.
        hidden_size: i64 = 64,
        /// Number of layers.
        n_layer: i64 = 2,
        /// Attention heads per layer.
        n_head: i64 = 8,
        /// Added to variances.
        layer_norm_epsilon: f64 = 1e-5,
        /// Whether the residual is normalised with the input of a sublayer.
        apply_residual_connection_post_layernorm: bool = false,
        /// Devices that the pretraining split matrices over.
        pretraining_tp: i64 = 1,
        /// Whether sums are taken in the order of those devices.
        slow_but_exact: bool = false,
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = true,
        /// The token that fills rows up.
        pad_token_id: Option<i64> = None,
    }
    ignored: ["hidden_dropout", "attention_dropout"]
    aliases: [("num_hidden_layers", "n_layer"), ("num_attention_heads", "n_head")]
    upgrade: |fields, _: &_| old_width(fields);
    validate: validate;
}

/// Takes `n_embed`, where it is given, for `hidden_size`.
pub fn old_width(fields: &mut Map<String, Value>) -> Result<()> {
    if let Some(width) = fields.remove("n_embed").filter(|width| !width.is_null()) {
        fields.insert("hidden_size".into(), width);
    }
    Ok(())
}

fn validate(config: &BloomConfig) -> Result<()> {
    if config.slow_but_exact && config.pretraining_tp > 1 {
        let message = "with `pretraining_tp` beyond 1 leaves out biases, which is not supported; expected false";
        return Err(Error::config("bloom", "slow_but_exact", message));
    }
    divides("bloom", ("hidden_size", config.hidden_size), ("n_head", config.n_head))?;
    positive("bloom", &[("vocab_size", config.vocab_size), ("n_layer", config.n_layer)])
}

decoder! {
    /// BLOOM (BigScience, 2022): positions are linear biases of the scores, and the vectors of tokens are normalised;
    /// `transformers.models.bloom`.
    pub struct Bloom(BloomConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// BLOOM's decoder.
pub fn spec(config: &BloomConfig) -> Result<DecoderSpec> {
    let (hidden, heads) = (config.hidden_size, config.n_head);
    let norm = NormSpec::layer(config.layer_norm_epsilon);
    let mlp = MlpSpec::plain(hidden, 4 * hidden, Activation::GeluNew);
    let attention = AttentionSpec { eager: true, ..AttentionSpec::even(hidden, heads) };
    let mut layer = LayerSpec::new(attention, mlp, norm);
    if config.apply_residual_connection_post_layernorm {
        layer.placement = Placement::Residual;
    }
    let layers = vec![DecoderLayer::new(layer); config.n_layer as usize];
    let names = Names::below("transformer", names(heads, hidden / heads, hidden / heads));
    let spec = DecoderSpec {
        alibi: Some(AlibiSpec::new(heads, AlibiOrigin::FirstToken)),
        embedding_norm: Some(norm),
        ..DecoderSpec::new(config.vocab_size, layers, norm, names)
    };
    Ok(spec.with_heads(config.tie_word_embeddings, config.num_labels, config.pad_token_id))
}

/// The names of BLOOM's parameters, which Falcon shares: `groups` times queries of `width` together, then a head of
/// keys and one of values.
pub fn names(groups: i64, width: i64, head_dim: i64) -> NameTable {
    NameTable::new()
        .names(&[
            ("token", "word_embeddings"),
            ("embedding_norm", "word_embeddings_layernorm"),
            ("norm", "ln_f"),
            ("layers", "h"),
            ("layers.*.attention_norm", "h.*.input_layernorm"),
            ("layers.*.mlp_norm", "h.*.post_attention_layernorm"),
            ("layers.*.attention", "h.*.self_attention"),
            ("layers.*.attention.o", "h.*.self_attention.dense"),
            ("layers.*.mlp.up", "h.*.mlp.dense_h_to_4h"),
            ("layers.*.mlp.down", "h.*.mlp.dense_4h_to_h"),
        ])
        .interleaved(
            "h.*.self_attention.query_key_value",
            groups,
            &[("layers.*.attention.q", width), ("layers.*.attention.k", head_dim), ("layers.*.attention.v", head_dim)],
        )
}
