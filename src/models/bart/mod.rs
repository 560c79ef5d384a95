//! BART and its heirs: encoder-decoders over text whose sides share a table of tokens.
//!
//! What varies stands in [`Seq2seqSpec`]: norms before or after ([`Seq2seqSpec::normed_first`]), norms of embeddings and
//! after the last layer, scaled embeddings, positions (learned, sinusoidal, counted without padding), one vocabulary or two,
//! a bias of the logits, and how a decoder without tokens of its own starts. The sides themselves are
//! [`seq2seq`](super::seq2seq)'s, as the body of both is; the classes are in [`Class`].

mod classes;
mod config;
mod heirs;
mod mbart;
mod spec;
mod translation;
mod trocr;

pub use classes::{Class, alone};
pub use config::{BartConfig, Seq2seqConfig};
pub use heirs::{
    Blenderbot, BlenderbotConfig, BlenderbotSmall, BlenderbotSmallConfig, Mvp, MvpConfig, PLBart, PLBartConfig,
};
pub use mbart::{MBart, MBartConfig};
pub use spec::{Seq2seqSpec, bart};
pub use translation::{M2m100, M2m100Config, Marian, MarianConfig, Pegasus, PegasusConfig};
pub use trocr::{Trocr, TrocrConfig};

use super::classes::architecture;
use crate::Result;

fn spec(config: &BartConfig) -> Result<Seq2seqSpec> {
    Ok(bart(config))
}

architecture! {
    /// BART (Lewis et al., 2019); `transformers.models.bart`.
    pub struct Bart(BartConfig) = spec;
    crate::models::bart::Class;
    [FeatureExtraction, Text2textGeneration, FillMask, TextGeneration, TextClassification, QuestionAnswering]
}
