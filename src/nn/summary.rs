use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Activation, Linear};
use crate::weights::Weights;
use crate::{Error, Result};

/// How a sequence becomes one vector; `summary_type` of configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SummaryType {
    /// The last token.
    Last,
    /// The first token.
    First,
    /// The mean of all tokens.
    Mean,
    /// The token that the input points to, otherwise the last.
    ClsIndex,
}

impl crate::proofs::Takes for SummaryType {
    const KIND: crate::proofs::Kind = crate::proofs::Kind::Str;
}

/// One vector per sequence, as `SequenceSummary` of `transformers` makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummarySpec {
    /// From which tokens.
    pub kind: SummaryType,
    /// Width that the vector is projected to.
    pub projection: Option<i64>,
    /// Applied last.
    pub activation: Option<Activation>,
}

/// A summary with its parameters.
#[derive(Debug)]
pub struct Summary {
    kind: SummaryType,
    projection: Option<Linear>,
    activation: Option<Activation>,
}

impl Summary {
    /// Loads `summary` where there is a projection of vectors of `hidden`.
    pub fn load(weights: &Weights, hidden: i64, spec: SummarySpec) -> Self {
        let projection = spec.projection.map(|width| Linear::load(&weights.at("summary"), hidden, width, true));
        Self { kind: spec.kind, projection, activation: spec.activation }
    }

    /// `[batch, …, tokens, hidden]` and the token to look at, `[batch, …]`, to `[batch, …, width]`.
    ///
    /// Other kinds than the token that is pointed to reduce the second dimension, whatever it is, as the reference does.
    ///
    /// # Errors
    /// When `token` points beyond the sequence.
    pub fn forward(&self, hidden: &Tensor, token: Option<&Tensor>) -> Result<Tensor> {
        let picked = match (self.kind, token) {
            (SummaryType::Last, _) => hidden.select(1, -1),
            (SummaryType::First, _) => hidden.select(1, 0),
            (SummaryType::Mean, _) => hidden.mean_dim(1, false, None),
            (SummaryType::ClsIndex, None) => hidden.select(-2, -1),
            (SummaryType::ClsIndex, Some(token)) => {
                let tokens = hidden.size()[hidden.dim() - 2];
                if token.min().int64_value(&[]) < 0 || token.max().int64_value(&[]) >= tokens {
                    return Err(Error::input("mc_token_ids", format!("values must be from 0 to {}", tokens - 1)));
                }
                let mut shape = hidden.size();
                shape[hidden.dim() - 2] = 1;
                let index = token.to_kind(tch::Kind::Int64).unsqueeze(-1).unsqueeze(-1).expand(&shape[..], false);
                hidden.gather(-2, &index, false).squeeze_dim(-2)
            }
        };
        let projected =
            self.projection.as_ref().map_or_else(|| picked.shallow_clone(), |linear| linear.forward(&picked));
        Ok(self.activation.map_or(projected.shallow_clone(), |activation| activation.apply(&projected)))
    }
}
