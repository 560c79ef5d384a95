//! Processors that leave the likely tokens and remove the others. The likeliest one always stays, or as many as said.

use tch::{Kind, Tensor};

use super::{LogitsProcessor, unfit, vocabulary, without};
use crate::Result;

/// Leaves the `k` best scores, and what equals the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopK {
    k: i64,
    least: i64,
}

impl TopK {
    /// # Errors
    /// Unless `k` is at least 1.
    pub fn new(k: i64) -> Result<Self> {
        (k >= 1).then_some(Self { k, least: 1 }).ok_or_else(|| unfit("top_k", k, "at least 1 (0 for no limit)"))
    }

    /// The same, leaving `least` tokens at least.
    pub fn keeping(self, least: i64) -> Self {
        Self { least, ..self }
    }
}

impl LogitsProcessor for TopK {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        Ok(without(scores, &below_best(scores, self.k.max(self.least))))
    }
}

/// Leaves the fewest tokens whose probabilities together reach `p` (nucleus sampling, arXiv:1904.09751).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopP {
    p: f64,
    least: i64,
}

impl TopP {
    /// # Errors
    /// Unless `p` is from 0 to 1.
    pub fn new(p: f64) -> Result<Self> {
        (0.0..=1.0).contains(&p).then_some(Self { p, least: 1 }).ok_or_else(|| unfit("top_p", p, "0 to 1"))
    }

    /// The same, leaving `least` tokens at least.
    pub fn keeping(self, least: i64) -> Self {
        Self { least, ..self }
    }
}

impl LogitsProcessor for TopP {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let (sorted, order) = scores.sort(-1, false);
        let cumulative = sorted.softmax(-1, None::<Kind>).cumsum(-1, None::<Kind>);
        let removed = cumulative.le(1.0 - self.p);
        let size = vocabulary(scores);
        let removed = keep_from(&removed, (size - self.least).max(0), size);
        Ok(without(scores, &unsorted(&removed, &order)))
    }
}

/// Leaves tokens at least `p` times as probable as the likeliest one (arXiv:2407.01082).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinP {
    p: f64,
    least: i64,
}

impl MinP {
    /// # Errors
    /// Unless `p` is from 0 to 1.
    pub fn new(p: f64) -> Result<Self> {
        (0.0..=1.0).contains(&p).then_some(Self { p, least: 1 }).ok_or_else(|| unfit("min_p", p, "0 to 1"))
    }

    /// The same, leaving `least` tokens at least.
    pub fn keeping(self, least: i64) -> Self {
        Self { least, ..self }
    }
}

impl LogitsProcessor for MinP {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let probabilities = scores.softmax(-1, None::<Kind>);
        let least = probabilities.amax([-1], true) * self.p;
        let best = probabilities.topk(self.least.min(vocabulary(scores)), -1, true, true).1;
        Ok(without(scores, &probabilities.lt_tensor(&least).scatter_value(-1, &best, 0)))
    }
}

/// Leaves the tokens whose information is nearest to the entropy, as many as together reach the mass `p`
/// (locally typical sampling, arXiv:2202.00666).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TypicalP {
    p: f64,
    least: i64,
}

impl TypicalP {
    /// # Errors
    /// Unless `p` is above 0 and below 1.
    pub fn new(p: f64) -> Result<Self> {
        between_0_and_1(p).then_some(Self { p, least: 1 }).ok_or_else(|| unfit("typical_p", p, "above 0 and below 1"))
    }

    /// The same, leaving `least` tokens at least.
    pub fn keeping(self, least: i64) -> Self {
        Self { least, ..self }
    }
}

impl LogitsProcessor for TypicalP {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let logarithms = scores.log_softmax(-1, None::<Kind>);
        // A token of probability 0 adds 0 to the entropy, though its product is no number.
        let entropy = -(&logarithms * logarithms.exp()).nansum([-1i64].as_slice(), true, None::<Kind>);
        let (distances, order) = (-&logarithms - entropy).abs().sort(-1, false);
        let cumulative = scores.gather(-1, &order, false).softmax(-1, None::<Kind>).cumsum(-1, None::<Kind>);
        let last = cumulative.lt(self.p).sum_dim_intlist([-1i64].as_slice(), true, Kind::Int64);
        let farthest = distances.gather(-1, &last.clamp_max(vocabulary(scores) - 1), false);
        let removed = keep_from(&distances.gt_tensor(&farthest), 0, self.least.min(vocabulary(scores)));
        Ok(without(scores, &unsorted(&removed, &order)))
    }
}

/// Leaves tokens of at least this probability (arXiv:2210.15191).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpsilonCutoff {
    epsilon: f64,
    least: i64,
}

