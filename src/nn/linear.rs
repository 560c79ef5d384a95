use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// `y = x Wᵀ + b` on the last dimension.
#[derive(Debug)]
pub struct Linear {
    weight: Weight,
    bias: Option<Weight>,
}

impl Linear {
    /// Loads `weight` `[outputs, inputs]` and, if wanted, `bias` `[outputs]`.
    pub fn load(weights: &Weights, inputs: i64, outputs: i64, bias: bool) -> Self {
        Self { weight: weights.matrix("weight", &[outputs, inputs]), bias: weights.weight_if(bias, "bias", &[outputs]) }
    }

    /// Loads several layers on the same inputs as one: `(path, outputs)` each, outputs side by side.
    pub fn fused(weights: &Weights, inputs: i64, parts: &[(&str, i64)], bias: bool) -> Self {
        let bias = bias.then(|| weights.fused(parts, "bias", &[]));
        Self { weight: weights.fused(parts, "weight", &[inputs]), bias }
    }

    /// As [`Linear::fused`], with a bias only on some parts: `(path, outputs, bias)` each.
    pub fn fused_some(weights: &Weights, inputs: i64, parts: &[(&str, i64, bool)]) -> Self {
        let sizes: Vec<_> = parts.iter().map(|(path, outputs, _)| (*path, *outputs)).collect();
        let bias = parts.iter().any(|(.., bias)| *bias).then(|| weights.fused_some(parts, "bias", &[]));
        Self { weight: weights.fused(&sizes, "weight", &[inputs]), bias }
    }

    /// A layer with the given weight `[outputs, inputs]`, such as a tied embedding table, and `bias`.
    pub fn tied(weight: Weight, bias: Option<Weight>) -> Self {
        Self { weight, bias }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> i64 {
        self.weight.size()[0]
    }

    /// The matrix, `[outputs, inputs]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The kind of the inputs that the layer takes, and of its outputs.
    pub fn kind(&self) -> Kind {
        self.weight.kind()
    }

    /// The outputs `start..start + len` of the layer alone.
    pub fn forward_some(&self, x: &Tensor, start: i64, len: i64) -> Tensor {
        x.linear(&self.weight.narrow(0, start, len), self.bias.as_ref().map(|bias| bias.narrow(0, start, len)))
    }

    /// Applies the layer: `[…, inputs]` to `[…, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_deref())
    }
}
