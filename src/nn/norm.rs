use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// Which normalisation over the last dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NormSpec {
    /// Mean and variance, then scale and (with `bias`) shift.
    Layer {
        /// Added to the variance.
        eps: f64,
        /// Whether there is a shift.
        bias: bool,
    },
    /// Root mean square only, then scale.
    Rms {
        /// Added to the mean square.
        eps: f64,
    },
}

impl NormSpec {
    /// LayerNorm with scale and shift.
    pub fn layer(eps: f64) -> Self {
        Self::Layer { eps, bias: true }
    }

    /// RMSNorm with scale.
    pub fn rms(eps: f64) -> Self {
        Self::Rms { eps }
    }
}

/// A normalisation with its parameters.
#[derive(Debug)]
pub struct Norm {
    spec: NormSpec,
    weight: Weight,
    bias: Option<Weight>,
}

impl Norm {
    /// Loads `weight` (and `bias`) `[size]`, which old checkpoints call `gamma` and `beta`.
    pub fn load(weights: &Weights, spec: NormSpec, size: i64) -> Self {
        let shifted = matches!(spec, NormSpec::Layer { bias: true, .. });
        let old = weights.has("gamma") || weights.has("beta");
        let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        Self { spec, weight: weights.weight(weight, &[size]), bias: weights.weight_if(shifted, bias, &[size]) }
    }

    /// Normalises the last dimension.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self.spec {
            NormSpec::Layer { eps, .. } => {
                x.layer_norm(self.weight.size(), Some(&*self.weight), self.bias.as_deref(), eps, false)
            }
            // In half precision the reference rounds before it scales, to the kind of the weights: sums that a block
            // kept wide come in as float32.
            NormSpec::Rms { eps } => {
                let wide = x.to_kind(Kind::Float);
                let scale = (wide.square().mean_dim(-1, true, Kind::Float) + eps).rsqrt();
                (wide * scale).to_kind(self.weight.kind()) * &*self.weight
            }
        }
    }
}

/// Mean and variance over the positions and over groups of channels, then scale and shift of each channel (Wu and He,
/// 2018).
#[derive(Debug)]
pub struct GroupNorm {
    groups: i64,
    weight: Weight,
    bias: Weight,
    eps: f64,
}

impl GroupNorm {
    /// Loads `weight` and `bias` `[channels]`; `eps` is added to variances.
    pub fn load(weights: &Weights, groups: i64, channels: i64, eps: f64) -> Self {
        Self { groups, weight: weights.weight("weight", &[channels]), bias: weights.weight("bias", &[channels]), eps }
    }

    /// Normalises `[batch, channels, …]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.group_norm(self.groups, Some(&*self.weight), Some(&*self.bias), self.eps, true)
    }
}
