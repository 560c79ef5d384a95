use tch::Tensor;

use super::{CausalConv, Linear, without_padding};
use crate::cache::LayerCache;
use crate::weights::Weights;

/// A short convolution between two gates that depend on the input, as LFM2 mixes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortConvSpec {
    /// Width of input and output.
    pub hidden: i64,
    /// Tokens that the convolution sees.
    pub kernel: i64,
    /// Whether convolution and projections have a bias.
    pub bias: bool,
}

/// A gated short convolution with its parameters.
#[derive(Debug)]
pub struct ShortConv {
    hidden: i64,
    in_proj: Linear,
    conv: CausalConv,
    out_proj: Linear,
}

impl ShortConv {
    /// Loads `in_proj`, `conv`, `out_proj`.
    pub fn load(weights: &Weights, ShortConvSpec { hidden, kernel, bias }: ShortConvSpec) -> Self {
        Self {
            hidden,
            in_proj: Linear::load(&weights.at("in_proj"), hidden, 3 * hidden, bias),
            conv: CausalConv::load(&weights.at("conv"), hidden, kernel, bias),
            out_proj: Linear::load(&weights.at("out_proj"), hidden, hidden, bias),
        }
    }

    /// `[batch, tokens, hidden]` to the same shape; `real` (`[batch, tokens, 1]`) says which tokens are no padding.
    pub fn forward(&self, x: &Tensor, real: Option<&Tensor>, state: Option<&mut LayerCache>) -> Tensor {
        let projected = self.in_proj.forward(&without_padding(x, real));
        let part = |index: i64| projected.narrow(-1, index * self.hidden, self.hidden);
        let (input_gate, output_gate, x) = (part(0), part(1), part(2));
        let mixed = self.conv.forward(&(input_gate * x), state.map(|state| &mut state.window));
        self.out_proj.forward(&(output_gate * mixed))
    }
}
