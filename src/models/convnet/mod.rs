//! Convolutional networks in stages.
//!
//! What a block of convolutions is varies (`stages` has those with batch normalisation, `convnext` its own), and so
//! do padding ([`ConvSpec::same`](crate::nn::ConvSpec)) and the stem; the loop over stages, the feature maps and the
//! classes are shared.

mod convnext;
mod mobilenet_v2;
mod resnet;
mod stages;

pub use convnext::{ConvNext, ConvNextConfig};
pub use mobilenet_v2::{MobileNetV2, MobileNetV2Config};
pub use resnet::{ResNet, ResNetConfig, timm_resnet};
pub use stages::{ConvNorm, ConvNormSpec, ResidualSpec, ShortcutSpec, Stages, StagesSpec};

use std::fmt::Debug;

use tch::Tensor;

use crate::inputs::{Argument, Dim, Values};
use crate::model::Module;
use crate::nn::heads::{Body, Features};
use crate::{Cache, Inputs, Outputs, Result};

/// A network that makes feature maps of an image, stage by stage.
pub trait Network: Debug + Send + Sync {
    /// Channels of the image.
    fn channels(&self) -> i64;

    /// `[batch, channels, height, width]` to what the stem and each stage make of it, of the same form.
    fn maps(&self, image: &Tensor) -> Vec<Tensor>;

    /// The last hidden state and one vector per image, from the last map.
    fn features(&self, last: &Tensor) -> (Tensor, Tensor);

    /// The map of stage `index` as the backbone returns it.
    fn returned(&self, _index: usize, map: &Tensor) -> Tensor {
        map.shallow_clone()
    }

    /// Maps that come before the recorded hidden states.
    fn unrecorded(&self) -> usize {
        0
    }
}

/// A network as the body of classes.
#[derive(Debug)]
pub struct NetworkBody<N>(pub N);

impl<N: Network> NetworkBody<N> {
    /// The maps of the image among `inputs`, and the outputs that record them where they are wanted.
    fn run_stages(&self, inputs: &Inputs) -> Result<(Vec<Tensor>, Outputs)> {
        let maps = self.0.maps(inputs.need("pixel_values")?);
        let mut recorded = Outputs::new();
        if inputs.is_set("output_hidden_states") {
            let maps = maps.iter().skip(self.0.unrecorded()).map(Tensor::shallow_clone);
            recorded.insert_list("hidden_states", maps.collect());
        }
        Ok((maps, recorded))
    }
}

impl<N: Network> Body for NetworkBody<N> {
    fn arguments(&self) -> Vec<Argument> {
        let image = [Dim::Named("batch"), Dim::Exactly(self.0.channels()), Dim::Named("height"), Dim::Named("width")];
        vec![Argument::required("pixel_values", Values::Float, &image)]
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let (maps, rest) = self.run_stages(inputs)?;
        let (hidden, pooled) = self.0.features(&maps[maps.len() - 1]);
        Ok(Features { hidden, pooled: Some(pooled), rest })
    }
}

/// Feature maps of some stages, for detectors and segmenters.
#[derive(Debug)]
pub struct Backbone<N> {
    body: NetworkBody<N>,
    stages: Vec<i64>,
    widths: Vec<i64>,
}

impl<N: Network> Backbone<N> {
    /// The maps of `stages` (0 for the stem) of `network`, whose stem and stages make `channels`.
    pub fn new(network: N, stages: &[i64], channels: &[i64]) -> Self {
        let widths = stages.iter().filter_map(|stage| channels.get(*stage as usize).copied()).collect();
        Self { body: NetworkBody(network), stages: stages.to_vec(), widths }
    }
}

impl<N: Network> Module for Backbone<N> {
    fn arguments(&self) -> Vec<Argument> {
        self.body.arguments()
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let (maps, recorded) = self.body.run_stages(inputs)?;
        let mut outputs = Outputs::new();
        let chosen = self.stages.iter().map(|stage| *stage as usize);
        outputs.insert_list("feature_maps", chosen.map(|stage| self.body.0.returned(stage, &maps[stage])).collect());
        outputs.extend(recorded);
        Ok(outputs)
    }

    fn widths(&self) -> &[i64] {
        &self.widths
    }
}
