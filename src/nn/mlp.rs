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
    /// How the gate and what it gates are bounded.
    pub limit: Option<GateLimit>,
    /// Whether gate and up are stored as one projection whose outputs take turns.
    pub interleaved: bool,
}

/// The bounds of a gate and of what it gates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateLimit {
    /// Of the gate from above, and of the other on either side.
    pub bound: f64,
    /// What stands in place of `act(gate) * up`, as gpt-oss has it: `gate * sigmoid(slope * gate) * (up + 1)`.
    pub slope: Option<f64>,
}

impl MlpSpec {
    /// Two projections with biases.
    pub fn plain(hidden: i64, intermediate: i64, activation: Activation) -> Self {
        Self { hidden, intermediate, activation, gated: false, bias: true, limit: None, interleaved: false }
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
        Self::of(spec, up, Linear::load(&weights.at("down"), intermediate, hidden, bias))
    }

    /// A block with the given projections; `up` has gate and up side by side, or in turns, where there is a gate.
    pub fn of(spec: MlpSpec, up: Linear, down: Linear) -> Self {
        Self { spec, up, down }
    }

    /// `[…, hidden]` to `[…, hidden]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let MlpSpec { activation, gated, intermediate, interleaved, .. } = self.spec;
        let up = self.up.forward(x);
        let inner = match (gated, interleaved) {
            (false, _) => activation.apply(&up),
            (true, false) => self.gate(up.narrow(-1, 0, intermediate), up.narrow(-1, intermediate, intermediate)),
            (true, true) => self.gate(up.slice(-1, 0, None, 2), up.slice(-1, 1, None, 2)),
        };
        self.down.forward(&inner.to_kind(self.down.kind()))
    }

    fn gate(&self, gate: Tensor, up: Tensor) -> Tensor {
        let MlpSpec { activation, limit, .. } = self.spec;
        let Some(GateLimit { bound, slope }) = limit else { return activation.apply(&gate) * up };
        let (gate, up) = (gate.clamp_max(bound), up.clamp(-bound, bound));
        match slope {
            Some(slope) => (up + 1.0) * (&gate * (&gate * slope).sigmoid()),
            None => activation.apply(&gate) * up,
        }
    }
}
