//! ResNet and its heirs: residual convolutional networks in stages.

mod config;
mod stages;

pub use config::ResNetConfig;
pub use stages::{ConvNorm, ConvNormSpec, ResidualSpec, Stages, StagesSpec};

use tch::Tensor;

use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Body, Classifier, Features, Headed};
use crate::nn::{Activation, Pooling};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Cache, Inputs, Outputs, Result};

/// ResNet (He et al., 2015), with the stride in the 3x3 convolution (v1.5); `transformers.models.resnet`.
#[derive(Debug)]
pub struct ResNet;

impl Architecture for ResNet {
    type Config = ResNetConfig;
}

/// How much narrower a bottleneck is than what it leads to.
const REDUCTION: i64 = 4;

/// The stem's convolution, and the blocks of each stage.
fn spec(config: &ResNetConfig) -> StagesSpec {
    let mut inputs = config.embedding_size;
    let mut stages = Vec::with_capacity(config.depths.len());
    for (index, (outputs, depth)) in std::iter::zip(&config.hidden_sizes, &config.depths).enumerate() {
        let stride = if index == 0 && !config.downsample_in_first_stage { 1 } else { 2 };
        let first = residual(config, inputs, *outputs, stride);
        let rest = (1..*depth).map(|_| residual(config, *outputs, *outputs, 1));
        stages.push(std::iter::once(first).chain(rest).collect());
        inputs = *outputs;
    }
    let stem = ConvNormSpec {
        activation: config.hidden_act,
        ..ConvNormSpec::new(config.num_channels, config.embedding_size, 7, 2)
    };
    StagesSpec { stem, stages }
}

/// A block: its convolutions, and a projection of its input where the shape changes.
fn residual(config: &ResNetConfig, inputs: i64, outputs: i64, stride: i64) -> ResidualSpec {
    // Activations inside a block are ReLU whatever `hidden_act` says.
    let conv = |inputs, outputs, kernel, stride| ConvNormSpec {
        activation: Activation::Relu,
        ..ConvNormSpec::new(inputs, outputs, kernel, stride)
    };
    let convs = if config.layer_type == "basic" {
        vec![conv(inputs, outputs, 3, stride), ConvNormSpec::new(outputs, outputs, 3, 1)]
    } else {
        let narrow = outputs / REDUCTION;
        let (first, second) = if config.downsample_in_bottleneck { (stride, 1) } else { (1, stride) };
        vec![conv(inputs, narrow, 1, first), conv(narrow, narrow, 3, second), ConvNormSpec::new(narrow, outputs, 1, 1)]
    };
    let changes = inputs != outputs || stride != 1;
    let shortcut = changes.then(|| ConvNormSpec::new(inputs, outputs, 1, stride));
    ResidualSpec { convs, shortcut, activation: config.hidden_act }
}

fn names() -> NameTable {
    NameTable::new().names(&[
        ("stem.conv", "embedder.embedder.convolution"),
        ("stem.norm", "embedder.embedder.normalization"),
        ("stages.*.*.convs.*.conv", "encoder.stages.*.layers.*.layer.*.convolution"),
        ("stages.*.*.convs.*.norm", "encoder.stages.*.layers.*.layer.*.normalization"),
        ("stages.*.*.shortcut.conv", "encoder.stages.*.layers.*.shortcut.convolution"),
        ("stages.*.*.shortcut.norm", "encoder.stages.*.layers.*.shortcut.normalization"),
    ])
}

/// The network without a head.
#[derive(Debug)]
struct ResNetBody {
    channels: i64,
    stages: Stages,
}

impl ResNetBody {
    fn load(config: &ResNetConfig, weights: &Weights) -> Self {
        let weights = weights.either(&["resnet", ""]).named(names());
        Self { channels: config.num_channels, stages: Stages::load(&weights, &spec(config)) }
    }

    /// What the stem and each stage make, `[batch, channels, height, width]` each.
    fn maps(&self, inputs: &Inputs) -> Result<Vec<Tensor>> {
        let image = inputs.need("pixel_values")?;
        let stem = self.stages.stem(image).max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        Ok(self.stages.forward(stem))
    }
}

/// Those of `maps` that are wanted as hidden states.
fn recorded(maps: &[Tensor], inputs: &Inputs) -> Outputs {
    let mut outputs = Outputs::new();
    if inputs.is_set("output_hidden_states") {
        outputs.insert_list("hidden_states", maps.iter().map(Tensor::shallow_clone).collect());
    }
    outputs
}

impl Body for ResNetBody {
    fn arguments(&self) -> Vec<Argument> {
        let image = [Dim::Named("batch"), Dim::Exactly(self.channels), Dim::Named("height"), Dim::Named("width")];
        vec![Argument::required("pixel_values", Values::Float, &image)]
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let maps = self.maps(inputs)?;
        let hidden = maps[maps.len() - 1].shallow_clone();
        let pooled = Some(hidden.adaptive_avg_pool2d([1, 1]));
        Ok(Features { hidden, pooled, rest: recorded(&maps, inputs) })
    }
}

impl Head<tasks::FeatureExtraction> for ResNet {
    fn load(config: &ResNetConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(ResNetBody::load(config, weights), Bare)))
    }
}

impl Head<tasks::ImageClassification> for ResNet {
    fn load(config: &ResNetConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let width = config.hidden_sizes[config.hidden_sizes.len() - 1];
        let head = Classifier::load(&weights.at("classifier.1"), Pooling::Area, width, config.num_labels);
        Ok(Box::new(Headed::new(ResNetBody::load(config, weights), head)))
    }
}

/// Feature maps of some stages, for detectors and segmenters.
#[derive(Debug)]
struct Backbone {
    body: ResNetBody,
    stages: Vec<i64>,
}

impl Module for Backbone {
    fn arguments(&self) -> Vec<Argument> {
        self.body.arguments()
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let maps = self.body.maps(inputs)?;
        let mut outputs = Outputs::new();
        let chosen = self.stages.iter().map(|stage| maps[*stage as usize].shallow_clone());
        outputs.insert_list("feature_maps", chosen.collect());
        outputs.extend(recorded(&maps, inputs));
        Ok(outputs)
    }
}

impl Head<tasks::Backbone> for ResNet {
    fn load(config: &ResNetConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Backbone { body: ResNetBody::load(config, weights), stages: config.out_indices.clone() }))
    }
}
