use tch::Tensor;

use super::{Attention, AttentionSpec, Context, Conv, ConvSpec, Norm, NormSpec};
use crate::weights::Weights;

/// Attention of the tokens of a grid to a coarser grid made of them (Wang et al., 2021).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReducedSpec {
    /// The attention.
    pub attention: AttentionSpec,
    /// How many rows, and columns, become one.
    pub ratio: i64,
    /// Normalises the tokens of the coarser grid.
    pub norm: NormSpec,
}

/// [`ReducedSpec`] with its parameters.
#[derive(Debug)]
pub struct Reduced {
    attention: Attention,
    reduction: Conv<2>,
    norm: Norm,
}

impl Reduced {
    /// Loads the attention, `reduction` and `reduction_norm`.
    pub fn load(weights: &Weights, ReducedSpec { attention, ratio, norm }: ReducedSpec) -> Self {
        let hidden = attention.hidden;
        let reduction = ConvSpec { stride: [ratio; 2], ..ConvSpec::new(hidden, attention.source, [ratio; 2]) };
        Self {
            attention: Attention::load_cross(weights, attention),
            reduction: Conv::load(&weights.at("reduction"), reduction),
            norm: Norm::load(&weights.at("reduction_norm"), norm, attention.source),
        }
    }

    /// `[batch, rows * columns, hidden]` to the same shape, and the attention weights if wanted.
    pub fn forward(&self, x: &Tensor, context: &Context) -> (Tensor, Option<Tensor>) {
        let coarse = self.reduction.forward(&context.map(x)).flatten(2, -1).transpose(1, 2);
        self.attention.forward_cross(x, &self.norm.forward(&coarse), context.attend(), None)
    }
}
