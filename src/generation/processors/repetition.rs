//! Processors against saying the same again, and for or against saying what the source says.

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
        let Some(padding) = &self.padding else { return Ok(penalized(scores, ids, self.penalty)) };
        let positions = Tensor::arange(ids.size()[1], (Kind::Int64, ids.device()));
        let padding = positions.lt_tensor(&rows_of(padding, scores));
        Ok(penalized(scores, &ids.masked_fill(&padding, vocabulary(scores)), self.penalty))
    }
}

/// `scores` with those of the tokens `ids` divided by `penalty` where positive, multiplied where negative.
fn penalized(scores: &Tensor, ids: &Tensor, penalty: f64) -> Tensor {
    let size = vocabulary(scores);
    // Ids that cannot be generated go into a column of their own.
    let ids = ids.clamp_max(size);
    let scores = scores.constant_pad_nd([0, 1]);
    let seen = scores.gather(1, &ids, false);
    let changed = (&seen * penalty).where_self(&seen.lt(0.0), &(&seen / penalty));
    scores.scatter(1, &ids, &changed).narrow(1, 0, size)
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
        Ok(without_completed(scores, ids, ids, self.0))
    }
}

/// `scores` without the tokens that, after the last of `ids`, complete a sequence of `size` tokens that `text` has.
fn without_completed(scores: &Tensor, ids: &Tensor, text: &Tensor, size: usize) -> Tensor {
    if length(text) < size || length(ids) + 1 < size {
        return scores.shallow_clone();
    }
    let (tokens, prefix, size) = (length(ids) as i64, size as i64 - 1, vocabulary(scores));
    let ends = ids.narrow(1, tokens - prefix, prefix).unsqueeze(1);
    let windows = text.unfold(1, prefix + 1, 1);
    let repeats = windows.narrow(-1, 0, prefix).eq_tensor(&ends).all_dim(-1, false);
    // What does not repeat, and what cannot be generated, goes into a column of its own.
    let last = windows.select(-1, prefix).clamp_max(size).masked_fill(&repeats.logical_not(), size);
    let removed = Tensor::zeros([scores.size()[0], size + 1], (Kind::Bool, scores.device()));
    without(scores, &removed.scatter_value(1, &last, 1).narrow(1, 0, size))
}

/// Makes tokens of the source likelier: multiplies their scores where positive, divides them where negative.
#[derive(Debug)]
pub struct EncoderRepetitionPenalty {
    penalty: f64,
    source: Tensor,
}

impl EncoderRepetitionPenalty {
    /// For the tokens of `source` (`[batch, tokens]`), a row of which may belong to several rows of scores; above 1 for a
    /// reward, below 1 for a penalty.
    ///
    /// # Errors
    /// Unless `penalty` is above 0.
    pub fn new(penalty: f64, source: &Tensor) -> Result<Self> {
        let fits = penalty > 0.0 && penalty.is_finite();
        let refuse = || unfit("encoder_repetition_penalty", penalty, "a number above 0");
        fits.then(|| Self { penalty: penalty.recip(), source: source.shallow_clone() }).ok_or_else(refuse)
    }
}

impl LogitsProcessor for EncoderRepetitionPenalty {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        Ok(penalized(scores, &rows_of(&self.source, scores), self.penalty))
    }
}

/// Removes tokens that would complete a sequence of several tokens that the source has.
#[derive(Debug)]
pub struct EncoderNoRepeatNGram {
    size: usize,
    source: Tensor,
}

impl EncoderNoRepeatNGram {
    /// For sequences of `size` tokens of `source` (`[batch, tokens]`), a row of which may belong to several rows of
    /// scores.
    ///
    /// # Errors
    /// Unless `size` is at least 1.
    pub fn new(size: usize, source: &Tensor) -> Result<Self> {
        let refuse = || unfit("encoder_no_repeat_ngram_size", size, "at least 1");
        (size >= 1).then(|| Self { size, source: source.shallow_clone() }).ok_or_else(refuse)
    }
}

impl LogitsProcessor for EncoderNoRepeatNGram {
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        Ok(without_completed(scores, ids, &rows_of(&self.source, scores), self.size))
    }
}

/// `rows` as often as there are rows of `scores` for each, on their device.
fn rows_of(rows: &Tensor, scores: &Tensor) -> Tensor {
    let times = scores.size()[0] / rows.size()[0].max(1);
    rows.to_device(scores.device()).repeat_interleave_self_int(times.max(1), 0, None)
}
