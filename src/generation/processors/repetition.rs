//! Processors against saying the same again.

use tch::{Kind, Tensor};

use super::{LogitsProcessor, length, unfit, vocabulary, without};
use crate::Result;

/// Makes tokens that have occurred less likely: divides their scores where positive, multiplies where negative
/// (arXiv:1909.05858).
#[derive(Debug)]
pub struct RepetitionPenalty {
    penalty: f64,
    padding: Option<Tensor>,
}

impl RepetitionPenalty {
    /// Above 1 for a penalty, below 1 for a reward.
    ///
    /// # Errors
    /// Unless `penalty` is above 0.
    pub fn new(penalty: f64) -> Result<Self> {
        let fits = penalty > 0.0 && penalty.is_finite();
        let refuse = || unfit("repetition_penalty", penalty, "a number above 0");
        fits.then_some(Self { penalty, padding: None }).ok_or_else(refuse)
    }

    /// Leaves out what stands before the first token that `mask` (`[batch, tokens]`) shows.
    pub fn without_padding(self, mask: &Tensor) -> Self {
        Self { padding: Some(mask.not_equal(0).to_kind(Kind::Int64).argmax(-1, true)), ..self }
    }
}

impl LogitsProcessor for RepetitionPenalty {
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let size = vocabulary(scores);
        // Ids that cannot be generated go into a column of their own.
        let mut ids = ids.clamp_max(size);
        if let Some(padding) = &self.padding {
            let positions = Tensor::arange(ids.size()[1], (Kind::Int64, ids.device()));
            ids = ids.masked_fill(&positions.lt_tensor(&padding.to_device(ids.device())), size);
        }
        let scores = scores.constant_pad_nd([0, 1]);
        let seen = scores.gather(1, &ids, false);
        let changed = (&seen * self.penalty).where_self(&seen.lt(0.0), &(&seen / self.penalty));
        Ok(scores.scatter(1, &ids, &changed).narrow(1, 0, size))
    }
}

/// Removes tokens that would complete a sequence of `size` tokens for a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRepeatNGram(usize);

impl NoRepeatNGram {
    /// # Errors
    /// Unless `size` is at least 1.
    pub fn new(size: usize) -> Result<Self> {
        (size >= 1).then_some(Self(size)).ok_or_else(|| unfit("no_repeat_ngram_size", size, "at least 1"))
    }
}

impl LogitsProcessor for NoRepeatNGram {
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let tokens = length(ids);
        if tokens < self.0 {
            return Ok(scores.shallow_clone());
        }
        let (tokens, prefix, size) = (tokens as i64, self.0 as i64 - 1, vocabulary(scores));
        let ends = ids.narrow(1, tokens - prefix, prefix).unsqueeze(1);
        let windows = ids.unfold(1, prefix + 1, 1);
        let repeats = windows.narrow(-1, 0, prefix).eq_tensor(&ends).all_dim(-1, false);
        // What does not repeat, and what cannot be generated, goes into a column of its own.
        let last = windows.select(-1, prefix).clamp_max(size).masked_fill(&repeats.logical_not(), size);
        let removed = Tensor::zeros([scores.size()[0], size + 1], (Kind::Bool, scores.device()));
        Ok(without(scores, &removed.scatter_value(1, &last, 1).narrow(1, 0, size)))
    }
}
