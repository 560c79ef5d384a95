use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// Batch normalisation (Ioffe and Szegedy, 2015) at inference: each channel by its running statistics, then scale and
/// shift.
#[derive(Debug)]
pub struct BatchNorm {
    eps: f64,
    weight: Weight,
    bias: Weight,
    mean: Weight,
    variance: Weight,
}

impl BatchNorm {
    /// Loads `weight`, `bias`, `running_mean`, `running_var`, `[channels]` each; `eps` is added to the variance.
    pub fn load(weights: &Weights, channels: i64, eps: f64) -> Self {
        // How many batches the statistics were taken over; nothing is computed from it.
        weights.ignore("num_batches_tracked");
        // No gradient is defined with respect to running statistics.
        let statistic = |name: &str| Weight::new(weights.tensor(name, &[channels]).detach());
        Self {
            eps,
            weight: weights.weight("weight", &[channels]),
            bias: weights.weight("bias", &[channels]),
            mean: statistic("running_mean"),
            variance: statistic("running_var"),
        }
    }

    /// `[batch, channels, …]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (weight, bias) = (Some(&*self.weight), Some(&*self.bias));
        x.batch_norm(weight, bias, Some(&*self.mean), Some(&*self.variance), false, 0.0, self.eps, true)
    }

    /// What the normalisation is on each channel, as it does not change: a factor and a summand, `[channels]` each, in
    /// double precision.
    pub fn affine(&self) -> (Tensor, Tensor) {
        let wide = |tensor: &Tensor| tensor.to_kind(Kind::Double);
        let factor = wide(&self.weight) * (wide(&self.variance) + self.eps).rsqrt();
        let summand = wide(&self.bias) - wide(&self.mean) * &factor;
        (factor, summand)
    }
}
