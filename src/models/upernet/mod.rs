//! The head of UPerNet, on the feature maps of any backbone.

use tch::Tensor;

use super::convnet::{ConvNorm, ConvNormSpec};
use crate::nn::{Activation, Conv, ConvSpec, bilinear};
use crate::weights::Weights;

/// UPerNet's head (Xiao et al., 2018): a pyramid of pooled maps below the coarsest one, and all maps fused from there up.
#[derive(Debug, Clone, PartialEq)]
pub struct UperSpec {
    /// Channels of each feature map, the finest first.
    pub inputs: Vec<i64>,
    /// Channels in between.
    pub channels: i64,
    /// Rows and columns that the coarsest map is pooled to, each by itself.
    pub pool_scales: Vec<i64>,
    /// Classes of a pixel.
    pub labels: i64,
}

/// A [`UperSpec`] with its parameters.
#[derive(Debug)]
pub struct UperHead {
    pool_scales: Vec<i64>,
    pyramid: Vec<ConvNorm>,
    bottleneck: ConvNorm,
    laterals: Vec<ConvNorm>,
    outputs: Vec<ConvNorm>,
    fusion: ConvNorm,
    classifier: Conv<2>,
}

/// A convolution that keeps the size, normalised, with ReLU.
pub fn conv_relu(inputs: i64, outputs: i64, kernel: i64) -> ConvNormSpec {
    ConvNormSpec { activation: Activation::Relu, ..ConvNormSpec::new(inputs, outputs, kernel, 1) }
}

impl UperHead {
    /// Loads `pyramid.N`, `bottleneck`, `laterals.N`, `outputs.N`, `fusion` and `classifier`.
    pub fn load(weights: &Weights, UperSpec { inputs, channels, pool_scales, labels }: &UperSpec) -> Self {
        let (channels, levels) = (*channels, inputs.len() as i64);
        let conv = |name: &str, inputs, kernel| ConvNorm::load(&weights.at(name), &conv_relu(inputs, channels, kernel));
        let (coarsest, finer) = inputs.split_last().map_or((channels, &[][..]), |(last, rest)| (*last, rest));
        let each = |name: &str, inputs: &[i64], kernel| {
            inputs.iter().enumerate().map(|(at, inputs)| conv(&format!("{name}.{at}"), *inputs, kernel)).collect()
        };
        let scales = pool_scales.len();
        Self {
            pool_scales: pool_scales.clone(),
            pyramid: each("pyramid", &vec![coarsest; scales], 1),
            bottleneck: conv("bottleneck", coarsest + scales as i64 * channels, 3),
            laterals: each("laterals", finer, 1),
            outputs: each("outputs", &vec![channels; finer.len()], 3),
            fusion: conv("fusion", levels * channels, 3),
            classifier: Conv::load(&weights.at("classifier"), ConvSpec::new(channels, *labels, [1; 2])),
        }
    }

    /// Feature maps `[batch, channels, rows, columns]`, the finest first, to logits `[batch, labels, rows, columns]` of
    /// the finest.
    pub fn forward(&self, maps: &[Tensor]) -> Tensor {
        let Some((coarsest, finer)) = maps.split_last() else { return Tensor::new() };
        let pooled = std::iter::zip(&self.pool_scales, &self.pyramid)
            .map(|(scale, conv)| bilinear(&conv.forward(&coarsest.adaptive_avg_pool2d([*scale; 2])), coarsest));
        let scene: Vec<_> = std::iter::once(coarsest.shallow_clone()).chain(pooled).collect();
        // From the coarsest up, each map takes up the one below it.
        let mut fused = vec![self.bottleneck.forward(&Tensor::cat(&scene, 1))];
        for (lateral, map) in std::iter::zip(&self.laterals, finer).rev() {
            let map = lateral.forward(map);
            let below = bilinear(&fused[fused.len() - 1], &map);
            fused.push(map + below);
        }
        fused.reverse();
        let outputs = self.outputs.iter().map(Some).chain(std::iter::once(None));
        let outputs: Vec<_> = std::iter::zip(&fused, outputs)
            .map(|(map, conv)| conv.map_or_else(|| map.shallow_clone(), |conv| conv.forward(map)))
            .collect();
        let resized: Vec<_> = outputs.iter().map(|map| bilinear(map, &outputs[0])).collect();
        self.classifier.forward(&self.fusion.forward(&Tensor::cat(&resized, 1)))
    }
}
