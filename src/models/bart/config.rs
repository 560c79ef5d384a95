use serde_json::{Map, Value};

use crate::config::{divides, positive};
use crate::nn::Activation;
use crate::{Error, Result};

crate::config! {
    /// What the configurations of the family have in common; each architecture derives its own from it.
    ///
    /// The defaults are BART's.
    pub struct Seq2seqConfig("seq2seq") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 50265,
        /// Positions that tokens can take.
        max_position_embeddings: i64 = 1024,
        /// Layers of the encoder.
        encoder_layers: i64 = 12,
        /// Width of the encoder's feed-forward layers.
        encoder_ffn_dim: i64 = 4096,
        /// Attention heads per layer of the encoder.
        encoder_attention_heads: i64 = 16,
        /// Layers of the decoder.
        decoder_layers: i64 = 12,
        /// Width of the decoder's feed-forward layers.
        decoder_ffn_dim: i64 = 4096,
        /// Attention heads per layer of the decoder.
        decoder_attention_heads: i64 = 16,
        /// Activation of the feed-forward layers.
        activation_function: Activation = Activation::Gelu,
        /// Width of the hidden states.
        d_model: i64 = 1024,
        /// Whether the vectors of tokens are multiplied by the root of their width.
        scale_embedding: bool = false,
        /// The token of padding, whose vector training leaves alone.
        pad_token_id: Option<i64> = Some(1),
        /// The token that ends a sequence.
        eos_token_id: Option<i64> = Some(2),
        /// The decoder's first token.
        decoder_start_token_id: Option<i64> = Some(2),
        /// Whether both sides and the head of the language model share one table of tokens.
        tie_word_embeddings: bool = true,
    }
    // The classes decide what is a decoder.
    ignored: [
        "dropout",
        "attention_dropout",
        "activation_dropout",
        "classifier_dropout",
        "encoder_layerdrop",
        "decoder_layerdrop",
        "init_std",
        "forced_eos_token_id",
        "is_decoder",
    ]
    aliases: [
        ("hidden_size", "d_model"),
        ("num_hidden_layers", "encoder_layers"),
        ("num_attention_heads", "encoder_attention_heads"),
    ]
    validate: validate;
}

impl Seq2seqConfig {
    /// What the vectors of tokens are multiplied by.
    pub fn embedding_scale(&self) -> Option<f64> {
        self.scale_embedding.then(|| (self.d_model as f64).sqrt())
    }
}

fn validate(config: &Seq2seqConfig) -> Result<()> {
    let width = ("d_model", config.d_model);
    divides("seq2seq", width, ("encoder_attention_heads", config.encoder_attention_heads))?;
    divides("seq2seq", width, ("decoder_attention_heads", config.decoder_attention_heads))?;
    positive(
        "seq2seq",
        &[
            ("vocab_size", config.vocab_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("encoder_layers", config.encoder_layers),
            ("decoder_layers", config.decoder_layers),
            ("encoder_ffn_dim", config.encoder_ffn_dim),
            ("decoder_ffn_dim", config.decoder_ffn_dim),
        ],
    )
}

/// Checks that `padding` and `width` do for positions that leave padding out.
pub(super) fn counts_unpadded(model_type: &str, padding: Option<i64>, width: i64) -> Result<()> {
    if padding.is_none_or(|token| token < 0) {
        let message = "is missing; positions count the tokens that are not padding";
        return Err(Error::config(model_type, "pad_token_id", message));
    }
    if width < 4 {
        return Err(Error::config(model_type, "d_model", format!("must be at least 4 for sinusoids, got {width}")));
    }
    Ok(())
}

crate::config! {
    /// Configuration of [`Bart`](super::Bart).
    pub struct BartConfig("bart"): Seq2seqConfig {}
    upgrade: three_labels;
}

/// Three labels where nothing is said, as in the task that BART was first tuned for.
fn three_labels(fields: &mut Map<String, Value>, _: &BartConfig) -> Result<()> {
    fields.entry("num_labels").or_insert(3.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{M2m100Config, MarianConfig, TrocrConfig};
    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn one_vocabulary_has_one_size() {
        let sizes = |json| MarianConfig::from_json(&json).map(|config| (config.vocab_size, config.decoder_vocab_size));
        assert_eq!(sizes(json!({ "vocab_size": 7 })).unwrap(), (7, 7));
        assert_eq!(sizes(json!({ "vocab_size": 7, "decoder_vocab_size": null })).unwrap(), (7, 7));
        let apart = json!({ "vocab_size": 7, "decoder_vocab_size": 9, "share_encoder_decoder_embeddings": false });
        assert_eq!(sizes(apart).unwrap(), (7, 9));
        let error = sizes(json!({ "vocab_size": 7, "decoder_vocab_size": 9 })).unwrap_err().to_string();
        assert!(error.contains("decoder_vocab_size"), "{error}");
    }

    #[test]
    fn unsupported_values_are_refused_by_name() {
        let refused = |found: Result<()>, field: &str| {
            let error = found.unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        };
        let m2m = |json| M2m100Config::from_json(&json).map(drop);
        refused(m2m(json!({ "pad_token_id": null })), "pad_token_id");
        refused(m2m(json!({ "d_model": 3, "encoder_attention_heads": 3, "decoder_attention_heads": 1 })), "d_model");
        refused(m2m(json!({ "decoder_attention_heads": 5 })), "decoder_attention_heads");
        let sinusoids = json!({ "pad_token_id": null, "use_learned_position_embeddings": false });
        refused(TrocrConfig::from_json(&sinusoids).map(drop), "pad_token_id");
        refused(BartConfig::from_json(&json!({ "eos_token_id": [1, 2] })).map(drop), "eos_token_id");
    }

    #[test]
    fn bart_has_three_labels_unless_told() {
        let labels = |json| BartConfig::from_json(&json).unwrap().num_labels;
        assert_eq!(labels(json!({})), 3);
        assert_eq!(labels(json!({ "num_labels": 5 })), 5);
        assert_eq!(labels(json!({ "id2label": { "0": "no", "1": "yes" } })), 2);
    }
}
