use tch::Tensor;

use super::{Activation, Linear};
use crate::weights::Weights;

/// A feed-forward block: `down(act(up(x)))`, or gated, `down(act(gate(x)) * up(x))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MlpSpec {
    /// Width of input and output.
    pub hidden: i64,
    /// Width in between.
    pub intermediate: i64,
    /// The activation.
    pub activation: Activation,
    /// Whether there is a gate.
    pub gated: bool,
    /// Whether the projections have a bias.
    pub bias: bool,
}

impl MlpSpec {
    /// Two projections with biases.
    pub fn plain(hidden: i64, intermediate: i64, activation: Activation) -> Self {
        Self { hidden, intermediate, activation, gated: false, bias: true }
    }

    /// Three projections without biases.
    pub fn gated(hidden: i64, intermediate: i64, activation: Activation) -> Self {
        Self { gated: true, bias: false, ..Self::plain(hidden, intermediate, activation) }
    }
}

/// A feed-forward block with its parameters.
#[derive(Debug)]
pub struct Mlp {
    spec: MlpSpec,
    /// Gate and up side by side where there is a gate.
    up: Linear,
    down: Linear,
}

impl Mlp {
    /// Loads `up`, `down` and, if gated, `gate`.
    pub fn load(weights: &Weights, spec: MlpSpec) -> Self {
        let MlpSpec { hidden, intermediate, gated, bias, .. } = spec;
        let parts: &[_] = if gated { &[("gate", intermediate), ("up", intermediate)] } else { &[("up", intermediate)] };
        let up = Linear::fused(weights, hidden, parts, bias);
        Self { spec, up, down: Linear::load(&weights.at("down"), intermediate, hidden, bias) }
    }

    /// `[…, hidden]` to `[…, hidden]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let MlpSpec { activation, gated, intermediate, .. } = self.spec;
        let up = self.up.forward(x);
        let inner = if gated {
            activation.apply(&up.narrow(-1, 0, intermediate)) * up.narrow(-1, intermediate, intermediate)
        } else {
            activation.apply(&up)
        };
        self.down.forward(&inner.to_kind(self.down.kind()))
    }
}
