use crate::config::{divides, positive};
use crate::models::wav2vec2::RawAudioConfig;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`SpeechT5`](super::SpeechT5).
    pub struct SpeechT5Config("speecht5"): RawAudioConfig {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 81,
        /// Layers of the encoder.
        encoder_layers: i64 = 12,
        /// Attention heads per layer of the encoder.
        encoder_attention_heads: i64 = 12,
        /// Width of the encoder's feed-forward layers.
        encoder_ffn_dim: i64 = 3072,
        /// Layers of the decoder.
        decoder_layers: i64 = 6,
        /// Width of the decoder's feed-forward layers.
        decoder_ffn_dim: i64 = 3072,
        /// Attention heads per layer of the decoder.
        decoder_attention_heads: i64 = 12,
        /// Whether the vectors of the text decoder's tokens are multiplied by the root of their width.
        scale_embedding: bool = false,
        /// The token of padding. Positions of text and of frames count from it.
        pad_token_id: i64 = 1,
        /// The text decoder's first token.
        decoder_start_token_id: i64 = 2,
        /// Mel bands of a spectrogram.
        num_mel_bins: i64 = 80,
        /// Layers that a spectrogram passes before the decoder.
        speech_decoder_prenet_layers: i64 = 2,
        /// Their width.
        speech_decoder_prenet_units: i64 = 256,
        /// What these layers do at random, in inference too: an element is kept with this probability `p`, and what is
        /// kept is divided by `1 - p`. Below 1.
        speech_decoder_prenet_dropout: f64 = 0.5,
        /// Width of a speaker's vector.
        speaker_embedding_dim: i64 = 512,
        /// Convolutions that refine a spectrogram after the decoder.
        speech_decoder_postnet_layers: i64 = 5,
        /// Their channels.
        speech_decoder_postnet_units: i64 = 256,
        /// Their kernel, odd.
        speech_decoder_postnet_kernel: i64 = 5,
        /// Frames of a spectrogram that the decoder makes in one step.
        reduction_factor: i64 = 2,
        /// Steps of the speech decoder at most.
        max_speech_positions: i64 = 4000,
        /// Tokens of the text encoder at most.
        max_text_positions: i64 = 450,
        /// Distances between frames or tokens that the encoder tells apart, on either side.
        encoder_max_relative_position: i64 = 160,
        /// Whether the language model's head uses the table of the text decoder's tokens.
        tie_word_embeddings: bool = true,
    }
    ignored: [
        "encoder_layerdrop",
        "decoder_layerdrop",
        "positional_dropout",
        "apply_spec_augment",
        "speech_decoder_postnet_dropout",
        "use_guided_attention_loss",
        "guided_attention_loss_num_heads",
        "guided_attention_loss_sigma",
        "guided_attention_loss_scale",
    ]
    aliases: [("num_hidden_layers", "encoder_layers"), ("num_attention_heads", "encoder_attention_heads")]
    validate: validate;
}

fn validate(config: &SpeechT5Config) -> Result<()> {
    const TYPE: &str = "speecht5";
    let width = ("hidden_size", config.hidden_size);
    divides(TYPE, width, ("encoder_attention_heads", config.encoder_attention_heads))?;
    divides(TYPE, width, ("decoder_attention_heads", config.decoder_attention_heads))?;
    positive(
        TYPE,
        &[
            ("vocab_size", config.vocab_size),
            ("encoder_layers", config.encoder_layers),
            ("decoder_layers", config.decoder_layers),
            ("encoder_ffn_dim", config.encoder_ffn_dim),
            ("decoder_ffn_dim", config.decoder_ffn_dim),
            ("num_mel_bins", config.num_mel_bins),
            ("speech_decoder_prenet_units", config.speech_decoder_prenet_units),
            ("speaker_embedding_dim", config.speaker_embedding_dim),
            ("speech_decoder_postnet_units", config.speech_decoder_postnet_units),
            ("speech_decoder_postnet_kernel", config.speech_decoder_postnet_kernel),
            ("reduction_factor", config.reduction_factor),
            ("max_speech_positions", config.max_speech_positions),
            ("max_text_positions", config.max_text_positions),
            ("encoder_max_relative_position", config.encoder_max_relative_position),
        ],
    )?;
    let wrong = |field: &str, message: String| Err(Error::config(TYPE, field, message));
    if config.hidden_size < 4 || config.hidden_size % 2 != 0 {
        return wrong("hidden_size", format!("must be even and at least 4 for sinusoids, got {}", config.hidden_size));
    }
    if !(0..config.vocab_size).contains(&config.pad_token_id) {
        let message = format!("must be from 0 to {}, got {}", config.vocab_size - 1, config.pad_token_id);
        return wrong("pad_token_id", message);
    }
    for (field, count) in [
        ("speech_decoder_prenet_layers", config.speech_decoder_prenet_layers),
        ("speech_decoder_postnet_layers", config.speech_decoder_postnet_layers),
    ] {
        if count != 0 {
            positive(TYPE, &[(field, count)])?;
        }
    }
    if config.speech_decoder_prenet_layers == 0 && config.speech_decoder_prenet_units != config.num_mel_bins {
        return wrong("speech_decoder_prenet_units", "must be `num_mel_bins` where there are no such layers".into());
    }
    let share = config.speech_decoder_prenet_dropout;
    if !(0.0..1.0).contains(&share) {
        return wrong("speech_decoder_prenet_dropout", format!("must be from 0 to below 1, got {share}"));
    }
    if config.speech_decoder_postnet_kernel % 2 == 0 {
        let message = format!("must be odd, got {}", config.speech_decoder_postnet_kernel);
        return wrong("speech_decoder_postnet_kernel", message);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn what_cannot_be_computed_is_refused_by_name() {
        let refused = |fields: Value, field: &str| {
            let message = SpeechT5Config::from_json(&fields).unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        };
        refused(json!({"speech_decoder_prenet_dropout": 1.0}), "speech_decoder_prenet_dropout");
        refused(json!({"speech_decoder_prenet_layers": 0}), "speech_decoder_prenet_units");
        refused(json!({"speech_decoder_postnet_layers": -1}), "speech_decoder_postnet_layers");
        refused(json!({"speech_decoder_postnet_kernel": 4}), "speech_decoder_postnet_kernel");
        refused(json!({"pad_token_id": null}), "pad_token_id");
        refused(json!({"pad_token_id": -1}), "pad_token_id");
    }
}
