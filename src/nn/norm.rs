use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// Which normalisation over the last dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormSpec {
    /// What is normalised.
    pub kind: NormKind,
    /// Added to the variance or the mean square.
    pub eps: f64,
    /// What the result is multiplied by.
    pub scale: NormScale,
    /// Whether it is shifted.
    pub bias: bool,
}

/// What a normalisation brings to 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Mean and variance (Ba et al., 2016).
    Layer,
    /// The root mean square only (Zhang and Sennrich, 2019).
    Rms,
}

/// What a normalised vector is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormScale {
    /// Nothing.
    None,
    /// A weight per element; a root mean square is rounded to its kind first.
    Weight,
    /// A weight per element, before rounding.
    WideWeight,
    /// One more than a weight per element, before rounding, as Gemma does.
    OnePlusWeight,
}

impl NormSpec {
    /// LayerNorm with scale and shift.
    pub fn layer(eps: f64) -> Self {
        Self { kind: NormKind::Layer, eps, scale: NormScale::Weight, bias: true }
    }

    /// RMSNorm with scale.
    pub fn rms(eps: f64) -> Self {
        Self { kind: NormKind::Rms, eps, scale: NormScale::Weight, bias: false }
    }

    /// The same without a shift.
    pub fn unshifted(self) -> Self {
        Self { bias: false, ..self }
    }

    /// The same scaled by one more than its weight.
    pub fn one_plus(self) -> Self {
        Self { scale: NormScale::OnePlusWeight, ..self }
    }

    /// The same scaled before it is rounded.
    pub fn wide(self) -> Self {
        Self { scale: NormScale::WideWeight, ..self }
    }

    /// The same without parameters.
    pub fn bare(self) -> Self {
        Self { scale: NormScale::None, bias: false, ..self }
    }
}

/// A normalisation with its parameters.
#[derive(Debug)]
pub struct Norm {
    spec: NormSpec,
    size: i64,
    weight: Option<Weight>,
    bias: Option<Weight>,
}

impl Norm {
    /// Loads `weight` (and `bias`) `[size]`, which old checkpoints call `gamma` and `beta`.
    pub fn load(weights: &Weights, spec: NormSpec, size: i64) -> Self {
        Self::load_each(weights, spec, &[size])
    }

    /// As [`Norm::load`], with parameters of `shape`, whose last dimension is normalised: one for each head, say.
    pub fn load_each(weights: &Weights, spec: NormSpec, shape: &[i64]) -> Self {
        let old = weights.has("gamma") || weights.has("beta");
        let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        Self {
            spec,
            size: shape.last().copied().unwrap_or(0),
            weight: weights.weight_if(spec.scale != NormScale::None, weight, shape),
            bias: weights.weight_if(spec.bias, bias, shape),
        }
    }

    /// Normalises the last dimension.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let NormSpec { kind, eps, scale, .. } = self.spec;
        let (weight, bias) = (self.weight.as_deref(), self.bias.as_deref());
        match (kind, scale) {
            (NormKind::Layer, NormScale::None | NormScale::Weight | NormScale::WideWeight)
                if weight.is_none_or(|weight| weight.dim() == 1) =>
            {
                x.layer_norm([self.size], weight, bias, eps, false)
            }
            (NormKind::Layer, _) => {
                let unit = x.layer_norm([self.size], None::<&Tensor>, None::<&Tensor>, eps, false);
                let scaled = match (scale, weight) {
                    (NormScale::OnePlusWeight, Some(weight)) => unit * (weight + 1.0),
                    (_, Some(weight)) => unit * weight,
                    (_, None) => unit,
                };
                bias.map_or_else(|| scaled.shallow_clone(), |bias| &scaled + bias)
            }
            (NormKind::Rms, _) => {
                let wide = x.to_kind(Kind::Float);
                let unit = &wide * (wide.square().mean_dim(-1, true, Kind::Float) + eps).rsqrt();
                match (scale, weight) {
                    (NormScale::OnePlusWeight, Some(weight)) => {
                        (unit * (weight.to_kind(Kind::Float) + 1.0)).to_kind(weight.kind())
                    }
                    (NormScale::WideWeight, Some(weight)) => (unit * weight.to_kind(Kind::Float)).to_kind(x.kind()),
                    // In half precision the reference rounds before it scales, to the kind of the weights: sums that a
                    // block kept wide come in as float32.
                    (_, Some(weight)) => unit.to_kind(weight.kind()) * weight,
                    (_, None) => unit.to_kind(x.kind()),
                }
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
