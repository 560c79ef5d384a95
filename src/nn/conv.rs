use tch::Tensor;
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// A convolution over `N` dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvSpec<const N: usize> {
    /// Channels of the input.
    pub inputs: i64,
    /// Channels of the output.
    pub outputs: i64,
    /// Size of the kernel.
    pub kernel: [i64; N],
    /// Step between its positions.
    pub stride: [i64; N],
    /// Zeros added on both sides.
    pub padding: [i64; N],
    /// Groups that channels are split into.
    pub groups: i64,
    /// Whether there is a bias.
    pub bias: bool,
}

impl<const N: usize> ConvSpec<N> {
    /// A kernel moved by one element at a time, without padding, with bias.
    pub fn new(inputs: i64, outputs: i64, kernel: [i64; N]) -> Self {
        Self { inputs, outputs, kernel, stride: [1; N], padding: [0; N], groups: 1, bias: true }
    }
}

/// A convolution with its parameters.
#[derive(Debug)]
pub struct Conv<const N: usize> {
    spec: ConvSpec<N>,
    weight: Weight,
    bias: Option<Weight>,
}

impl<const N: usize> Conv<N> {
    /// Loads `weight` `[outputs, inputs / groups, …kernel]` and, if wanted, `bias` `[outputs]`.
    pub fn load(weights: &Weights, spec: ConvSpec<N>) -> Self {
        let shape = [&[spec.outputs, spec.inputs / spec.groups], &spec.kernel[..]].concat();
        Self::with(spec, weights.weight("weight", &shape), weights.weight_if(spec.bias, "bias", &[spec.outputs]))
    }

    /// A convolution with the given parameters.
    pub fn with(spec: ConvSpec<N>, weight: Weight, bias: Option<Weight>) -> Self {
        Self { spec, weight, bias }
    }

    /// `[batch, inputs, …]` to `[batch, outputs, …]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let ConvSpec { stride, padding, groups, .. } = self.spec;
        x.convolution(&self.weight, self.bias.as_deref(), stride, padding, [1; N], false, [0; N], groups)
    }
}
