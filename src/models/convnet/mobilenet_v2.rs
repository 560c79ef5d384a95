use tch::{Kind, Tensor};

use super::{ConvNorm, ConvNormSpec, Network, NetworkBody, ResidualSpec, ShortcutSpec, Stages, StagesSpec};
use crate::config::positive;
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Features, Headed, PerSequence, Readout};
use crate::nn::{Activation, Conv, ConvSpec, Linear};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Error, Inputs, Outputs, Result};

crate::config! {
    /// Configuration of [`MobileNetV2`].
    pub struct MobileNetV2Config("mobilenet_v2") {
        /// Channels of the images.
        num_channels: i64 = 3,
        /// What the numbers of channels are multiplied by.
        depth_multiplier: f64 = 1.0,
        /// What the numbers of channels are multiples of.
        depth_divisible_by: i64 = 8,
        /// The smallest number of channels.
        min_depth: i64 = 8,
        /// How much wider the inside of a block is than its input.
        expand_ratio: f64 = 6.0,
        /// How much smaller than the image the last maps are; beyond, kernels are dilated instead.
        output_stride: i64 = 32,
        /// Whether the first convolution is also the expansion of the first block.
        first_layer_is_expansion: bool = true,
        /// Whether the last convolution keeps 1280 channels where `depth_multiplier` is below 1.
        finegrained_output: bool = true,
        /// Activation of the convolutions.
        hidden_act: Activation = Activation::Relu6,
        /// Whether maps are padded as TensorFlow does it.
        tf_padding: bool = true,
        /// Added to variances.
        layer_norm_eps: f64 = 0.001,
    }
    ignored: ["image_size", "classifier_dropout_prob", "semantic_loss_ignore_index"]
    validate: validate;
}

fn validate(config: &MobileNetV2Config) -> Result<()> {
    let factors = [("depth_multiplier", config.depth_multiplier), ("expand_ratio", config.expand_ratio)];
    if let Some((field, factor)) = factors.into_iter().find(|(_, factor)| !(*factor > 0.0 && *factor < 1e4)) {
        return Err(Error::config("mobilenet_v2", field, format!("must be positive, got {factor}")));
    }
    let channels = [("num_channels", config.num_channels), ("depth_divisible_by", config.depth_divisible_by)];
    positive(
        "mobilenet_v2",
        &[&channels[..], &[("min_depth", config.min_depth), ("output_stride", config.output_stride)]].concat(),
    )
}

impl MobileNetV2Config {
    /// `channels` rounded to a multiple that is allowed, and not by more than a tenth down.
    fn divisible(&self, channels: f64) -> i64 {
        let (channels, by) = (channels.round_ties_even(), self.depth_divisible_by);
        let rounded = ((channels + by as f64 / 2.0) as i64 / by * by).max(self.min_depth);
        if (rounded as f64) < 0.9 * channels { rounded + by } else { rounded }
    }

    fn channels(&self, channels: i64) -> i64 {
        self.divisible(channels as f64 * self.depth_multiplier)
    }

    /// Channels that the last block makes.
    fn last(&self) -> i64 {
        self.channels(BLOCKS[BLOCKS.len() - 1].0)
    }

    /// Channels that the convolution after it makes.
    fn wide(&self) -> i64 {
        if self.finegrained_output && self.depth_multiplier < 1.0 { 1280 } else { self.channels(1280) }
    }

    /// A convolution of `kernel`, normalised.
    fn conv(&self, inputs: i64, outputs: i64, kernel: i64, stride: i64) -> ConvNormSpec {
        let mut spec = ConvNormSpec::new(inputs, outputs, kernel, stride);
        if self.tf_padding {
            spec.conv = ConvSpec { padding: [0; 2], same: true, ..spec.conv };
        }
        ConvNormSpec { eps: self.layer_norm_eps, activation: self.hidden_act, ..spec }
    }

    /// One that looks at each channel by itself.
    fn depthwise(&self, channels: i64, stride: i64, dilation: i64) -> ConvNormSpec {
        let spec = self.conv(channels, channels, 3, stride);
        let padding = spec.conv.padding.map(|padding| padding * dilation);
        ConvNormSpec { conv: ConvSpec { groups: channels, dilation: [dilation; 2], padding, ..spec.conv }, ..spec }
    }

    /// One of single positions, without activation.
    fn linear(&self, inputs: i64, outputs: i64) -> ConvNormSpec {
        ConvNormSpec { activation: Activation::Linear, ..self.conv(inputs, outputs, 1, 1) }
    }
}

/// Channels that each block makes, and its stride.
const BLOCKS: [(i64, i64); 16] = [
    (24, 2),
    (24, 1),
    (32, 2),
    (32, 1),
    (32, 1),
    (64, 2),
    (64, 1),
    (64, 1),
    (64, 1),
    (96, 1),
    (96, 1),
    (96, 1),
    (160, 2),
    (160, 1),
    (160, 1),
    (320, 1),
];

/// MobileNet V2 (Sandler et al., 2018); `transformers.models.mobilenet_v2`.
#[derive(Debug)]
pub struct MobileNetV2;

impl Architecture for MobileNetV2 {
    type Config = MobileNetV2Config;
}

