use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// A convolution of each channel by itself over a token and those right before it.
#[derive(Debug)]
pub struct CausalConv {
    /// `[channels, 1, kernel]`.
    weight: Weight,
    bias: Option<Weight>,
    kernel: i64,
}

impl CausalConv {
    /// Loads `weight` `[channels, 1, kernel]` and, if wanted, `bias` `[channels]`.
    pub fn load(weights: &Weights, channels: i64, kernel: i64, bias: bool) -> Self {
        Self {
            weight: weights.weight("weight", &[channels, 1, kernel]),
            bias: weights.weight_if(bias, "bias", &[channels]),
            kernel,
        }
    }

    /// `[batch, tokens, channels]` to the same shape.
    ///
    /// `past` holds what the kernel sees of the tokens before these, and takes what it will see of them; without a
    /// past there are zeros.
    pub fn forward(&self, x: &Tensor, past: Option<&mut Option<Tensor>>) -> Tensor {
        let (tokens, before) = (x.size()[1], self.kernel - 1);
        let seen = match past.as_ref().and_then(|past| past.as_ref()) {
            Some(window) => Tensor::cat(&[window, x], 1),
            None => x.constant_pad_nd([0, 0, before, 0]),
        };
        if let Some(past) = past {
            *past = Some(seen.narrow(1, tokens, before).copy());
        }
        // Channels stay side by side, so that a place of the kernel is one pass over them.
        let taps = self.weight.squeeze_dim(1).tr().contiguous().to_kind(Kind::Float);
        let tap = |place: i64| (seen.narrow(1, place, tokens).to_kind(Kind::Float), taps.get(place));
        let (first, weight) = tap(0);
        let start = match &self.bias {
            Some(bias) => bias.to_kind(Kind::Float).addcmul(&first, &weight),
            None => first * weight,
        };
        let summed = (1..self.kernel).map(tap).fold(start, |sum, (x, weight)| sum.addcmul(&x, &weight));
        summed.to_kind(x.kind())
    }
}
