//! What changes the scores of the next token before it is chosen; after `transformers.generation.logits_process`.

mod build;
mod lengths;
mod repetition;
mod tokens;
mod truncation;
mod values;

use std::fmt;

use tch::{Kind, Tensor};

use crate::{Error, Result};

pub use build::Prompt;
pub use lengths::{ExponentialDecay, ForcedBos, ForcedEos, MinLength};
pub use repetition::{EncoderNoRepeatNGram, EncoderRepetitionPenalty, NoRepeatNGram, RepetitionPenalty};
pub use tokens::{SequenceBias, SuppressTokens, SuppressTokensAtBegin};
pub use truncation::{EpsilonCutoff, EtaCutoff, MinP, TopH, TopK, TopP, TypicalP};
pub use values::{LogNormalization, RemoveInvalid, Temperature};

/// One change of the scores of the next token.
pub trait LogitsProcessor: fmt::Debug + Send {
    /// New scores for `scores` (`[batch, vocabulary]`, float) of the tokens that follow `ids` (`[batch, tokens]`,
    /// int64, prompt included).
    ///
    /// # Errors
    /// [`Error::Input`] when the setting names a token outside the vocabulary.
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor>;
}

/// Processors that are applied one after another.
#[derive(Debug, Default)]
pub struct LogitsProcessors(Vec<Box<dyn LogitsProcessor>>);

impl LogitsProcessors {
    /// None yet: the scores stay as they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a processor behind the others.
    pub fn push(&mut self, processor: impl LogitsProcessor + 'static) {
        self.0.push(Box::new(processor));
    }

    /// The number of processors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl LogitsProcessor for LogitsProcessors {
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        self.0.iter().try_fold(scores.shallow_clone(), |scores, processor| processor.process(ids, &scores))
    }
}

/// The number of tokens that a row of `ids` has.
fn length(ids: &Tensor) -> usize {
    ids.size().last().and_then(|length| usize::try_from(*length).ok()).unwrap_or(0)
}

/// The size of the vocabulary that `scores` are of.
fn vocabulary(scores: &Tensor) -> i64 {
    scores.size().last().copied().unwrap_or(0)
}

/// Which tokens of the vocabulary are among `tokens`: `[vocabulary]`.
fn among(scores: &Tensor, tokens: &[i64]) -> Tensor {
    let all = Tensor::arange(vocabulary(scores), (Kind::Int64, scores.device()));
    Tensor::isin(&all, &Tensor::from_slice(tokens).to_device(scores.device()), false, false)
}

/// `scores` where `removed` does not hold, and minus infinity where it does.
fn without(scores: &Tensor, removed: &Tensor) -> Tensor {
    scores.masked_fill(removed, f64::NEG_INFINITY)
}

/// The error of a setting that is not what it can be.
fn unfit(name: &str, value: impl fmt::Display, expected: &str) -> Error {
    Error::input(name, format!("is {value}, expected {expected}"))
}

/// Checks that every one of `tokens`, given as `name`, is in the vocabulary.
fn known(name: &str, tokens: &[i64], scores: &Tensor) -> Result<()> {
    let size = vocabulary(scores);
    match tokens.iter().find(|token| !(0..size).contains(*token)) {
        Some(token) => Err(Error::input(name, format!("names the token {token}; the vocabulary has {size}"))),
        None => Ok(()),
    }
}
