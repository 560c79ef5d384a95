use tch::Tensor;

use crate::nn::{Activation, BatchNorm, Conv, ConvSpec};
use crate::weights::Weights;

/// Positions that a convolution reads off the frames around each (Mohamed et al., 2019).
#[derive(Debug)]
pub struct ConvPositions {
    norm: Option<BatchNorm>,
    conv: Conv<1>,
    activation: Activation,
}

impl ConvPositions {
    /// The convolution: one of `groups` over `kernel` frames, `width` wide, whose weight is normalised. An even kernel makes
    /// one frame too many, which is cut.
    pub fn spec(width: i64, kernel: i64, groups: i64) -> ConvSpec<1> {
        ConvSpec { padding: [kernel / 2], groups, weight_norm: Some(2), ..ConvSpec::new(width, width, [kernel]) }
    }

    /// Loads `position`, with `activation` after it, and, where its input is `normed` over the batch's statistics in
    /// training, `position_norm`.
    pub fn load(weights: &Weights, conv: ConvSpec<1>, activation: Activation, normed: bool) -> Self {
        Self {
            norm: normed.then(|| BatchNorm::load(&weights.at("position_norm"), conv.inputs, 1e-5)),
            conv: Conv::load(&weights.at("position"), conv),
            activation,
        }
    }

    /// The positions of `x`, `[batch, frames, width]` like it.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let frames = x.transpose(1, 2);
        let frames = self.norm.as_ref().map_or_else(|| frames.shallow_clone(), |norm| norm.forward(&frames));
        self.activation.apply(&self.conv.forward(&frames).narrow(2, 0, x.size()[1])).transpose(1, 2)
    }
}
