use tch::Tensor;

use super::{Activation, Linear};
use crate::weights::Weights;

/// Linear layers one after the other with an activation between them.
#[derive(Debug)]
pub struct Perceptron {
    layers: Vec<Linear>,
    activation: Activation,
}

impl Perceptron {
    /// Loads `N` for each step between two of `widths`.
    pub fn load(weights: &Weights, widths: &[i64], activation: Activation) -> Self {
        let layer = |(index, step): (usize, &[i64])| Linear::load(&weights.layer(index), step[0], step[1], true);
        Self { layers: widths.windows(2).enumerate().map(layer).collect(), activation }
    }

    /// `[…, first width]` to `[…, last width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mut layers = self.layers.iter();
        let first = layers.next().map_or_else(|| x.shallow_clone(), |layer| layer.forward(x));
        layers.fold(first, |x, layer| layer.forward(&self.activation.apply(&x)))
    }
}