/// The stem, then inverted residuals: wider inside than outside.
fn spec(config: &MobileNetV2Config) -> StagesSpec {
    let (wide, mut inputs) = (config.channels(32), config.channels(16));
    let mut stem = vec![config.conv(config.num_channels, wide, 3, 2)];
    if !config.first_layer_is_expansion {
        stem.push(config.conv(wide, wide, 1, 1));
    }
    stem.extend([config.depthwise(wide, 1, 1), config.linear(wide, inputs)]);
    let (mut reached, mut dilation) = (2, 1);
    let stages = BLOCKS.iter().map(|(channels, stride)| {
        let outputs = config.channels(*channels);
        let (step, spread) = match reached == config.output_stride {
            true => (1, dilation),
            false => (*stride, 1),
        };
        match reached == config.output_stride {
            true => dilation *= stride,
            false => reached *= stride,
        }
        let inner = config.divisible(inputs as f64 * config.expand_ratio);
        let convs = vec![
            config.conv(inputs, inner, 1, 1),
            config.depthwise(inner, step, spread),
            config.linear(inner, outputs),
        ];
        let shortcut = if step == 1 && inputs == outputs { ShortcutSpec::Input } else { ShortcutSpec::None };
        inputs = outputs;
        vec![ResidualSpec { convs, shortcut, activation: Activation::Linear }]
    });
    StagesSpec { stages: stages.collect(), stem }
}

fn names(config: &MobileNetV2Config) -> NameTable {
    let stem: &[_] = match config.first_layer_is_expansion {
        true => &[("stem.1", "conv_stem.conv_3x3"), ("stem.2", "conv_stem.reduce_1x1")],
        false => {
            &[("stem.1", "conv_stem.expand_1x1"), ("stem.2", "conv_stem.conv_3x3"), ("stem.3", "conv_stem.reduce_1x1")]
        }
    };
    NameTable::new()
        .names(&[
            ("stem.0", "conv_stem.first_conv"),
            ("stages.*.0.convs.0", "layer.*.expand_1x1"),
            ("stages.*.0.convs.1", "layer.*.conv_3x3"),
            ("stages.*.0.convs.2", "layer.*.reduce_1x1"),
            ("last", "conv_1x1"),
        ])
        .names(stem)
        .segments(CONV_NORM)
}

/// What checkpoints call the parts of a normalised convolution.
const CONV_NORM: &[(&str, &str)] = &[("conv", "convolution"), ("norm", "normalization")];

/// MobileNet V2 without a head.
#[derive(Debug)]
struct Body {
    channels: i64,
    stages: Stages,
    last: ConvNorm,
    /// Whether the last hidden state is that of `last`, and not of the last block.
    widens: bool,
}

fn body(config: &MobileNetV2Config, weights: &Weights, widens: bool) -> Body {
    let weights = weights.either(&["mobilenet_v2", ""]).named(names(config));
    Body {
        channels: config.num_channels,
        stages: Stages::load(&weights, &spec(config)),
        last: ConvNorm::load(&weights.at("last"), &config.conv(config.last(), config.wide(), 1, 1)),
        widens,
    }
}

/// The mean of each channel, `[batch, channels, 1, 1]`.
fn pooled(map: &Tensor) -> Tensor {
    map.mean_dim([-2, -1].as_slice(), true, None::<Kind>)
}

impl Network for Body {
    fn channels(&self) -> i64 {
        self.channels
    }

    fn maps(&self, image: &Tensor) -> Vec<Tensor> {
        self.stages.forward(self.stages.stem(image))
    }

    fn features(&self, last: &Tensor) -> (Tensor, Tensor) {
        let hidden = if self.widens { self.last.forward(last) } else { last.shallow_clone() };
        let pooled = pooled(&hidden).flatten(1, -1);
        (hidden, pooled)
    }

    fn unrecorded(&self) -> usize {
        1
    }
}

impl Head<tasks::FeatureExtraction> for MobileNetV2 {
    fn load(config: &MobileNetV2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(NetworkBody(body(config, weights, true)), Bare)))
    }
}

impl Head<tasks::ImageClassification> for MobileNetV2 {
    fn load(config: &MobileNetV2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let head = PerSequence(Linear::load(&weights.at("classifier"), config.wide(), config.num_labels, true));
        Ok(Box::new(Headed::new(NetworkBody(body(config, weights, true)), head)))
    }
}

/// `logits` of every position of the last block's map, `[batch, labels, height, width]`: from the position and from the
/// mean of all (DeepLab V3+; Chen et al., 2018).
#[derive(Debug)]
struct Segmentation {
    of_mean: ConvNorm,
    of_position: ConvNorm,
    joint: ConvNorm,
    classifier: Conv<2>,
}

impl Segmentation {
    fn load(config: &MobileNetV2Config, weights: &Weights) -> Self {
        let conv = |inputs| ConvNormSpec { activation: Activation::Relu, ..ConvNormSpec::new(inputs, 256, 1, 1) };
        let load = |name: &str, inputs| ConvNorm::load(&weights.at(name), &conv(inputs));
        Self {
            of_mean: load("conv_pool", config.last()),
            of_position: load("conv_aspp", config.last()),
            joint: load("conv_projection", 512),
            classifier: Conv::load(&weights.at("classifier.conv"), ConvSpec::new(256, config.num_labels, [1; 2])),
        }
    }
}

impl Readout for Segmentation {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let map = &features.hidden;
        let of_position = self.of_position.forward(map);
        let of_mean = self.of_mean.forward(&pooled(map)).expand_as(&of_position);
        let joint = self.joint.forward(&Tensor::cat(&[of_mean, of_position], 1));
        Ok(Outputs::new().with("logits", self.classifier.forward(&joint)))
    }
}

impl Head<tasks::ImageSegmentation> for MobileNetV2 {
    fn load(config: &MobileNetV2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let names = NameTable::new().segments(CONV_NORM);
        let head = Segmentation::load(config, &weights.at("segmentation_head").named(names));
        Ok(Box::new(Headed::new(NetworkBody(body(config, weights, false)), head)))
    }
}
