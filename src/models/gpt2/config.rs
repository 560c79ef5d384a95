use crate::Result;
use crate::config::{divides, positive};
use crate::nn::{Activation, SummaryType};

crate::config! {
    /// Configuration of [`Gpt2`](super::Gpt2).
    pub struct Gpt2Config("gpt2") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 50257,
        /// Length of the position table.
        n_positions: i64 = 1024,
        /// Width of the hidden states.
        n_embd: i64 = 768,
        /// Number of layers.
        n_layer: i64 = 12,
        /// Attention heads per layer.
        n_head: i64 = 12,
        /// Width of the feed-forward layers; four times `n_embd` where `None`.
        n_inner: Option<i64> = None,
        /// Activation of the feed-forward layers.
        activation_function: Activation = Activation::GeluNew,
        /// Added to variances.
        layer_norm_epsilon: f64 = 1e-5,
        /// What the multiple choice head makes of a sequence.
        summary_type: SummaryType = SummaryType::ClsIndex,
        /// Whether it is projected.
        summary_use_proj: bool = true,
        /// Applied to the projection.
        summary_activation: Option<Activation> = None,
        /// Whether it is projected to one score.
        summary_proj_to_labels: bool = true,
        /// Whether scores are divided by the root of the head's width.
        scale_attn_weights: bool = true,
        /// Whether scores are divided by the number of the layer.
        scale_attn_by_inverse_layer_idx: bool = false,
        /// Whether layers attend to a second sequence.
        add_cross_attention: bool = false,
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = true,
        /// The token that fills rows up.
        pad_token_id: Option<i64> = None,
    }
    // `reorder_and_upcast_attn` changes eager attention in half precision only, which is not the default.
    ignored: ["resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout", "reorder_and_upcast_attn"]
    aliases: [
        ("hidden_size", "n_embd"),
        ("max_position_embeddings", "n_positions"),
        ("num_attention_heads", "n_head"),
        ("num_hidden_layers", "n_layer"),
    ]
    validate: validate;
}

fn validate(config: &Gpt2Config) -> Result<()> {
    divides("gpt2", ("n_embd", config.n_embd), ("n_head", config.n_head))?;
    positive(
        "gpt2",
        &[
            ("vocab_size", config.vocab_size),
            ("n_positions", config.n_positions),
            ("n_layer", config.n_layer),
            ("n_inner", config.n_inner.unwrap_or(1)),
        ],
    )
}
