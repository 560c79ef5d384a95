use tch::Tensor;
use tch_transformers_native::Weight;

use crate::config::{positive, same_length};
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Module, Part};
use crate::nn::{Conv, ConvSpec};
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, Outputs, Result};

crate::config! {
    /// Configuration of [`SpeechT5HifiGan`].
    pub struct SpeechT5HifiGanConfig("speecht5_hifigan") {
        /// Mel bands of a spectrogram.
        model_in_dim: i64 = 80,
        /// Channels before the first transposed convolution; each of these halves them.
        upsample_initial_channel: i64 = 512,
        /// Strides of the transposed convolutions: their product is the samples of a frame.
        upsample_rates: Vec<i64> = vec![4; 4],
        /// Their kernels, no smaller than the strides.
        upsample_kernel_sizes: Vec<i64> = vec![8; 4],
        /// Kernels of the residual blocks side by side after each of them, odd.
        resblock_kernel_sizes: Vec<i64> = vec![3, 7, 11],
        /// Dilations of the convolutions of each of these blocks.
        resblock_dilation_sizes: Vec<Vec<i64>> = vec![vec![1, 3, 5]; 3],
        /// Slope of the activations below 0, but for the last.
        leaky_relu_slope: f64 = 0.1,
        /// Whether spectrograms are normalised by the mean and the scale of each band.
        normalize_before: bool = true,
    }
    ignored: ["sampling_rate"]
    validate: validate;
}

fn validate(config: &SpeechT5HifiGanConfig) -> Result<()> {
    const TYPE: &str = "speecht5_hifigan";
    let channels = config.upsample_initial_channel;
    positive(TYPE, &[("model_in_dim", config.model_in_dim), ("upsample_initial_channel", channels)])?;
    let kernels = ("upsample_kernel_sizes", &config.upsample_kernel_sizes);
    same_length(TYPE, ("upsample_rates", &config.upsample_rates), &[kernels])?;
    let (blocks, dilations) = (&config.resblock_kernel_sizes, &config.resblock_dilation_sizes);
    same_length(TYPE, ("resblock_kernel_sizes", blocks), &[])?;
    let wrong = |field: &str, message: String| Err(Error::config(TYPE, field, message));
    if channels.checked_shr(config.upsample_rates.len() as u32).unwrap_or(0) == 0 {
        let message = format!("{channels} cannot be halved {} times", config.upsample_rates.len());
        return wrong("upsample_initial_channel", message);
    }
    if let Some((rate, kernel)) =
        std::iter::zip(&config.upsample_rates, &config.upsample_kernel_sizes).find(|(rate, kernel)| kernel < rate)
    {
        return wrong("upsample_kernel_sizes", format!("{kernel} is smaller than its rate, {rate}"));
    }
    if let Some(even) = blocks.iter().find(|kernel| **kernel % 2 == 0) {
        return wrong("resblock_kernel_sizes", format!("must be odd, got {even}"));
    }
    if dilations.len() != blocks.len() {
        let message = format!("has {} lists, `resblock_kernel_sizes` has {} values", dilations.len(), blocks.len());
        return wrong("resblock_dilation_sizes", message);
    }
    dilations.iter().flatten().try_for_each(|dilation| positive(TYPE, &[("resblock_dilation_sizes", *dilation)]))
}

/// What a HiFi-GAN generator is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct HifiGanSpec {
    /// Channels of the input.
    pub inputs: i64,
    /// Channels before the first transposed convolution; each of these halves them.
    pub channels: i64,
    /// Stride and kernel of each transposed convolution.
    pub upsamples: Vec<(i64, i64)>,
    /// Kernel and dilations of the residual blocks side by side after each of them.
    pub blocks: Vec<(i64, Vec<i64>)>,
    /// Slope of the activations below 0, but for the last.
    pub slope: f64,
}

/// Loads a convolution whose weight a checkpoint may store as magnitudes and directions, as it is trained.
fn convolution(weights: &Weights, spec: ConvSpec<1>) -> Conv<1> {
    let normed = weights.has("weight_g") || weights.has("parametrizations.weight.original0");
    Conv::load(weights, ConvSpec { weight_norm: normed.then_some(0), ..spec })
}

/// A convolution of `kernel` elements, `dilation` apart, that leaves the length as it is.
fn even(inputs: i64, outputs: i64, kernel: i64, dilation: i64) -> ConvSpec<1> {
    ConvSpec {
        padding: [(kernel - 1) * dilation / 2],
        dilation: [dilation],
        ..ConvSpec::new(inputs, outputs, [kernel])
    }
}

