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
    pub const fn layer(eps: f64) -> Self {
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

    /// The same scaled before it is rounded.
    pub fn wide(self) -> Self {
        Self { scale: NormScale::WideWeight, ..self }
    }

    /// The same scaled by one more than its weight.
    pub fn one_plus(self) -> Self {
        Self { scale: NormScale::OnePlusWeight, ..self }
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
    /// Heads with parameters of their own.
    heads: Option<i64>,
    weight: Option<Weight>,
    bias: Option<Weight>,
}

impl Norm {
    /// Loads `weight` (and `bias`) `[size]`, which old checkpoints call `gamma` and `beta`, either or both of them.
    pub fn load(weights: &Weights, spec: NormSpec, size: i64) -> Self {
        let is_old = weights.has("gamma") || weights.has("beta");
        let named = |new, old| if is_old && !weights.has(new) { old } else { new };
        let (weight, bias) = (named("weight", "gamma"), named("bias", "beta"));
        Self {
            spec,
            size,
            heads: None,
            weight: weights.weight_if(spec.scale != NormScale::None, weight, &[size]),
            bias: weights.weight_if(spec.bias, bias, &[size]),
        }
    }

    /// Loads `weight` (and `bias`) `[heads, size]` for `[batch, heads, …, size]`.
    pub fn load_heads(weights: &Weights, spec: NormSpec, heads: i64, size: i64) -> Self {
        Self {
            spec,
            size,
            heads: Some(heads),
            weight: weights.weight_if(spec.scale != NormScale::None, "weight", &[heads, size]),
            bias: weights.weight_if(spec.bias, "bias", &[heads, size]),
        }
    }

    /// As [`Norm::load_heads`] from `norms.N.weight` (and `norms.N.bias`) `[size]`, one for each head.
    pub fn load_list(weights: &Weights, spec: NormSpec, heads: i64, size: i64) -> Self {
        let places: Vec<_> = (0..heads).map(|head| format!("norms.{head}")).collect();
        let parts: Vec<_> = places.iter().map(|place| (place.as_str(), size)).collect();
        let all = |wanted: bool, name: &str| wanted.then(|| weights.fused(&parts, name));
        Self {
            spec,
            size,
            heads: Some(heads),
            weight: all(spec.scale != NormScale::None, "weight"),
            bias: all(spec.bias, "bias"),
        }
    }

    /// Normalises the last dimension.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let NormSpec { kind, eps, scale, .. } = self.spec;
        let shaped = |parameter: &Option<Weight>| {
            let parameter = parameter.as_deref()?;
            let heads = self.heads.map(|heads| parameter.view([heads, 1, self.size]));
            Some(heads.unwrap_or_else(|| parameter.shallow_clone()))
        };
        let (weight, bias) = (shaped(&self.weight), shaped(&self.bias));
        match (kind, scale) {
            (NormKind::Layer, NormScale::None | NormScale::Weight | NormScale::WideWeight) if self.heads.is_none() => {
                x.layer_norm([self.size], weight.as_ref(), bias.as_ref(), eps, false)
            }
            (NormKind::Layer, _) => {
                let unit = x.layer_norm([self.size], None::<&Tensor>, None::<&Tensor>, eps, false);
                let scaled = match (scale, weight) {
                    (NormScale::OnePlusWeight, Some(weight)) => unit * (weight + 1.0),
                    (_, Some(weight)) => unit * weight,
                    (_, None) => unit,
                };
                match bias {
                    Some(bias) => scaled + bias,
                    None => scaled,
                }
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

/// Each vector of the last dimension divided by its length, or by `least` where it is shorter.
pub fn unit(x: &Tensor, least: f64) -> Tensor {
    x / x.square().sum_dim_intlist([-1].as_slice(), true, None::<Kind>).sqrt().clamp_min(least)
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
