use tch::Tensor;

use super::{BeitConfig, FeatureMaps};
use crate::models::convnet::ConvNorm;
use crate::models::upernet::{UperHead, UperSpec, conv_relu};
use crate::nn::heads::{Features, Readout};
use crate::nn::{Activation, BatchNorm, Conv, ConvSpec};
use crate::weights::{NameTable, Weights};
use crate::{Inputs, Outputs, Result};

/// Four feature maps of one size as a pyramid: four times as large, twice, as they are, half.
#[derive(Debug)]
pub struct Pyramid {
    first: Conv<2>,
    norm: BatchNorm,
    second: Conv<2>,
    twice: Conv<2>,
}

impl Pyramid {
    /// Loads `fpn1` and `fpn2`, of maps with `channels`.
    pub fn load(weights: &Weights, channels: i64) -> Self {
        let double = ConvSpec { stride: [2; 2], transposed: true, ..ConvSpec::new(channels, channels, [2; 2]) };
        let double = |name: &str| Conv::load(&weights.at(name), double);
        Self {
            first: double("fpn1.0"),
            norm: BatchNorm::load(&weights.at("fpn1.1"), channels, 1e-5),
            second: double("fpn1.3"),
            twice: double("fpn2.0"),
        }
    }

    /// `maps`, `[batch, channels, rows, columns]` each; those after the fourth stay as they are.
    pub fn forward(&self, maps: Vec<Tensor>) -> Vec<Tensor> {
        let resized = |(at, map): (usize, Tensor)| match at {
            0 => self.second.forward(&Activation::Gelu.apply(&self.norm.forward(&self.first.forward(&map)))),
            1 => self.twice.forward(&map),
            3 => map.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false),
            _ => map,
        };
        maps.into_iter().enumerate().map(resized).collect()
    }
}

/// Feature maps of a backbone as a pyramid.
#[derive(Debug)]
pub struct PyramidMaps(pub FeatureMaps, pub Pyramid);

impl Readout for PyramidMaps {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let mut outputs = Outputs::new();
        outputs.insert_list("feature_maps", self.1.forward(self.0.of(features, inputs)?));
        Ok(outputs)
    }

    fn returns(&self, name: &str, inputs: &Inputs) -> bool {
        FeatureMaps::returned(name, inputs)
    }
}

/// `logits` of each pixel, from feature maps of four layers.
#[derive(Debug)]
pub struct Segmenter {
    maps: PyramidMaps,
    head: UperHead,
}

impl Segmenter {
    /// Loads `fpn1`, `fpn2`, `decode_head` and, where there is one, `auxiliary_head`.
    pub fn load(weights: &Weights, config: &BeitConfig, maps: FeatureMaps) -> Self {
        if config.use_auxiliary_head {
            note_auxiliary(&weights.at("auxiliary_head"), config);
        }
        let spec = UperSpec {
            inputs: vec![config.hidden_size; 4],
            channels: config.hidden_size,
            pool_scales: config.pool_scales.clone(),
            labels: config.num_labels,
        };
        Self {
            maps: PyramidMaps(maps, Pyramid::load(weights, config.hidden_size)),
            head: UperHead::load(&weights.at("decode_head").named(names()), &spec),
        }
    }
}

/// Names below `decode_head`.
fn names() -> NameTable {
    NameTable::new().names(&[
        ("pyramid.*.conv", "psp_modules.*.1.conv"),
        ("pyramid.*.norm", "psp_modules.*.1.bn"),
        ("bottleneck.norm", "bottleneck.bn"),
        ("laterals.*.conv", "lateral_convs.*.conv"),
        ("laterals.*.norm", "lateral_convs.*.bn"),
        ("outputs.*.conv", "fpn_convs.*.conv"),
        ("outputs.*.norm", "fpn_convs.*.bn"),
        ("fusion.conv", "fpn_bottleneck.conv"),
        ("fusion.norm", "fpn_bottleneck.bn"),
    ])
}

/// Notes the parameters of a second head, which serves the loss only.
fn note_auxiliary(weights: &Weights, config: &BeitConfig) {
    let weights =
        weights.named(NameTable::new().names(&[("convs.*.norm", "convs.*.bn"), ("conv_cat.norm", "conv_cat.bn")]));
    let BeitConfig { auxiliary_channels: channels, auxiliary_num_convs: convs, .. } = *config;
    let widths = std::iter::once(config.hidden_size).chain(std::iter::repeat(channels));
    for (at, inputs) in widths.take(usize::try_from(convs).unwrap_or(0)).enumerate() {
        ConvNorm::load(&weights.at(format!("convs.{at}")), &conv_relu(inputs, channels, 3));
    }
    if config.auxiliary_concat_input {
        ConvNorm::load(&weights.at("conv_cat"), &conv_relu(config.hidden_size + channels, channels, 3));
    }
    Conv::load(&weights.at("classifier"), ConvSpec::new(channels, config.num_labels, [1; 2]));
}

impl Readout for Segmenter {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let maps = self.maps.1.forward(self.maps.0.of(features, inputs)?);
        Ok(Outputs::new().with("logits", self.head.forward(&maps)))
    }

    fn returns(&self, name: &str, inputs: &Inputs) -> bool {
        FeatureMaps::returned(name, inputs)
    }
}
