//! PLBART and MVP, which are BART but for their configurations, and the two Blenderbots.

use super::{Seq2seqConfig, Seq2seqSpec, bart};
use crate::models::classes::architecture;
use crate::models::seq2seq::{PositionSpec, Start};
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`PLBart`].
    pub struct PLBartConfig("plbart"): Seq2seqConfig {
        /// What a generation starts with where nothing else says it.
        bos_token_id: Option<i64> = Some(0),
    }
    defaults: {
        vocab_size: 50005, encoder_layers: 6, encoder_ffn_dim: 3072, encoder_attention_heads: 12, decoder_layers: 6,
        decoder_ffn_dim: 3072, decoder_attention_heads: 12, d_model: 768, scale_embedding: true,
        decoder_start_token_id: None
    }
    validate: |config: &PLBartConfig| match config.pad_token_id {
        Some(_) => Ok(()),
        None => Err(Error::config("plbart", "pad_token_id", "is missing; the last token before padding is the language")),
    };
}

architecture! {
    /// PLBART (Ahmad et al., 2021), BART of programs; `transformers.models.plbart`.
    pub struct PLBart(PLBartConfig) = plbart;
    crate::models::bart::Class;
    [FeatureExtraction, Text2textGeneration, TextGeneration, TextClassification]
}

/// The decoder starts with the language, which texts end with, as mBART's does.
fn plbart(config: &PLBartConfig) -> Result<Seq2seqSpec> {
    let spec = bart(config);
    let start_token = spec.start_token.or(config.bos_token_id);
    Ok(Seq2seqSpec { start: config.pad_token_id.map_or(Start::Given, Start::Wrapped), start_token, ..spec })
}

crate::config! {
    /// Configuration of [`Mvp`].
    pub struct MvpConfig("mvp"): Seq2seqConfig {
        /// Whether layers attend to learned prompts, too; only without is supported.
        use_prompt: bool = false,
    }
    defaults: { vocab_size: 50267 }
    ignored: ["prompt_length", "prompt_mid_dim"]
    validate: |config: &MvpConfig| match config.use_prompt {
        true => Err(Error::config("mvp", "use_prompt", "must be false; prompts are not supported")),
        false => Ok(()),
    };
}

architecture! {
    /// MVP (Tang et al., 2022), BART trained on many tasks; `transformers.models.mvp`.
    pub struct Mvp(MvpConfig) = mvp;
    crate::models::bart::Class;
    [FeatureExtraction, Text2textGeneration, FillMask, TextGeneration, TextClassification, QuestionAnswering]
}

fn mvp(config: &MvpConfig) -> Result<Seq2seqSpec> {
    Ok(bart(config))
}

crate::config! {
    /// Configuration of [`Blenderbot`].
    pub struct BlenderbotConfig("blenderbot"): Seq2seqConfig {}
    defaults: {
        vocab_size: 8008, max_position_embeddings: 128, encoder_layers: 2, encoder_ffn_dim: 10240,
        encoder_attention_heads: 32, decoder_layers: 24, decoder_ffn_dim: 10240, decoder_attention_heads: 32,
        d_model: 2560, pad_token_id: Some(0), decoder_start_token_id: Some(1)
    }
    ignored: ["encoder_no_repeat_ngram_size"]
}

architecture! {
    /// Blenderbot (Roller et al., 2020); `transformers.models.blenderbot`.
    pub struct Blenderbot(BlenderbotConfig) = blenderbot;
    crate::models::bart::Class;
    [FeatureExtraction, Text2textGeneration, TextGeneration]
}

/// Layers that normalise their input.
fn blenderbot(config: &BlenderbotConfig) -> Result<Seq2seqSpec> {
    Ok(from_zero(config).normed_first())
}

crate::config! {
    /// Configuration of [`BlenderbotSmall`].
    pub struct BlenderbotSmallConfig("blenderbot-small"): Seq2seqConfig {}
    defaults: {
        max_position_embeddings: 512, encoder_layers: 8, encoder_ffn_dim: 2048, decoder_layers: 8,
        decoder_ffn_dim: 2048, d_model: 512, pad_token_id: Some(0), decoder_start_token_id: Some(1)
    }
}

architecture! {
    /// The small Blenderbot (Roller et al., 2020); `transformers.models.blenderbot_small`.
    pub struct BlenderbotSmall(BlenderbotSmallConfig) = blenderbot_small;
    crate::models::bart::Class;
    [FeatureExtraction, Text2textGeneration, TextGeneration]
}

/// The decoder normalises its tokens before it adds their positions, and scales none.
fn blenderbot_small(config: &BlenderbotSmallConfig) -> Result<Seq2seqSpec> {
    let mut spec = from_zero(config);
    spec.decoder.scale = None;
    spec.decoder.norms_tokens = true;
    Ok(spec)
}

/// BART whose table of positions begins with the first one, and whose decoder's tokens the caller gives.
fn from_zero(config: &Seq2seqConfig) -> Seq2seqSpec {
    let positions = PositionSpec::Learned { count: config.max_position_embeddings, offset: 0 };
    bart(config).with_positions(positions).given()
}
