use serde_json::{Map, Value, json};

use crate::Result;
use crate::config::{divides, positive};
use crate::nn::Activation;
use crate::nn::rope::{self, RopeParameters, RopeSpec};

crate::config! {
    /// Configuration of [`Llama`](super::Llama).
    pub struct LlamaConfig("llama") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 32000,
        /// Width of the hidden states.
        hidden_size: i64 = 4096,
        /// Width of the feed-forward layers.
        intermediate_size: i64 = 11008,
        /// Number of layers.
        num_hidden_layers: i64 = 32,
        /// Heads of queries per layer.
        num_attention_heads: i64 = 32,
        /// Heads of keys and values per layer; as many as of queries where nothing is said.
        num_key_value_heads: i64 = 32,
        /// Width of a head; the heads share `hidden_size` where nothing is said.
        head_dim: i64 = 128,
        /// Activation of the feed-forward layers.
        hidden_act: Activation = Activation::Silu,
        /// Length of the context.
        max_position_embeddings: i64 = 2048,
        /// Added to mean squares.
        rms_norm_eps: f64 = 1e-6,
        /// Rotary positions.
        rope_parameters: RopeParameters = RopeParameters::plain(10_000.0),
        /// Whether the projections of attention have a bias.
        attention_bias: bool = false,
        /// Whether the feed-forward layers have a bias.
        mlp_bias: bool = false,
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = false,
        /// The token that fills rows up.
        pad_token_id: Option<i64> = None,
    }
    ignored: ["attention_dropout", "pretraining_tp"]
    upgrade: upgrade;
    validate: validate;
}

impl LlamaConfig {
    /// The frequencies of the rotary positions.
    pub fn rope(&self) -> Result<RopeSpec> {
        self.rope_parameters.spec("llama", self.head_dim, self.max_position_embeddings, false)
    }
}

fn upgrade(fields: &mut Map<String, Value>) -> Result<()> {
    let default = LlamaConfig::default();
    rope::upgrade(fields, 10_000.0, default.max_position_embeddings);
    let size = |field: &str, default: i64| fields.get(field).map_or(Some(default), Value::as_i64);
    let heads = size("num_attention_heads", default.num_attention_heads).filter(|heads| *heads > 0);
    let head_dim = size("hidden_size", default.hidden_size).zip(heads).map(|(hidden, heads)| hidden / heads);
    // A size that is no number is left for the parser to refuse.
    for (field, size) in [("num_key_value_heads", heads), ("head_dim", head_dim)] {
        if fields.get(field).is_none_or(Value::is_null) {
            fields.insert(field.into(), json!(size.unwrap_or(1)));
        }
    }
    Ok(())
}

fn validate(config: &LlamaConfig) -> Result<()> {
    divides("llama", ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))?;
    divides(
        "llama",
        ("num_attention_heads", config.num_attention_heads),
        ("num_key_value_heads", config.num_key_value_heads),
    )?;
    positive(
        "llama",
        &[
            ("vocab_size", config.vocab_size),
            ("intermediate_size", config.intermediate_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("head_dim", config.head_dim),
            ("max_position_embeddings", config.max_position_embeddings),
        ],
    )?;
    config.rope().map(drop)
}
