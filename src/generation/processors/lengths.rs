//! Processors that depend on how long a row is: what begins it, and when it may, should or must end.

use tch::Tensor;

use super::{LogitsProcessor, among, known, length, unfit, without};
use crate::{Error, Result};

/// Makes `token` the only choice where a row has one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForcedBos(pub i64);

impl LogitsProcessor for ForcedBos {
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        if length(ids) != 1 {
            return Ok(scores.shallow_clone());
        }
        only("forced_bos_token_id", &[self.0], scores)
    }
}

/// Makes the end the only choice for the last token of `max_length`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForcedEos {
    /// Tokens of a whole row, prompt included.
    pub max_length: usize,
    /// Of which one is chosen.
    pub tokens: Vec<i64>,
}

impl LogitsProcessor for ForcedEos {
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        if length(ids) + 1 != self.max_length {
            return Ok(scores.shallow_clone());
        }
        only("forced_eos_token_id", &self.tokens, scores)
    }
}

/// Removes the ends from rows shorter than `length`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinLength {
    /// Tokens that a row has at least, prompt included, before it may end.
    pub length: usize,
    /// Tokens that end a row.
    pub ends: Vec<i64>,
}

impl LogitsProcessor for MinLength {
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        if length(ids) >= self.length {
            return Ok(scores.shallow_clone());
        }
        Ok(without(scores, &among(scores, &self.ends)))
    }
}

/// Makes the end ever likelier: from `start` tokens on its score grows by `|score| * (factor^n - 1)`, where `n` is the
/// number of tokens beyond.
#[derive(Debug, Clone, PartialEq)]
pub struct ExponentialDecay {
    start: usize,
    factor: f64,
    ends: Vec<i64>,
}

impl ExponentialDecay {
    /// For rows longer than `start` tokens, prompt included.
    ///
    /// # Errors
    /// When there are no ends, or `factor` is no number.
    pub fn new(start: usize, factor: f64, ends: Vec<i64>) -> Result<Self> {
        let name = "exponential_decay_length_penalty";
        if ends.is_empty() {
            return Err(Error::input(name, "needs `eos_token_id`, whose scores it raises"));
        }
        let fits = factor.is_finite();
        fits.then_some(Self { start, factor, ends }).ok_or_else(|| unfit(name, factor, "a finite factor"))
    }
}

impl LogitsProcessor for ExponentialDecay {
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let Some(beyond) = length(ids).checked_sub(self.start).filter(|beyond| *beyond > 0) else {
            return Ok(scores.shallow_clone());
        };
        known("eos_token_id", &self.ends, scores)?;
        let growth = self.factor.powi(i32::try_from(beyond).unwrap_or(i32::MAX)) - 1.0;
        let raised = among(scores, &self.ends).logical_and(&scores.isfinite());
        Ok(scores + (scores.abs() * growth).masked_fill(&raised.logical_not(), 0.0))
    }
}

/// Score 0 for `tokens`, and minus infinity for all others.
fn only(name: &str, tokens: &[i64], scores: &Tensor) -> Result<Tensor> {
    known(name, tokens, scores)?;
    Ok(without(&scores.zeros_like(), &among(scores, tokens).logical_not()))
}
