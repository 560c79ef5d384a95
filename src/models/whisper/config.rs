use crate::Result;
use crate::config::{divides, positive};
use crate::nn::Activation;

crate::config! {
    /// Configuration of [`Whisper`](super::Whisper).
    pub struct WhisperConfig("whisper") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 51865,
        /// Mel bands of the input.
        num_mel_bins: i64 = 80,
        /// Layers of the encoder.
        encoder_layers: i64 = 4,
        /// Attention heads per layer of the encoder.
        encoder_attention_heads: i64 = 6,
        /// Layers of the decoder.
        decoder_layers: i64 = 4,
        /// Attention heads per layer of the decoder.
        decoder_attention_heads: i64 = 6,
        /// Width of the decoder's feed-forward layers.
        decoder_ffn_dim: i64 = 1536,
        /// Width of the encoder's feed-forward layers.
        encoder_ffn_dim: i64 = 1536,
        /// The token of padding, whose vector training leaves alone.
        pad_token_id: Option<i64> = Some(50256),
        /// The decoder's first token.
        decoder_start_token_id: i64 = 50257,
        /// Activation of the feed-forward layers.
        activation_function: Activation = Activation::Gelu,
        /// Width of the hidden states.
        d_model: i64 = 384,
        /// Length of the encoder's position table, half the frames of the input.
        max_source_positions: i64 = 1500,
        /// Length of the decoder's position table.
        max_target_positions: i64 = 448,
        /// Whether the classification head reads a weighted sum of all layers.
        use_weighted_layer_sum: bool = false,
        /// Width between the projector and the classifier.
        classifier_proj_size: i64 = 256,
        /// Whether the language model's head uses the table of the decoder's tokens.
        tie_word_embeddings: bool = true,
    }
    ignored: [
        "encoder_layerdrop",
        "decoder_layerdrop",
        "dropout",
        "attention_dropout",
        "activation_dropout",
        "init_std",
        "scale_embedding",
        "suppress_tokens",
        "begin_suppress_tokens",
        "apply_spec_augment",
        "mask_time_prob",
        "mask_time_length",
        "mask_time_min_masks",
        "mask_feature_prob",
        "mask_feature_length",
        "mask_feature_min_masks",
        "median_filter_width",
    ]
    aliases: [
        ("hidden_size", "d_model"),
        ("num_hidden_layers", "encoder_layers"),
        ("num_attention_heads", "encoder_attention_heads"),
        ("num_key_value_heads", "encoder_attention_heads"),
    ]
    validate: validate;
}

fn validate(config: &WhisperConfig) -> Result<()> {
    const TYPE: &str = "whisper";
    let width = ("d_model", config.d_model);
    divides(TYPE, width, ("encoder_attention_heads", config.encoder_attention_heads))?;
    divides(TYPE, width, ("decoder_attention_heads", config.decoder_attention_heads))?;
    positive(
        TYPE,
        &[
            ("vocab_size", config.vocab_size),
            ("num_mel_bins", config.num_mel_bins),
            ("encoder_layers", config.encoder_layers),
            ("decoder_layers", config.decoder_layers),
            ("encoder_ffn_dim", config.encoder_ffn_dim),
            ("decoder_ffn_dim", config.decoder_ffn_dim),
            ("max_source_positions", config.max_source_positions),
            ("max_target_positions", config.max_target_positions),
            ("classifier_proj_size", config.classifier_proj_size),
        ],
    )
}
