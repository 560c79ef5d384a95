use tch::Tensor;

use super::{Context, Conv, ConvSpec, Linear, MlpSpec};
use crate::weights::Weights;

/// A feed-forward block that mixes each channel of neighbours on the grid of tokens, and so tells places apart without
/// positions: `down(act(conv(up(x))))` (Xie et al., 2021).
#[derive(Debug)]
pub struct MixMlp {
    spec: MlpSpec,
    up: Linear,
    conv: Conv<2>,
    down: Linear,
}

impl MixMlp {
    /// Loads `up`, `conv` (of each channel, over 3 x 3 tokens) and `down`.
    pub fn load(weights: &Weights, spec: MlpSpec) -> Self {
        let MlpSpec { hidden, intermediate, bias, .. } = spec;
        let conv =
            ConvSpec { padding: [1; 2], groups: intermediate, ..ConvSpec::new(intermediate, intermediate, [3; 2]) };
        Self {
            spec,
            up: Linear::load(&weights.at("up"), hidden, intermediate, bias),
            conv: Conv::load(&weights.at("conv"), conv),
            down: Linear::load(&weights.at("down"), intermediate, hidden, bias),
        }
    }

    /// `[batch, rows * columns, hidden]` to the same shape.
    pub fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        let mixed = self.conv.forward(&context.map(&self.up.forward(x))).flatten(2, -1).transpose(1, 2);
        self.down.forward(&self.spec.activation.apply(&mixed))
    }
}
