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
    /// Distance between the elements of the input that a kernel looks at.
    pub dilation: [i64; N],
    /// Groups that channels are split into.
    pub groups: i64,
    /// Whether there is a bias.
    pub bias: bool,
    /// The dimension of the weight whose every slice has a magnitude of its own (Salimans and Kingma, 2016), where
    /// the checkpoint stores magnitudes and directions.
    pub weight_norm: Option<usize>,
}

impl<const N: usize> ConvSpec<N> {
    /// A kernel moved by one element at a time, without padding, with bias.
    pub fn new(inputs: i64, outputs: i64, kernel: [i64; N]) -> Self {
        Self {
            inputs,
            outputs,
            kernel,
            stride: [1; N],
            padding: [0; N],
            dilation: [1; N],
            groups: 1,
            bias: true,
            weight_norm: None,
        }
    }
}

/// A convolution with its parameters.
#[derive(Debug)]
pub struct Conv<const N: usize> {
    spec: ConvSpec<N>,
    weight: ConvWeight,
    bias: Option<Weight>,
}

#[derive(Debug)]
enum ConvWeight {
    Whole(Weight),
    /// What gradients flow into.
    Parts {
        magnitude: Weight,
        direction: Weight,
        dim: i64,
    },
}

impl ConvWeight {
    /// Loads the parts under the names of today's parametrization or of the older weight norm.
    fn load_parts(weights: &Weights, shape: &[i64], dim: usize) -> Self {
        let magnitudes: Vec<_> = shape.iter().enumerate().map(|(at, size)| if at == dim { *size } else { 1 }).collect();
        let magnitude = weights.weight_of(&["parametrizations.weight.original0", "weight_g"], &magnitudes);
        let direction = weights.weight_of(&["parametrizations.weight.original1", "weight_v"], shape);
        let dim = dim as i64;
        if direction.requires_grad() {
            return Self::Parts { magnitude, direction, dim };
        }
        Self::Whole(Weight::new(Tensor::internal_weight_norm(&direction, &magnitude, dim)))
    }

    fn whole(&self) -> Tensor {
        match self {
            Self::Whole(weight) => weight.shallow_clone(),
            Self::Parts { magnitude, direction, dim } => Tensor::internal_weight_norm(direction, magnitude, *dim),
        }
    }
}

impl<const N: usize> Conv<N> {
    /// Loads `weight` `[outputs, inputs / groups, …kernel]` and, if wanted, `bias` `[outputs]`.
    pub fn load(weights: &Weights, spec: ConvSpec<N>) -> Self {
        let shape = [&[spec.outputs, spec.inputs / spec.groups], &spec.kernel[..]].concat();
        let weight = match spec.weight_norm {
            Some(dim) => ConvWeight::load_parts(weights, &shape, dim),
            None => ConvWeight::Whole(weights.weight("weight", &shape)),
        };
        Self { spec, weight, bias: weights.weight_if(spec.bias, "bias", &[spec.outputs]) }
    }

    /// A convolution with the given parameters.
    pub fn with(spec: ConvSpec<N>, weight: Weight, bias: Option<Weight>) -> Self {
        Self { spec, weight: ConvWeight::Whole(weight), bias }
    }

    /// `[batch, inputs, …]` to `[batch, outputs, …]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let ConvSpec { stride, padding, dilation, groups, .. } = self.spec;
        let weight = self.weight.whole();
        x.convolution(&weight, self.bias.as_deref(), stride, padding, dilation, false, [0; N], groups)
    }
}
