use tch::{Kind, Tensor};
use tch_transformers_native::{Matrix, Weight};

use crate::weights::Weights;

/// `y = x Wᵀ + b` on the last dimension.
#[derive(Debug)]
pub struct Linear {
    matrix: Matrix,
    bias: Option<Weight>,
}

impl Linear {
    /// Loads `weight` `[outputs, inputs]` and, if wanted, `bias` `[outputs]`.
    pub fn load(weights: &Weights, inputs: i64, outputs: i64, bias: bool) -> Self {
        Self { matrix: weights.matrix("weight", [outputs, inputs]), bias: weights.weight_if(bias, "bias", &[outputs]) }
    }

    /// Loads several layers on the same inputs as one: `(path, outputs)` each, outputs side by side.
    pub fn fused(weights: &Weights, inputs: i64, parts: &[(&str, i64)], bias: bool) -> Self {
        let bias = bias.then(|| weights.fused(parts, "bias"));
        Self { matrix: weights.fused_matrix(parts, "weight", inputs), bias }
    }

    /// As [`Linear::fused`], with a bias only on some parts: `(path, outputs, bias)` each.
    pub fn fused_some(weights: &Weights, inputs: i64, parts: &[(&str, i64, bool)]) -> Self {
        let sizes: Vec<_> = parts.iter().map(|(path, outputs, _)| (*path, *outputs)).collect();
        let bias = parts.iter().any(|(.., bias)| *bias).then(|| weights.fused_some(parts, "bias"));
        Self { matrix: weights.fused_matrix(&sizes, "weight", inputs), bias }
    }

    /// A layer with the given matrix, such as a tied embedding table, and `bias`.
    pub fn of(matrix: Matrix, bias: Option<Weight>) -> Self {
        Self { matrix, bias }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> i64 {
        self.matrix.size()[0]
    }

    /// The kind of the inputs that the layer takes, and of its outputs.
    pub fn kind(&self) -> Kind {
        self.matrix.kind()
    }

    /// The outputs `start..start + len` of the layer alone.
    pub fn forward_some(&self, x: &Tensor, start: i64, len: i64) -> Tensor {
        if self.matrix.is_prepacked() {
            // Blocks cannot be taken apart; the outputs that are too many cost less than rows of them would.
            return self.forward(x).narrow(-1, start, len);
        }
        let bias = self.bias.as_ref().map(|bias| bias.narrow(0, start, len));
        x.linear(&self.matrix.rows().narrow(0, start, len), bias)
    }

    /// Applies the layer: `[…, inputs]` to `[…, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.matrix.linear(x, self.bias.as_deref())
    }
}
