//! Processors that leave the likely tokens and remove the others. The likeliest one always stays.

use tch::{Kind, Tensor};

use super::{LogitsProcessor, unfit, vocabulary, without};
use crate::Result;

/// Leaves the `k` best scores, and what equals the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopK(i64);

impl TopK {
    /// # Errors
    /// Unless `k` is at least 1.
    pub fn new(k: i64) -> Result<Self> {
        (k >= 1).then_some(Self(k)).ok_or_else(|| unfit("top_k", k, "at least 1 (0 for no limit)"))
    }
}

impl LogitsProcessor for TopK {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let k = self.0.min(vocabulary(scores));
        Ok(without(scores, &below_best(scores, k)))
    }
}

/// Leaves the fewest tokens whose probabilities together reach `p` (nucleus sampling, arXiv:1904.09751).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopP(f64);

impl TopP {
    /// # Errors
    /// Unless `p` is from 0 to 1.
    pub fn new(p: f64) -> Result<Self> {
        (0.0..=1.0).contains(&p).then_some(Self(p)).ok_or_else(|| unfit("top_p", p, "0 to 1"))
    }
}

impl LogitsProcessor for TopP {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let (sorted, order) = scores.sort(-1, false);
        let cumulative = sorted.softmax(-1, None::<Kind>).cumsum(-1, None::<Kind>);
        let removed = keep_at(&cumulative.le(1.0 - self.0), vocabulary(scores) - 1);
        Ok(without(scores, &unsorted(&removed, &order)))
    }
}

/// Leaves tokens at least `p` times as probable as the likeliest one (arXiv:2407.01082).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinP(f64);

impl MinP {
    /// # Errors
    /// Unless `p` is from 0 to 1.
    pub fn new(p: f64) -> Result<Self> {
        (0.0..=1.0).contains(&p).then_some(Self(p)).ok_or_else(|| unfit("min_p", p, "0 to 1"))
    }
}

impl LogitsProcessor for MinP {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let probabilities = scores.softmax(-1, None::<Kind>);
        let least = probabilities.amax([-1], true) * self.0;
        let best = probabilities.topk(1, -1, true, true).1;
        Ok(without(scores, &probabilities.lt_tensor(&least).scatter_value(-1, &best, 0)))
    }
}

/// Leaves the tokens whose information is nearest to the entropy, as many as together reach the mass `p`
/// (locally typical sampling, arXiv:2202.00666).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TypicalP(f64);

impl TypicalP {
    /// # Errors
    /// Unless `p` is above 0 and below 1.
    pub fn new(p: f64) -> Result<Self> {
        between_0_and_1(p).then_some(Self(p)).ok_or_else(|| unfit("typical_p", p, "above 0 and below 1"))
    }
}

impl LogitsProcessor for TypicalP {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let logarithms = scores.log_softmax(-1, None::<Kind>);
        // A token of probability 0 adds 0 to the entropy, though its product is no number.
        let entropy = -(&logarithms * logarithms.exp()).nansum([-1i64].as_slice(), true, None::<Kind>);
        let (distances, order) = (-&logarithms - entropy).abs().sort(-1, false);
        let cumulative = scores.gather(-1, &order, false).softmax(-1, None::<Kind>).cumsum(-1, None::<Kind>);
        let last = cumulative.lt(self.0).sum_dim_intlist([-1i64].as_slice(), true, Kind::Int64);
        let farthest = distances.gather(-1, &last.clamp_max(vocabulary(scores) - 1), false);
        let removed = keep_at(&distances.gt_tensor(&farthest), 0);
        Ok(without(scores, &unsorted(&removed, &order)))
    }
}

/// Leaves tokens of at least this probability (arXiv:2210.15191).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpsilonCutoff(f64);

impl EpsilonCutoff {
    /// # Errors
    /// Unless `epsilon` is above 0 and below 1.
    pub fn new(epsilon: f64) -> Result<Self> {
        let fits = between_0_and_1(epsilon);
        fits.then_some(Self(epsilon)).ok_or_else(|| unfit("epsilon_cutoff", epsilon, "above 0 and below 1"))
    }
}

impl LogitsProcessor for EpsilonCutoff {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let improbable = scores.softmax(-1, None::<Kind>).lt(self.0);
        Ok(without(scores, &improbable.logical_and(&below_best(scores, 1))))
    }
}

/// Leaves tokens of a probability that depends on the entropy: `min(epsilon, sqrt(epsilon) * exp(-entropy))`
/// (arXiv:2210.15191).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EtaCutoff(f64);

impl EtaCutoff {
    /// # Errors
    /// Unless `epsilon` is above 0 and below 1.
    pub fn new(epsilon: f64) -> Result<Self> {
        let fits = between_0_and_1(epsilon);
        fits.then_some(Self(epsilon)).ok_or_else(|| unfit("eta_cutoff", epsilon, "above 0 and below 1"))
    }
}

impl LogitsProcessor for EtaCutoff {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let probabilities = scores.softmax(-1, None::<Kind>);
        // Finite logarithms, for 0 times infinity is no number.
        let logarithms = (scores - scores.logsumexp([-1], true)).clamp_min(f64::from(f32::MIN));
        let entropy = -(logarithms * &probabilities).sum_dim_intlist([-1i64].as_slice(), true, None::<Kind>);
        let epsilon = Tensor::from(self.0).to_kind(scores.kind()).to_device(scores.device());
        let eta = epsilon.minimum(&(epsilon.sqrt() * (-entropy).exp()));
        Ok(without(scores, &probabilities.lt_tensor(&eta).logical_and(&below_best(scores, 1))))
    }
}

fn between_0_and_1(value: f64) -> bool {
    value > 0.0 && value < 1.0
}

/// Where `scores` are below the `k` best of their row.
fn below_best(scores: &Tensor, k: i64) -> Tensor {
    scores.lt_tensor(&scores.topk(k, -1, true, true).0.narrow(-1, -1, 1))
}

/// `removed` with nothing removed in column `column`.
fn keep_at(removed: &Tensor, column: i64) -> Tensor {
    let column = Tensor::from_slice(&[column]).to_device(removed.device());
    removed.index_fill(-1, &column, 0)
}

/// What stands sorted by `order` brought back to where it was.
fn unsorted(sorted: &Tensor, order: &Tensor) -> Tensor {
    sorted.scatter(-1, order, sorted)
}
