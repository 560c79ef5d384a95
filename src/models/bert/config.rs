use crate::Result;
use crate::config::{divides, positive};
use crate::nn::Activation;

crate::config! {
    /// Configuration of [`Bert`](super::Bert).
    pub struct BertConfig("bert") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 30522,
        /// Width of the hidden states.
        hidden_size: i64 = 768,
        /// Number of layers.
        num_hidden_layers: i64 = 12,
        /// Attention heads per layer.
        num_attention_heads: i64 = 12,
        /// Width of the feed-forward layers.
        intermediate_size: i64 = 3072,
        /// Activation of the feed-forward layers and of the prediction head.
        hidden_act: Activation = Activation::Gelu,
        /// Length of the position table.
        max_position_embeddings: i64 = 512,
        /// Number of segments.
        type_vocab_size: i64 = 2,
        /// Added to variances.
        layer_norm_eps: f64 = 1e-12,
        /// The token of padding, whose embedding is not trained.
        pad_token_id: Option<i64> = Some(0),
        /// Whether tokens see only what came before them.
        is_decoder: bool = false,
        /// Whether layers attend to a second sequence.
        add_cross_attention: bool = false,
        /// Whether the prediction head uses the table of word embeddings.
        tie_word_embeddings: bool = true,
    }
    ignored: ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]
    validate: validate;
}

fn validate(config: &BertConfig) -> Result<()> {
    divides("bert", ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))?;
    positive(
        "bert",
        &[
            ("vocab_size", config.vocab_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
        ],
    )
}