/// `x` where it is positive, `slope * x` elsewhere.
fn leaky(x: &Tensor, slope: f64) -> Tensor {
    x.prelu(&Tensor::full([1], slope, (x.kind(), x.device())))
}

/// Pairs of convolutions, the first of each dilated, each pair with its input added.
#[derive(Debug)]
struct ResidualBlock(Vec<[Conv<1>; 2]>);

impl ResidualBlock {
    fn load(weights: &Weights, channels: i64, kernel: i64, dilations: &[i64]) -> Self {
        let pair = |(index, dilation): (usize, &i64)| {
            let conv = |list: &str, dilation| {
                convolution(&weights.at(list).layer(index), even(channels, channels, kernel, dilation))
            };
            [conv("convs1", *dilation), conv("convs2", 1)]
        };
        Self(dilations.iter().enumerate().map(pair).collect())
    }

    fn forward(&self, x: &Tensor, slope: f64) -> Tensor {
        self.0.iter().fold(x.shallow_clone(), |x, [first, second]| {
            second.forward(&leaky(&first.forward(&leaky(&x, slope)), slope)) + x
        })
    }
}

/// A HiFi-GAN generator (Kong et al., 2020): transposed convolutions that lengthen a spectrogram to audio, after each of
/// them the mean of residual blocks with fields of different sizes.
#[derive(Debug)]
pub struct HifiGan {
    slope: f64,
    first: Conv<1>,
    stages: Vec<(Conv<1>, Vec<ResidualBlock>)>,
    last: Conv<1>,
}

/// Kernel of the first and of the last convolution.
const OUTER_KERNEL: i64 = 7;

/// Slope of the last activation below 0.
const LAST_SLOPE: f64 = 0.01;

impl HifiGan {
    /// Loads `conv_pre`, `upsampler.N`, `resblocks.N` and `conv_post`.
    pub fn load(weights: &Weights, spec: &HifiGanSpec) -> Self {
        let stage = |(index, (rate, kernel)): (usize, &(i64, i64))| {
            let (inputs, outputs) = (spec.channels >> index, spec.channels >> (index + 1));
            let up = ConvSpec {
                stride: [*rate],
                padding: [(kernel - rate) / 2],
                transposed: true,
                ..ConvSpec::new(inputs, outputs, [*kernel])
            };
            let block = |(number, (kernel, dilations)): (usize, &(i64, Vec<i64>))| {
                let place = weights.at("resblocks").layer(index * spec.blocks.len() + number);
                ResidualBlock::load(&place, outputs, *kernel, dilations)
            };
            let blocks = spec.blocks.iter().enumerate().map(block).collect();
            (convolution(&weights.at("upsampler").layer(index), up), blocks)
        };
        let channels = spec.channels >> spec.upsamples.len();
        Self {
            slope: spec.slope,
            first: convolution(&weights.at("conv_pre"), even(spec.inputs, spec.channels, OUTER_KERNEL, 1)),
            stages: spec.upsamples.iter().enumerate().map(stage).collect(),
            last: convolution(&weights.at("conv_post"), even(channels, 1, OUTER_KERNEL, 1)),
        }
    }

    /// `[batch, frames, inputs]` to `[batch, samples]`, from -1 to 1.
    pub fn forward(&self, spectrogram: &Tensor) -> Tensor {
        let mut x = self.first.forward(&spectrogram.transpose(1, 2));
        for (up, blocks) in &self.stages {
            x = up.forward(&leaky(&x, self.slope));
            let blocks: Vec<_> = blocks.iter().map(|block| block.forward(&x, self.slope)).collect();
            x = Tensor::stack(&blocks, 0).mean_dim([0].as_slice(), false, None);
        }
        self.last.forward(&leaky(&x, LAST_SLOPE)).tanh().squeeze_dim(1)
    }
}

/// The vocoder of SpeechT5; `transformers.models.speecht5`, `SpeechT5HifiGan`.
#[derive(Debug)]
pub struct SpeechT5HifiGan;

impl Architecture for SpeechT5HifiGan {
    type Config = SpeechT5HifiGanConfig;
}

/// `waveform` `[batch, samples]` of a `spectrogram` `[batch, frames, bands]`.
#[derive(Debug)]
struct Vocoder {
    bands: i64,
    normalizes: bool,
    mean: Weight,
    scale: Weight,
    generator: HifiGan,
}

