use super::{Seq2seqConfig, Seq2seqSpec, bart};
use crate::models::classes::architecture;
use crate::models::seq2seq::Start;
use crate::nn::Placement;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`MBart`].
    pub struct MBartConfig("mbart"): Seq2seqConfig {
        /// What a generation starts with where nothing else says it.
        bos_token_id: Option<i64> = Some(0),
    }
    defaults: { decoder_start_token_id: None }
    validate: |config: &MBartConfig| match config.pad_token_id {
        Some(_) => Ok(()),
        None => Err(Error::config("mbart", "pad_token_id", "is missing; the last token before padding is the language")),
    };
}

architecture! {
    /// mBART (Liu et al., 2020), BART of many languages; `transformers.models.mbart`.
    pub struct MBart(MBartConfig) = mbart;
    crate::models::bart::Class;
    [FeatureExtraction, Text2textGeneration, FillMask, TextGeneration, TextClassification, QuestionAnswering]
}

/// Layers that normalise their input and a last normalisation; the decoder starts with the language, which texts end with.
fn mbart(config: &MBartConfig) -> Result<Seq2seqSpec> {
    let spec = bart(config).with_sides(|side| {
        side.stack.layers.iter_mut().for_each(|layer| layer.placement = Placement::Pre);
        side.stack.final_norm = side.embedding_norm;
    });
    let start_token = spec.start_token.or(config.bos_token_id);
    Ok(Seq2seqSpec { start: config.pad_token_id.map_or(Start::Given, Start::Wrapped), start_token, ..spec })
}
