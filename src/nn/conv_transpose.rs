use tch::Tensor;
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// A transposed convolution over `N` dimensions, without padding: each element of the input becomes a kernel's worth of
/// the output.
#[derive(Debug)]
pub struct ConvTranspose<const N: usize> {
    stride: [i64; N],
    weight: Weight,
    bias: Weight,
}

impl<const N: usize> ConvTranspose<N> {
    /// Loads `weight` `[inputs, outputs, …kernel]` and `bias` `[outputs]`; `stride` is the step between kernels.
    pub fn load(weights: &Weights, inputs: i64, outputs: i64, kernel: [i64; N], stride: [i64; N]) -> Self {
        let shape = [&[inputs, outputs], &kernel[..]].concat();
        Self { stride, weight: weights.weight("weight", &shape), bias: weights.weight("bias", &[outputs]) }
    }

    /// `[batch, inputs, …]` to `[batch, outputs, …]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.convolution(&self.weight, Some(&*self.bias), self.stride, [0; N], [1; N], true, [0; N], 1)
    }
}