impl Module for Vocoder {
    fn arguments(&self) -> Vec<Argument> {
        let shape = [Dim::Named("batch"), Dim::Named("frames"), Dim::Exactly(self.bands)];
        vec![Argument::required("spectrogram", Values::Float, &shape)]
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let spectrogram = inputs.need("spectrogram")?;
        let waveform = match self.normalizes {
            true => self.generator.forward(&((spectrogram - &*self.mean) / &*self.scale)),
            false => self.generator.forward(spectrogram),
        };
        Ok(Outputs::new().with("waveform", waveform))
    }
}

impl Part for SpeechT5HifiGan {
    fn load(config: &SpeechT5HifiGanConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let (rates, kernels) = (&config.upsample_rates, &config.upsample_kernel_sizes);
        let blocks = std::iter::zip(&config.resblock_kernel_sizes, &config.resblock_dilation_sizes);
        let spec = HifiGanSpec {
            inputs: config.model_in_dim,
            channels: config.upsample_initial_channel,
            upsamples: std::iter::zip(rates, kernels).map(|(rate, kernel)| (*rate, *kernel)).collect(),
            blocks: blocks.map(|(kernel, dilations)| (*kernel, dilations.clone())).collect(),
            slope: config.leaky_relu_slope,
        };
        // No gradient is defined with respect to what a band is normalised by.
        let statistic = |name: &str| Weight::new(weights.tensor(name, &[config.model_in_dim]).detach());
        Ok(Box::new(Vocoder {
            bands: config.model_in_dim,
            normalizes: config.normalize_before,
            mean: statistic("mean"),
            scale: statistic("scale"),
            generator: HifiGan::load(weights, &spec),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};
    use tch::{Device, Kind};

    use super::*;
    use crate::config::ModelConfig;
    use crate::weights::{LoadOptions, TensorSource};

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let refused = |fields: Value, field: &str| {
            let message = SpeechT5HifiGanConfig::from_json(&fields).unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        };
        refused(json!({"upsample_kernel_sizes": [8, 8]}), "upsample_kernel_sizes");
        refused(json!({"upsample_kernel_sizes": [8, 8, 8, 3]}), "upsample_kernel_sizes");
        refused(json!({"upsample_initial_channel": 8}), "upsample_initial_channel");
        refused(json!({"resblock_kernel_sizes": [3, 7, 8]}), "resblock_kernel_sizes");
        refused(json!({"resblock_dilation_sizes": [[1], [2]]}), "resblock_dilation_sizes");
        refused(json!({"resblock_dilation_sizes": [[1], [2], [0]]}), "resblock_dilation_sizes");
    }

    /// A generator as it is trained, with magnitudes and directions of all weights, is that of their products.
    #[test]
    fn normalised_weights_are_taken_as_they_are_stored() {
        let spec =
            HifiGanSpec { inputs: 3, channels: 4, upsamples: vec![(2, 5)], blocks: vec![(3, vec![1, 2])], slope: 0.2 };
        let nothing = Weights::nothing();
        let _ = HifiGan::load(&nothing, &spec);
        let options = (Kind::Float, Device::Cpu);
        tch::manual_seed(1);
        let (mut plain, mut normed) = (BTreeMap::new(), BTreeMap::new());
        for (name, shape) in nothing.expected() {
            let value = Tensor::randn(&shape[..], options);
            if let Some(place) = name.strip_suffix(".weight") {
                let magnitude = value.norm_scalaropt_dim(2, [1, 2].as_slice(), true);
                normed.insert(format!("{place}.weight_g"), magnitude);
                normed.insert(format!("{place}.weight_v"), &value * 3.0);
            } else {
                normed.insert(name.clone(), value.shallow_clone());
            }
            plain.insert(name, value);
        }
        let x = Tensor::randn([2, 5, 3], options);
        let made = |tensors| {
            let weights = Weights::new(TensorSource::Memory(tensors), LoadOptions::default());
            let made = HifiGan::load(&weights, &spec).forward(&x);
            let (report, _) = weights.finish();
            assert!(report.is_clean(), "{report}");
            made
        };
        let (plain, normed) = (made(plain), made(normed));
        assert_eq!(plain.size(), [2, 11]);
        assert!(plain.allclose(&normed, 1e-5, 1e-5, false));
    }
}
