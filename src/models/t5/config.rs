use serde_json::{Map, Value};

use crate::config::{OneOrMore, positive};
use crate::nn::Activation;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`T5`](super::T5).
    pub struct T5Config("t5") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 32128,
        /// Width of the hidden states.
        d_model: i64 = 512,
        /// Width of an attention head.
        d_kv: i64 = 64,
        /// Width of the feed-forward layers.
        d_ff: i64 = 2048,
        /// Number of the encoder's layers.
        num_layers: i64 = 6,
        /// Number of the decoder's layers; as many as the encoder's where it is absent or null.
        num_decoder_layers: i64 = 6,
        /// Attention heads per layer.
        num_heads: i64 = 8,
        /// Buckets of the relative position bias.
        relative_attention_num_buckets: i64 = 32,
        /// From this distance on, positions share the last bucket.
        relative_attention_max_distance: i64 = 128,
        /// Added to mean squares.
        layer_norm_epsilon: f64 = 1e-6,
        /// The feed-forward layers: an activation, or `gated-` and one. It sets the two fields below.
        feed_forward_proj: String = "relu".into(),
        /// Activation of the feed-forward layers.
        dense_act_fn: Activation = Activation::Relu,
        /// Whether the feed-forward layers are gated.
        is_gated_act: bool = false,
        /// Whether the language model scales what it reads by `d_model^-0.5`; false where `config.json` says
        /// `"tie_word_embeddings": false`, as version 1.1 does.
        scale_decoder_outputs: bool = true,
        /// Always true: a head of its own is used where the checkpoint has one.
        tie_word_embeddings: bool = true,
        /// Whether this is a decoder; the classes decide that, so only false is accepted.
        is_decoder: bool = false,
        /// The token that pads.
        pad_token_id: Option<i64> = Some(0),
        /// The token or tokens that end a sequence.
        eos_token_id: Option<OneOrMore> = Some(OneOrMore::One(1)),
        /// The decoder's first token.
        decoder_start_token_id: Option<i64> = None,
    }
    ignored: ["dropout_rate", "classifier_dropout", "initializer_factor"]
    aliases: [
        ("hidden_size", "d_model"),
        ("num_attention_heads", "num_heads"),
        ("num_hidden_layers", "num_layers"),
        ("head_dim", "d_kv"),
    ]
    upgrade: upgrade;
    validate: validate;
}

/// Fills in the fields that follow from others.
fn upgrade(fields: &mut Map<String, Value>, _: &T5Config) -> Result<()> {
    if fields.get("num_decoder_layers").is_none_or(Value::is_null) {
        match fields.get("num_layers").cloned() {
            Some(layers) => fields.insert("num_decoder_layers".into(), layers),
            None => fields.remove("num_decoder_layers"),
        };
    }
    if let Some(Value::String(projection)) = fields.get("feed_forward_proj").cloned() {
        let (gated, activation) = match projection.strip_prefix("gated-") {
            // The checkpoints that call it GELU were trained with the approximation.
            Some("gelu") => (true, "gelu_new"),
            Some(activation) => (true, activation),
            None => (false, projection.as_str()),
        };
        if !fields.contains_key("dense_act_fn") {
            let known = serde_json::from_value::<Activation>(activation.into());
            known.map_err(|error| Error::config("t5", "feed_forward_proj", format!("`{projection}`: {error}")))?;
            fields.insert("dense_act_fn".into(), activation.into());
        }
        fields.entry("is_gated_act").or_insert(gated.into());
    }
    let tied = fields.insert("tie_word_embeddings".into(), true.into());
    if let Some(tied) = tied.as_ref().filter(|tied| !tied.is_boolean()) {
        return Err(Error::config("t5", "tie_word_embeddings", format!("must be true or false, got {tied}")));
    }
    fields.entry("scale_decoder_outputs").or_insert((tied != Some(false.into())).into());
    Ok(())
}

fn validate(config: &T5Config) -> Result<()> {
    let wrong = |field: &str, message: String| Err(Error::config("t5", field, message));
    positive(
        "t5",
        &[
            ("vocab_size", config.vocab_size),
            ("d_model", config.d_model),
            ("d_kv", config.d_kv),
            ("d_ff", config.d_ff),
            ("num_layers", config.num_layers),
            ("num_decoder_layers", config.num_decoder_layers),
            ("num_heads", config.num_heads),
        ],
    )?;
    let T5Config { relative_attention_num_buckets: buckets, relative_attention_max_distance: distance, .. } = *config;
    if buckets < 4 || buckets % 2 != 0 {
        return wrong("relative_attention_num_buckets", format!("must be even and at least 4, got {buckets}"));
    }
    if distance <= buckets / 2 {
        let message = format!("must be more than half of `relative_attention_num_buckets` ({buckets}), got {distance}");
        return wrong("relative_attention_max_distance", message);
    }
    if config.is_decoder {
        return wrong(
            "is_decoder",
            "true is not supported; the classes of T5 set it for their decoder themselves".into(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;

    fn read(mut json: Value) -> Result<T5Config> {
        json["model_type"] = "t5".into();
        T5Config::from_json(&json)
    }

    #[test]
    fn version_1_1_is_told_by_its_untied_head() {
        let scales = |json| read(json).unwrap().scale_decoder_outputs;
        assert!(scales(json!({})));
        assert!(!scales(json!({ "tie_word_embeddings": false })));
        assert!(!scales(json!({ "tie_word_embeddings": true, "scale_decoder_outputs": false })));
        assert!(scales(json!({ "tie_word_embeddings": false, "scale_decoder_outputs": true })));
    }

    #[test]
    fn the_projection_sets_activation_and_gate() {
        let mlp = |json| read(json).map(|config| (config.is_gated_act, config.dense_act_fn));
        assert_eq!(mlp(json!({})).unwrap(), (false, Activation::Relu));
        assert_eq!(mlp(json!({ "feed_forward_proj": "gated-gelu" })).unwrap(), (true, Activation::GeluNew));
        assert_eq!(mlp(json!({ "feed_forward_proj": "gelu" })).unwrap(), (false, Activation::Gelu));
        assert_eq!(mlp(json!({ "feed_forward_proj": "gated-silu" })).unwrap(), (true, Activation::Silu));
        let error = mlp(json!({ "feed_forward_proj": "gated-gelu-new" })).unwrap_err().to_string();
        assert!(error.contains("feed_forward_proj") && error.contains("gated-gelu-new"), "{error}");
    }

    #[test]
    fn the_decoder_is_as_deep_as_the_encoder_unless_told() {
        let layers = |json| read(json).map(|config| (config.num_layers, config.num_decoder_layers)).unwrap();
        assert_eq!(layers(json!({})), (6, 6));
        assert_eq!(layers(json!({ "num_hidden_layers": 3, "num_decoder_layers": null })), (3, 3));
        assert_eq!(layers(json!({ "num_layers": 3, "num_decoder_layers": 2 })), (3, 2));
    }

    #[test]
    fn unsupported_values_are_refused_by_name() {
        for (field, value) in [
            ("is_decoder", json!(true)),
            ("relative_attention_num_buckets", json!(2)),
            ("relative_attention_max_distance", json!(16)),
            ("num_heads", json!(0)),
        ] {
            let error = read(json!({ field: value })).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
