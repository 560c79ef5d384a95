use tch::Tensor;

use super::{Activation, Conv, ConvSpec, Norm, NormSpec};
use crate::weights::Weights;

/// A convolution beside a layer, as DeBERTa's first one has it (He et al., 2020).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvBranchSpec {
    /// Width of the hidden states.
    pub hidden: i64,
    /// Tokens that the kernel sees; odd.
    pub kernel: i64,
    /// Groups that channels are split into.
    pub groups: i64,
    /// Of the convolution's output.
    pub activation: Activation,
    /// Of the sum.
    pub norm: NormSpec,
}

/// [`ConvBranchSpec`] with its parameters.
#[derive(Debug)]
pub struct ConvBranch {
    conv: Conv<1>,
    activation: Activation,
    norm: Norm,
}

impl ConvBranch {
    /// Loads `conv` and `norm`.
    pub fn load(weights: &Weights, spec: ConvBranchSpec) -> Self {
        let ConvBranchSpec { hidden, kernel, groups, activation, norm } = spec;
        let conv = ConvSpec { padding: [(kernel - 1) / 2], groups, ..ConvSpec::new(hidden, hidden, [kernel]) };
        Self {
            conv: Conv::load(&weights.at("conv"), conv),
            activation,
            norm: Norm::load(&weights.at("norm"), norm, hidden),
        }
    }

    /// `norm(output + activation(conv(x)))` of a layer's input and output, `[batch, tokens, hidden]` each; 0 where `real`
    /// (`[batch, tokens]`) is 0.
    pub fn forward(&self, x: &Tensor, output: &Tensor, real: Option<&Tensor>) -> Tensor {
        let real = real.map(|real| real.to_kind(x.kind()).unsqueeze(-1));
        let masked = |x: Tensor| match &real {
            Some(real) => x * real,
            None => x,
        };
        let local = masked(self.conv.forward(&x.transpose(1, 2)).transpose(1, 2));
        masked(self.norm.forward(&(output + self.activation.apply(&local))))
    }
}
