//! Marian, M2M100 and Pegasus: BART with positions that nobody learns.

use serde_json::{Map, Value};

use super::config::counts_unpadded;
use super::{Seq2seqConfig, Seq2seqSpec, bart};
use crate::config::positive;
use crate::models::classes::architecture;
use crate::models::seq2seq::PositionSpec;
use crate::nn::Activation;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Marian`].
    pub struct MarianConfig("marian"): Seq2seqConfig {
        /// Tokens in the decoder's vocabulary; `vocab_size` where nothing is said.
        decoder_vocab_size: i64 = 58101,
        /// Whether both sides share one vocabulary.
        share_encoder_decoder_embeddings: bool = true,
    }
    defaults: {
        vocab_size: 58101,
        pad_token_id: Some(58100),
        eos_token_id: Some(0),
        decoder_start_token_id: Some(58100),
    }
    upgrade: decoder_vocabulary;
    validate: one_vocabulary;
}

fn decoder_vocabulary(fields: &mut Map<String, Value>, default: &MarianConfig) -> Result<()> {
    let given = fields.get("decoder_vocab_size").is_some_and(|size| !size.is_null() && *size != 0);
    if !given {
        let size = fields.get("vocab_size").cloned().unwrap_or(default.vocab_size.into());
        fields.insert("decoder_vocab_size".into(), size);
    }
    Ok(())
}

fn one_vocabulary(config: &MarianConfig) -> Result<()> {
    positive("marian", &[("decoder_vocab_size", config.decoder_vocab_size)])?;
    if config.share_encoder_decoder_embeddings && config.decoder_vocab_size != config.vocab_size {
        let message = format!(
            "is {}; with `share_encoder_decoder_embeddings` it must be `vocab_size` ({})",
            config.decoder_vocab_size, config.vocab_size
        );
        return Err(Error::config("marian", "decoder_vocab_size", message));
    }
    Ok(())
}

/// Marian's own: sinusoids in place of learned positions, no norm of embeddings, and one vocabulary for each side where
/// they do not share theirs.
fn marian(config: &MarianConfig) -> Result<Seq2seqSpec> {
    let mut spec = sinusoidal(config).with_sides(|side| side.embedding_norm = None);
    spec.decoder.vocabulary = config.decoder_vocab_size;
    spec.shared = config.share_encoder_decoder_embeddings;
    Ok(spec)
}

/// BART with sinusoids; its decoder scales vectors that the caller gives, too.
fn sinusoidal(config: &Seq2seqConfig) -> Seq2seqSpec {
    let positions = PositionSpec::Sinusoidal { count: config.max_position_embeddings };
    let mut spec = bart(config).with_positions(positions).given();
    spec.decoder.scales_given = true;
    spec
}

architecture! {
    /// Marian (Junczys-Dowmunt et al., 2018); `transformers.models.marian`.
    pub struct Marian(MarianConfig) = marian;
    crate::models::bart::Class;
    [FeatureExtraction, Text2textGeneration, TextGeneration]
}

crate::config! {
    /// Configuration of [`Pegasus`].
    pub struct PegasusConfig("pegasus"): Seq2seqConfig {}
    defaults: { pad_token_id: Some(0), eos_token_id: Some(1), decoder_start_token_id: Some(0) }
}

/// Sinusoids, and layers that normalise their input.
fn pegasus(config: &PegasusConfig) -> Result<Seq2seqSpec> {
    Ok(sinusoidal(config).normed_first())
}

architecture! {
    /// PEGASUS (Zhang et al., 2019); `transformers.models.pegasus`.
    pub struct Pegasus(PegasusConfig) = pegasus;
    crate::models::bart::Class;
    [FeatureExtraction, Text2textGeneration, TextGeneration]
}

crate::config! {
    /// Configuration of [`M2m100`].
    pub struct M2m100Config("m2m_100"): Seq2seqConfig {}
    defaults: { vocab_size: 128112, activation_function: Activation::Relu, scale_embedding: true }
    validate: padded;
}

fn padded(config: &M2m100Config) -> Result<()> {
    counts_unpadded("m2m_100", config.pad_token_id, config.d_model)
}

/// Layers that normalise their input, positions that count only what is not padding, and no bias of the logits.
fn m2m_100(config: &M2m100Config) -> Result<Seq2seqSpec> {
    let positions = PositionSpec::Unpadded { padding: config.pad_token_id.unwrap_or_default() };
    Ok(Seq2seqSpec { logits_bias: false, ..bart(config).normed_first().with_positions(positions).given() })
}

architecture! {
    /// M2M-100 (Fan et al., 2020); `transformers.models.m2m_100`.
    pub struct M2m100(M2m100Config) = m2m_100;
    crate::models::bart::Class;
    [FeatureExtraction, Text2textGeneration]
}
