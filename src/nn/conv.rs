use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::BatchNorm;
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
    /// Whether as many zeros are added instead as make the output the input's size over the stride, rounded up; one more
    /// at the end than at the beginning where they are odd.
    pub same: bool,
    /// Distance between the elements of the input that a kernel looks at.
    pub dilation: [i64; N],
    /// Groups that channels are split into.
    pub groups: i64,
    /// Whether it is the transpose of a convolution, which makes its input longer: `stride` and `padding` are those of
    /// the convolution that it would undo, and the weight is stored with inputs first.
    pub transposed: bool,
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
            same: false,
            dilation: [1; N],
            groups: 1,
            transposed: false,
            bias: true,
            weight_norm: None,
        }
    }
}

impl<const N: usize> ConvSpec<N> {
    /// `x` with the zeros that [`ConvSpec::same`] asks for.
    fn pad_to_same(&self, x: &Tensor) -> Tensor {
        let sizes = x.size();
        // The last dimension comes first.
        let mut padding = Vec::with_capacity(2 * N);
        for dim in (0..N).rev() {
            let (size, stride, kernel) = (sizes[sizes.len() - N + dim], self.stride[dim], self.kernel[dim]);
            let beyond = if size % stride == 0 { stride } else { size % stride };
            let zeros = (kernel - beyond).max(0);
            padding.extend([zeros / 2 * self.dilation[dim], (zeros - zeros / 2) * self.dilation[dim]]);
        }
        x.constant_pad_nd(padding)
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
        let older = weights.has("weight_g") || weights.has("weight_v");
        let names = if older { ["weight_g", "weight_v"] } else { ["original0", "original1"] };
        let weights = if older { weights.clone() } else { weights.at("parametrizations.weight") };
        // New magnitudes are those of new directions.
        let direction = weights.weight(names[1], shape);
        let magnitude = weights.weight(names[0], &magnitudes);
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
    /// Loads `weight` `[outputs, inputs / groups, …kernel]` (transposed `[inputs, outputs / groups, …]`) and, if wanted, `bias` `[outputs]`.
    pub fn load(weights: &Weights, spec: ConvSpec<N>) -> Self {
        let channels = match spec.transposed {
            true => [spec.inputs, spec.outputs / spec.groups],
            false => [spec.outputs, spec.inputs / spec.groups],
        };
        let shape = [&channels[..], &spec.kernel].concat();
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

    /// This convolution and `norm` on its outputs as one convolution, where that comes to the same: not while training,
    /// nor in half precision, which would round the product. Otherwise both are returned.
    pub fn folded(self, norm: BatchNorm) -> (Self, Option<BatchNorm>) {
        let weight = self.weight.whole();
        if self.spec.transposed || weight.requires_grad() || !matches!(weight.kind(), Kind::Float | Kind::Double) {
            return (self, Some(norm));
        }
        let (factor, summand) = norm.affine();
        let mut per_output = vec![1; weight.dim()];
        per_output[0] = self.spec.outputs;
        let kernel = (weight.to_kind(Kind::Double) * factor.view(&per_output[..])).to_kind(weight.kind());
        let shift = match &self.bias {
            Some(bias) => bias.to_kind(Kind::Double) * factor + summand,
            None => summand,
        };
        (Self::with(self.spec, Weight::new(kernel), Some(Weight::new(shift.to_kind(weight.kind())))), None)
    }

    /// `[batch, inputs, …]` to `[batch, outputs, …]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let ConvSpec { stride, padding, dilation, groups, transposed, .. } = self.spec;
        let weight = self.weight.whole();
        let padded = self.spec.same.then(|| self.spec.pad_to_same(x));
        let x = padded.as_ref().unwrap_or(x);
        x.convolution(&weight, self.bias.as_deref(), stride, padding, dilation, transposed, [0; N], groups)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::weights::{LoadOptions, TensorSource};

    fn normed(names: [&str; 2], trainable: bool) -> (Weights, Conv<1>) {
        let magnitude = Tensor::from_slice(&[3f32, 5.0]).view([1, 1, 2]);
        let direction = Tensor::from_slice(&[3f32, 0.0, 4.0, 2.0]).view([2, 1, 2]);
        let tensors = BTreeMap::from([(names[0].to_owned(), magnitude), (names[1].to_owned(), direction)]);
        let weights = Weights::new(TensorSource::Memory(tensors), LoadOptions { trainable, ..LoadOptions::default() });
        let spec = ConvSpec { bias: false, weight_norm: Some(2), ..ConvSpec::new(1, 2, [2]) };
        (weights.clone(), Conv::load(&weights, spec))
    }

    #[test]
    fn each_slice_has_its_magnitude_under_both_spellings() {
        let today = ["parametrizations.weight.original0", "parametrizations.weight.original1"];
        for names in [today, ["weight_g", "weight_v"]] {
            let (weights, conv) = normed(names, false);
            // Slices of the kernel: [3, 4] to length 3, [0, 2] to length 5.
            let expected = Tensor::from_slice(&[1.8f32, 0.0, 2.4, 5.0]).view([2, 1, 2]);
            assert!(conv.weight.whole().allclose(&expected, 1e-6, 1e-6, false));
            let (report, state) = weights.finish();
            assert!(report.is_clean(), "{report}");
            assert_eq!(state.names().collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn gradients_reach_magnitudes_and_directions_again_and_again() {
        let (weights, conv) = normed(["weight_g", "weight_v"], true);
        for _ in 0..2 {
            let x = Tensor::from_slice(&[1f32, 2.0, -1.0]).view([1, 1, 3]);
            conv.forward(&x).square().sum(Kind::Float).backward();
        }
        let (_, state) = weights.finish();
        let gradients = state.gradients();
        assert!(["weight_g", "weight_v"].iter().all(|name| gradients[*name].abs().max().double_value(&[]) > 0.0));
    }
}
