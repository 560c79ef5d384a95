use serde_json::{Map, Value, json};

use super::bloom;
use crate::config::{divides, positive};
use crate::models::decoder::{DecoderLayer, DecoderSpec, Names, decoder};
use crate::nn::rope::{self, RopeParameters};
use crate::nn::{Activation, AlibiOrigin, AlibiSpec, Arrangement, AttentionSpec, Biases, LayerSpec, MlpSpec, NormSpec};
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Falcon`].
    pub struct FalconConfig("falcon") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 65024,
        /// Width of the hidden states.
        hidden_size: i64 = 4544,
        /// Number of layers.
        num_hidden_layers: i64 = 32,
        /// Heads of queries per layer.
        num_attention_heads: i64 = 71,
        /// Norms of a layer whose halves stand side by side: 1 or 2; 2 in the new architecture where `None`.
        num_ln_in_parallel_attn: Option<i64> = None,
        /// Added to variances.
        layer_norm_epsilon: f64 = 1e-5,
        /// Heads of keys and values per layer of the new architecture.
        num_kv_heads: i64 = 71,
        /// Whether positions are linear biases of the scores, and not rotary.
        alibi: bool = false,
        /// Whether several heads of queries share one of keys and values, and halves of a layer stand side by side.
        new_decoder_architecture: bool = false,
        /// Whether all heads of queries share one of keys and values, in the old architecture.
        multi_query: bool = true,
        /// Whether the halves of a layer stand side by side.
        parallel_attn: bool = true,
        /// Whether projections have a bias.
        bias: bool = false,
        /// Length of the context.
        max_position_embeddings: i64 = 2048,
        /// Rotary positions.
        rope_parameters: RopeParameters = RopeParameters::plain(10_000.0),
        /// Width of the feed-forward layers.
        ffn_hidden_size: i64 = 4 * 4544,
        /// Activation of the feed-forward layers.
        activation: Activation = Activation::Gelu,
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = true,
        /// The token that fills rows up.
        pad_token_id: Option<i64> = None,
    }
    ignored: ["hidden_dropout", "attention_dropout"]
    upgrade: upgrade;
    validate: validate;
}

fn upgrade(fields: &mut Map<String, Value>, default: &FalconConfig) -> Result<()> {
    rope::upgrade(fields, &default.rope_parameters, default.max_position_embeddings);
    bloom::old_width(fields)?;
    let following = [
        ("num_kv_heads", "num_attention_heads", default.num_attention_heads, 1),
        ("ffn_hidden_size", "hidden_size", default.hidden_size, 4),
    ];
    for (field, follows, default, times) in following {
        if fields.get(field).is_none_or(Value::is_null) {
            let size = fields.get(follows).and_then(Value::as_i64).unwrap_or(default);
            fields.insert(field.into(), json!(size.saturating_mul(times)));
        }
    }
    Ok(())
}

fn validate(config: &FalconConfig) -> Result<()> {
    let wrong = |field: &str, message: &str| Err(Error::config("falcon", field, message));
    let heads = ("num_attention_heads", config.num_attention_heads);
    divides("falcon", ("hidden_size", config.hidden_size), heads)?;
    positive(
        "falcon",
        &[
            ("vocab_size", config.vocab_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("ffn_hidden_size", config.ffn_hidden_size),
            ("max_position_embeddings", config.max_position_embeddings),
        ],
    )?;
    if !config.alibi {
        config.rope()?;
    }
    match (config.new_decoder_architecture, config.parallel_attn, config.num_ln_in_parallel_attn) {
        (true, false, _) => wrong("parallel_attn", "the new architecture has no layers in sequence; expected true"),
        (true, _, None | Some(1 | 2)) => divides("falcon", heads, ("num_kv_heads", config.num_kv_heads)),
        (true, ..) => wrong("num_ln_in_parallel_attn", "a layer has one norm or two; expected 1 or 2"),
        (false, true, Some(2)) => wrong("num_ln_in_parallel_attn", "the old architecture has one norm; expected 1"),
        (false, ..) if !config.multi_query && config.num_kv_heads != config.num_attention_heads => {
            wrong("num_kv_heads", "the old architecture has as many as `num_attention_heads`, or one by `multi_query`")
        }
        _ => Ok(()),
    }
}

impl FalconConfig {
    fn head_dim(&self) -> i64 {
        self.hidden_size / self.num_attention_heads
    }

    fn rope(&self) -> Result<rope::RopeSpec> {
        let settings = self.rope_parameters.same("falcon")?;
        settings.spec("falcon", self.head_dim(), self.max_position_embeddings, false)
    }

    fn kv_heads(&self) -> i64 {
        match (self.new_decoder_architecture, self.multi_query) {
            (true, _) => self.num_kv_heads,
            (false, true) => 1,
            (false, false) => self.num_attention_heads,
        }
    }

    fn arrangement(&self) -> Arrangement {
        match (self.parallel_attn, self.new_decoder_architecture, self.num_ln_in_parallel_attn) {
            (false, ..) => Arrangement::Sequential,
            (true, true, None | Some(2)) => Arrangement::ParallelNorms,
            _ => Arrangement::Parallel,
        }
    }
}

decoder! {
    /// Falcon (Almazrouei et al., 2023): queries that share keys and values, attention and feed-forward side by side,
    /// rotary positions or linear biases; `transformers.models.falcon`.
    pub struct Falcon(FalconConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Falcon's decoder.
pub fn spec(config: &FalconConfig) -> Result<DecoderSpec> {
    let (hidden, heads, head_dim) = (config.hidden_size, config.num_attention_heads, config.head_dim());
    let kv_heads = config.kv_heads();
    let norm = NormSpec::layer(config.layer_norm_epsilon);
    let attention = AttentionSpec {
        bias: Biases::all(config.bias),
        eager: config.alibi,
        ..AttentionSpec::grouped(hidden, heads, kv_heads, head_dim)
    };
    let mlp = MlpSpec { bias: config.bias, ..MlpSpec::plain(hidden, config.ffn_hidden_size, config.activation) };
    let arrangement = config.arrangement();
    let layer = DecoderLayer::new(LayerSpec { arrangement, ..LayerSpec::new(attention, mlp, norm) });
    let rope = if config.alibi { None } else { Some(config.rope()?) };
    let layers = vec![DecoderLayer { rope, ..layer }; config.num_hidden_layers as usize];
    // The reference adds them before it scales the scores, and computes them in bfloat16 whatever the model is in.
    let alibi = AlibiSpec { scale: attention.scale, rounded: true, ..AlibiSpec::new(heads, AlibiOrigin::FirstToken) };
    let mut names = bloom::names(kv_heads, heads / kv_heads * head_dim, head_dim);
    if arrangement == Arrangement::ParallelNorms {
        names = names.names(&[("layers.*.attention_norm", "h.*.ln_attn"), ("layers.*.mlp_norm", "h.*.ln_mlp")]);
    }
    let spec = DecoderSpec {
        alibi: config.alibi.then_some(alibi),
        ..DecoderSpec::new(config.vocab_size, layers, norm, Names::below("transformer", names))
    };
    Ok(spec.with_heads(config.tie_word_embeddings, config.num_labels, config.pad_token_id))
}