impl EpsilonCutoff {
    /// # Errors
    /// Unless `epsilon` is above 0 and below 1.
    pub fn new(epsilon: f64) -> Result<Self> {
        let fits = between_0_and_1(epsilon);
        fits.then_some(Self { epsilon, least: 1 })
            .ok_or_else(|| unfit("epsilon_cutoff", epsilon, "above 0 and below 1"))
    }

    /// The same, leaving `least` tokens at least.
    pub fn keeping(self, least: i64) -> Self {
        Self { least, ..self }
    }
}

impl LogitsProcessor for EpsilonCutoff {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let improbable = scores.softmax(-1, None::<Kind>).lt(self.epsilon);
        Ok(without(scores, &improbable.logical_and(&below_best(scores, self.least))))
    }
}

/// Leaves tokens of a probability that depends on the entropy: `min(epsilon, sqrt(epsilon) * exp(-entropy))`
/// (arXiv:2210.15191).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EtaCutoff {
    epsilon: f64,
    least: i64,
}

impl EtaCutoff {
    /// # Errors
    /// Unless `epsilon` is above 0 and below 1.
    pub fn new(epsilon: f64) -> Result<Self> {
        let fits = between_0_and_1(epsilon);
        fits.then_some(Self { epsilon, least: 1 }).ok_or_else(|| unfit("eta_cutoff", epsilon, "above 0 and below 1"))
    }

    /// The same, leaving `least` tokens at least.
    pub fn keeping(self, least: i64) -> Self {
        Self { least, ..self }
    }
}

impl LogitsProcessor for EtaCutoff {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let probabilities = scores.softmax(-1, None::<Kind>);
        let entropy = entropy(&normalized(scores), &probabilities);
        let epsilon = Tensor::from(self.epsilon).to_kind(scores.kind()).to_device(scores.device());
        let eta = epsilon.minimum(&(epsilon.sqrt() * (-entropy).exp()));
        Ok(without(scores, &probabilities.lt_tensor(&eta).logical_and(&below_best(scores, self.least))))
    }
}

/// Leaves the likeliest tokens whose shares of the entropy together stay below `h` of it (arXiv:2509.02510).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopH(f64);

impl TopH {
    /// Tokens that are looked at: the others are removed.
    const MOST: i64 = 100;

    /// # Errors
    /// Unless `h` is above 0 and at most 1.
    pub fn new(h: f64) -> Result<Self> {
        (h > 0.0 && h <= 1.0).then_some(Self(h)).ok_or_else(|| unfit("top_h", h, "above 0 and at most 1"))
    }
}

impl LogitsProcessor for TopH {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let (best, order) = scores.topk(Self::MOST.min(vocabulary(scores)), -1, true, true);
        let normalized = normalized(&best);
        let probabilities = normalized.softmax(-1, None::<Kind>);
        // What a token without probability adds is no number, and no number is below the bound.
        let shares = -(&probabilities * probabilities.log());
        let bound = entropy(&normalized, &probabilities) * self.0;
        let removed = keep_from(&shares.cumsum(-1, None::<Kind>).le_tensor(&bound).logical_not(), 0, 1);
        let all = scores.ones_like().to_kind(Kind::Bool);
        Ok(without(scores, &all.scatter(-1, &order, &removed)))
    }
}

fn between_0_and_1(value: f64) -> bool {
    value > 0.0 && value < 1.0
}

/// The logarithms of the probabilities that `scores` give.
fn normalized(scores: &Tensor) -> Tensor {
    scores - scores.logsumexp([-1], true)
}

/// The entropy of `probabilities`, of which `logarithms` are the logarithms: `[batch, 1]`.
fn entropy(logarithms: &Tensor, probabilities: &Tensor) -> Tensor {
    // Finite logarithms, for 0 times infinity is no number.
    let logarithms = logarithms.clamp_min(f64::from(f32::MIN));
    -(logarithms * probabilities).sum_dim_intlist([-1i64].as_slice(), true, None::<Kind>)
}

/// Where `scores` are below the `k` best of their row.
fn below_best(scores: &Tensor, k: i64) -> Tensor {
    scores.lt_tensor(&scores.topk(k.min(vocabulary(scores)), -1, true, true).0.narrow(-1, -1, 1))
}

/// `removed` with nothing removed in the columns from `start` to before `end`.
fn keep_from(removed: &Tensor, start: i64, end: i64) -> Tensor {
    removed.index_fill(-1, &Tensor::arange_start(start, end, (Kind::Int64, removed.device())), 0)
}

/// What stands sorted by `order` brought back to where it was.
fn unsorted(sorted: &Tensor, order: &Tensor) -> Tensor {
    sorted.scatter(-1, order, sorted)
}
