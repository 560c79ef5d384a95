use tch::Tensor;

use crate::nn::{Activation, Linear};

/// What brings features to the width of the language model: one layer, or two with an activation between them.
#[derive(Debug)]
pub struct Projector {
    first: Linear,
    second: Option<(Activation, Linear)>,
}

impl Projector {
    /// One layer.
    pub fn linear(layer: Linear) -> Self {
        Self { first: layer, second: None }
    }

    /// Two layers.
    pub fn two(first: Linear, activation: Activation, second: Linear) -> Self {
        Self { first, second: Some((activation, second)) }
    }

    /// `[…, inputs]` to `[…, outputs]`.
    pub fn forward(&self, features: &Tensor) -> Tensor {
        let projected = self.first.forward(features);
        match &self.second {
            Some((activation, second)) => second.forward(&activation.apply(&projected)),
            None => projected,
        }
    }
}
