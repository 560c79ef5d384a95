//! From raw audio to frames: strided convolutions, and how many frames they make of how many samples.

use tch::{Kind, Tensor};

use super::FeatureNorm;
use crate::nn::{Activation, Conv, ConvSpec, GroupNorm, Norm, NormSpec};
use crate::weights::Weights;

/// How the output of a convolution is normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ChannelNorm {
    /// It is not.
    None,
    /// Each channel over time; added to the variance is this.
    OverTime(f64),
    /// Each frame over its channels.
    OverChannels(NormSpec),
}

/// The convolutions over raw audio, first to last.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSpec {
    /// Each with its normalisation.
    pub layers: Vec<(ConvSpec<1>, ChannelNorm)>,
    /// The activation after each.
    pub activation: Activation,
}

impl FeatureSpec {
    /// Convolutions of these channels, kernels and strides, one each per layer.
    pub fn new(
        norm: FeatureNorm,
        channels: &[i64],
        (kernels, strides): (&[i64], &[i64]),
        bias: bool,
        activation: Activation,
    ) -> Self {
        let inputs = std::iter::once(&1).chain(channels);
        let sizes = std::iter::zip(inputs, channels).zip(std::iter::zip(kernels, strides));
        let layers = sizes.enumerate().map(|(index, ((inputs, outputs), (kernel, stride)))| {
            let conv = ConvSpec { stride: [*stride], bias, ..ConvSpec::new(*inputs, *outputs, [*kernel]) };
            let norm = match (norm, index) {
                (FeatureNorm::Group, 0) => ChannelNorm::OverTime(1e-5),
                (FeatureNorm::Group, _) => ChannelNorm::None,
                (FeatureNorm::Layer, _) => ChannelNorm::OverChannels(NormSpec::layer(1e-5)),
            };
            (conv, norm)
        });
        Self { layers: layers.collect(), activation }
    }

    /// Channels of the frames.
    pub fn channels(&self) -> i64 {
        self.layers.last().map_or(1, |(conv, _)| conv.outputs)
    }
}

/// The convolutions over raw audio with their parameters.
#[derive(Debug)]
pub struct FeatureEncoder {
    layers: Vec<(Conv<1>, LoadedNorm)>,
    activation: Activation,
}

#[derive(Debug)]
enum LoadedNorm {
    None,
    OverTime(GroupNorm),
    OverChannels(Norm),
}

impl FeatureEncoder {
    /// Loads `N.conv` and, where there is one, `N.norm`.
    pub fn load(weights: &Weights, spec: &FeatureSpec) -> Self {
        let layer = |(index, (conv, norm)): (usize, &(ConvSpec<1>, ChannelNorm))| {
            let weights = weights.layer(index);
            let norm_weights = weights.at("norm");
            let norm = match *norm {
                ChannelNorm::None => LoadedNorm::None,
                ChannelNorm::OverTime(eps) => {
                    LoadedNorm::OverTime(GroupNorm::load(&norm_weights, conv.outputs, conv.outputs, eps))
                }
                ChannelNorm::OverChannels(norm) => {
                    LoadedNorm::OverChannels(Norm::load(&norm_weights, norm, conv.outputs))
                }
            };
            (Conv::load(&weights.at("conv"), *conv), norm)
        };
        Self { layers: spec.layers.iter().enumerate().map(layer).collect(), activation: spec.activation }
    }

    /// `[batch, samples]` to `[batch, frames, channels]`.
    pub fn forward(&self, samples: &Tensor) -> Tensor {
        let frames = self.layers.iter().fold(samples.unsqueeze(1), |x, (conv, norm)| {
            let x = conv.forward(&x);
            self.activation.apply(&match norm {
                LoadedNorm::None => x,
                LoadedNorm::OverTime(norm) => norm.forward(&x),
                LoadedNorm::OverChannels(norm) => norm.forward(&x.transpose(1, 2)).transpose(1, 2),
            })
        });
        frames.transpose(1, 2)
    }
}

/// How many frames come out of how many samples: the kernel and stride of each convolution without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames(Vec<(i64, i64)>);

impl Frames {
    /// Of the convolutions over raw audio.
    pub fn new(features: &FeatureSpec) -> Self {
        Self(features.layers.iter().map(|(conv, _)| (conv.kernel[0], conv.stride[0])).collect())
    }

    /// Followed by `count` more convolutions that only their `stride` counts of.
    pub fn then(mut self, count: i64, stride: i64) -> Self {
        self.0.extend((0..count).map(|_| (1, stride)));
        self
    }

    /// The fewest samples that give `frames`.
    pub fn samples(&self, frames: i64) -> i64 {
        self.0.iter().rev().fold(frames, |frames, (kernel, stride)| (frames - 1) * stride + kernel)
    }

    /// Frames of so many `samples`.
    pub fn count(&self, samples: i64) -> i64 {
        self.0.iter().fold(samples, |length, (kernel, stride)| (length - kernel).div_euclid(*stride) + 1)
    }

    /// Frames of each row of `attention_mask` (`[batch, samples]`): `[batch]`.
    pub fn lengths(&self, attention_mask: &Tensor) -> Tensor {
        let samples = attention_mask.to_kind(Kind::Int64).sum_dim_intlist([-1].as_slice(), false, Kind::Int64);
        self.0
            .iter()
            .fold(samples, |length, (kernel, stride)| (length - *kernel).divide_scalar_mode(*stride, "floor") + 1)
    }

    /// Which of `frames` are of real samples: booleans `[batch, frames]`.
    pub fn mask(&self, attention_mask: &Tensor, frames: i64) -> Tensor {
        // A row too short for one frame counts as full: the index of its last frame, -1, is that of the last of all.
        let last = (self.lengths(attention_mask) - 1).remainder(frames).unsqueeze(1);
        Tensor::arange(frames, (Kind::Int64, attention_mask.device())).unsqueeze(0).le_tensor(&last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::wav2vec2::{Wav2Vec2Config, spec};

    fn base() -> Frames {
        spec(&Wav2Vec2Config::default()).frames()
    }

    #[test]
    fn a_frame_takes_400_samples_and_each_more_320() {
        assert_eq!((base().samples(1), base().samples(2), base().samples(49)), (400, 720, 15_760));
        assert_eq!((base().count(400), base().count(719), base().count(16_000)), (1, 1, 49));
        let mask = Tensor::zeros([2, 16_000], (Kind::Int64, tch::Device::Cpu));
        let _ = mask.narrow(0, 0, 1).fill_(1);
        let _ = mask.narrow(0, 1, 1).narrow(1, 0, 719).fill_(1);
        assert_eq!(Vec::<i64>::try_from(base().lengths(&mask)).unwrap(), [49, 1]);
        let real = base().mask(&mask, 49).sum_dim_intlist([1].as_slice(), false, Kind::Int64);
        assert_eq!(Vec::<i64>::try_from(real).unwrap(), [49, 1]);
        assert_eq!(Vec::<i64>::try_from(base().then(3, 2).lengths(&mask)).unwrap(), [7, 1]);
    }

    #[test]
    fn a_row_too_short_for_a_frame_counts_as_full() {
        let mask = Tensor::from_slice2(&[[1i64, 0], [1, 1]]);
        let frames = Frames(vec![(2, 1)]);
        assert_eq!(Vec::<i64>::try_from(frames.lengths(&mask)).unwrap(), [0, 1]);
        let real = Vec::<bool>::try_from(frames.mask(&mask, 3).flatten(0, -1)).unwrap();
        assert_eq!(real, [true, true, true, true, false, false]);
    }
}
