use serde_json::{Map, Value, json};

use crate::Result;
use crate::config::{divides, positive};
use crate::nn::Activation;
use crate::nn::rope::{self, RopeParameters, RopeSettings, RopeSpec};

crate::config! {
    /// What the configurations of decoders have in common; each architecture derives its own from it.
    ///
    /// The defaults are Llama's.
    pub struct DecoderConfig("decoder") {
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
        num_key_value_heads: Option<i64> = None,
        /// Width of a head; the heads share `hidden_size` where nothing is said.
        head_dim: Option<i64> = None,
        /// Activation of the feed-forward layers.
        hidden_act: Activation = Activation::Silu,
        /// Length of the context.
        max_position_embeddings: i64 = 2048,
        /// Added to mean squares.
        rms_norm_eps: f64 = 1e-6,
        /// Rotary positions, of all layers or for each type of them.
        rope_parameters: RopeParameters = RopeParameters::plain(10_000.0),
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = false,
        /// The token that fills rows up.
        pad_token_id: Option<i64> = None,
    }
    ignored: ["attention_dropout"]
    upgrade: upgrade;
    validate: validate;
}

impl DecoderConfig {
    /// Heads of keys and values per layer.
    pub fn kv_heads(&self) -> i64 {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of a head.
    pub fn head_dim(&self) -> i64 {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// The rotation of all layers; `partial` as in [`RopeSettings::spec`].
    ///
    /// # Errors
    /// For parameters that are missing or out of range, and where layers differ.
    pub fn rope(&self, partial: bool) -> Result<RopeSpec> {
        self.rotation(self.rope_parameters.same("decoder")?, partial)
    }

    /// The rotation of the layers of type `kind`, where they rotate; `partial` as in [`RopeSettings::spec`].
    ///
    /// # Errors
    /// For parameters that are missing or out of range.
    pub fn rope_of(&self, kind: &str, partial: bool) -> Result<Option<RopeSpec>> {
        let settings = self.rope_parameters.of_type("decoder", kind)?;
        settings.map(|settings| self.rotation(settings, partial)).transpose()
    }

    fn rotation(&self, settings: &RopeSettings, partial: bool) -> Result<RopeSpec> {
        settings.spec("decoder", self.head_dim(), self.max_position_embeddings, partial)
    }
}

fn upgrade(fields: &mut Map<String, Value>, default: &DecoderConfig) -> Result<()> {
    rope::upgrade(fields, &default.rope_parameters, default.max_position_embeddings);
    let size = |field: &str, default: i64| fields.get(field).map_or(Some(default), Value::as_i64);
    let heads = size("num_attention_heads", default.num_attention_heads).filter(|heads| *heads > 0);
    let head_dim = size("hidden_size", default.hidden_size).zip(heads).map(|(hidden, heads)| hidden / heads);
    let following =
        [("num_key_value_heads", heads, default.num_key_value_heads), ("head_dim", head_dim, default.head_dim)];
    for (field, follows, default) in following {
        let stands = match fields.get(field) {
            None => default.is_some(),
            Some(given) => !given.is_null(),
        };
        if !stands {
            // A size that is no number is left for the parser to refuse.
            fields.insert(field.into(), json!(follows.unwrap_or(1)));
        }
    }
    Ok(())
}

fn validate(config: &DecoderConfig) -> Result<()> {
    let heads = ("num_attention_heads", config.num_attention_heads);
    divides("decoder", heads, ("num_key_value_heads", config.kv_heads()))?;
    positive(
        "decoder",
        &[
            ("hidden_size", config.hidden_size),
            ("vocab_size", config.vocab_size),
            ("intermediate_size", config.intermediate_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("head_dim", config.head_dim()),
            ("max_position_embeddings", config.max_position_embeddings),
        ],
    )
}
