use crate::Result;
use crate::config::{divides, positive};
use crate::models::decoder::{DecoderLayer, DecoderSpec, Names};
use crate::nn::{Activation, AttentionSpec, LayerSpec, MlpSpec, NormSpec};

crate::config! {
    /// What the configurations of GPT-2 and those that took over its names of fields have in common.
    ///
    /// The defaults are GPT-2's.
    pub struct GptConfig("gpt") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 50257,
        /// Positions that tokens can take.
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
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = true,
        /// The token that fills rows up.
        pad_token_id: Option<i64> = None,
    }
    ignored: ["resid_pdrop", "embd_pdrop", "attn_pdrop"]
    aliases: [
        ("hidden_size", "n_embd"),
        ("max_position_embeddings", "n_positions"),
        ("num_attention_heads", "n_head"),
        ("num_hidden_layers", "n_layer"),
    ]
    validate: validate;
}

fn validate(config: &GptConfig) -> Result<()> {
    divides("gpt", ("n_embd", config.n_embd), ("n_head", config.n_head))?;
    positive(
        "gpt",
        &[
            ("vocab_size", config.vocab_size),
            ("n_positions", config.n_positions),
            ("n_layer", config.n_layer),
            ("n_inner", config.n_inner.unwrap_or(1)),
        ],
    )
}

impl GptConfig {
    /// A layer of GPT's shape: layer norms before attention with all biases and before a plain feed-forward.
    pub fn layer(&self) -> LayerSpec {
        let mlp = MlpSpec::plain(self.n_embd, self.n_inner.unwrap_or(4 * self.n_embd), self.activation_function);
        let norm = NormSpec::layer(self.layer_norm_epsilon);
        LayerSpec::new(AttentionSpec::even(self.n_embd, self.n_head), mlp, norm)
    }

    /// As many layers as the configuration says, number `index` as `layer` makes it, and a last layer norm; segments
    /// are looked up in the table of tokens.
    pub fn spec(&self, layer: impl Fn(i64) -> DecoderLayer, names: Names) -> DecoderSpec {
        let layers = (0..self.n_layer).map(layer).collect();
        let norm = NormSpec::layer(self.layer_norm_epsilon);
        let spec = DecoderSpec { token_types: true, ..DecoderSpec::new(self.vocab_size, layers, norm, names) };
        spec.with_heads(self.tie_word_embeddings, self.num_labels, self.pad_token_id)
    }
}
