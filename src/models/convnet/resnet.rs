use serde_json::{Map, Value};
use tch::Tensor;

use super::{Backbone, ConvNormSpec, Network, NetworkBody, ResidualSpec, ShortcutSpec, Stages, StagesSpec};
use crate::config::{align_stages, positive, stem_and_stages};
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Classifier, Headed};
use crate::nn::{Activation, Pooling};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`ResNet`].
    pub struct ResNetConfig("resnet") {
        /// Channels of the images.
        num_channels: i64 = 3,
        /// Channels that the stem makes.
        embedding_size: i64 = 64,
        /// Channels that each stage makes.
        hidden_sizes: Vec<i64> = vec![256, 512, 1024, 2048],
        /// Blocks of each stage.
        depths: Vec<i64> = vec![3, 4, 6, 3],
        /// `basic` (two convolutions per block) or `bottleneck` (three).
        layer_type: String = "bottleneck".to_owned(),
        /// Activation of the stem, and of each block's sum.
        hidden_act: Activation = Activation::Relu,
        /// Whether the first stage halves height and width.
        downsample_in_first_stage: bool = false,
        /// Whether the first convolution of a bottleneck does so, and not the second.
        downsample_in_bottleneck: bool = false,
        /// Names of the stages, the stem first.
        stage_names: Vec<String> = stem_and_stages(4),
        /// Stages whose output the backbone returns.
        out_features: Vec<String> = vec!["stage4".to_owned()],
        /// Their indices.
        out_indices: Vec<i64> = vec![4],
    }
    upgrade: upgrade;
    validate: validate;
}

fn upgrade(fields: &mut Map<String, Value>, default: &ResNetConfig) -> Result<()> {
    let depths = fields.get("depths").and_then(Value::as_array).map(Vec::len);
    align_stages("resnet", fields, &stem_and_stages(depths.unwrap_or(default.depths.len())))
}

fn validate(config: &ResNetConfig) -> Result<()> {
    let wrong = |field: &str, message: String| Err(Error::config("resnet", field, message));
    if !["basic", "bottleneck"].contains(&config.layer_type.as_str()) {
        return wrong("layer_type", format!("`{}` is not one of `basic`, `bottleneck`", config.layer_type));
    }
    let (sizes, depths) = (config.hidden_sizes.len(), config.depths.len());
    if sizes != depths || depths == 0 {
        return wrong("hidden_sizes", format!("has {sizes} stages and `depths` has {depths}; both need one or more"));
    }
    let narrowest = if config.layer_type == "bottleneck" { REDUCTION } else { 1 };
    if let Some(size) = config.hidden_sizes.iter().find(|size| **size < narrowest) {
        return wrong("hidden_sizes", format!("{size} is too narrow; {} blocks need {narrowest}", config.layer_type));
    }
    let shallowest = config.depths.iter().copied().min().unwrap_or(0);
    positive(
        "resnet",
        &[("num_channels", config.num_channels), ("embedding_size", config.embedding_size), ("depths", shallowest)],
    )
}

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
    StagesSpec { stem: vec![stem], stages }
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
    let shortcut = match inputs != outputs || stride != 1 {
        true => ShortcutSpec::Projected(ConvNormSpec::new(inputs, outputs, 1, stride)),
        false => ShortcutSpec::Input,
    };
    ResidualSpec { convs, shortcut, activation: config.hidden_act }
}

fn names() -> NameTable {
    NameTable::new().names(&[
        ("stem.*.conv", "embedder.embedder.convolution"),
        ("stem.*.norm", "embedder.embedder.normalization"),
        ("stages.*.*.convs.*.conv", "encoder.stages.*.layers.*.layer.*.convolution"),
        ("stages.*.*.convs.*.norm", "encoder.stages.*.layers.*.layer.*.normalization"),
        ("stages.*.*.shortcut.conv", "encoder.stages.*.layers.*.shortcut.convolution"),
        ("stages.*.*.shortcut.norm", "encoder.stages.*.layers.*.shortcut.normalization"),
    ])
}

/// ResNet without a head.
#[derive(Debug)]
struct Body {
    channels: i64,
    stages: Stages,
}

fn body(config: &ResNetConfig, weights: &Weights) -> Body {
    named_body(config, &weights.either(&["resnet", ""]).named(names()))
}

fn named_body(config: &ResNetConfig, weights: &Weights) -> Body {
    Body { channels: config.num_channels, stages: Stages::load(weights, &spec(config)) }
}

fn backbone(config: &ResNetConfig, body: Body) -> Box<dyn Module> {
    let channels = [&[config.embedding_size], &config.hidden_sizes[..]].concat();
    Box::new(Backbone::new(body, &config.out_indices, &channels))
}

/// All four stages of the ResNet that timm calls `name`, under the names that timm gives to its parameters.
///
/// # Errors
/// For a network that is none.
pub fn timm_resnet(name: &str, channels: i64, weights: &Weights) -> Result<Box<dyn Module>> {
    let (layer_type, depths) = match name {
        "resnet18" => ("basic", [2, 2, 2, 2]),
        "resnet34" => ("basic", [3, 4, 6, 3]),
        "resnet50" => ("bottleneck", [3, 4, 6, 3]),
        "resnet101" => ("bottleneck", [3, 4, 23, 3]),
        "resnet152" => ("bottleneck", [3, 8, 36, 3]),
        _ => {
            let message = format!("`{name}` is not one of resnet18, resnet34, resnet50, resnet101, resnet152");
            return Err(Error::config("timm_backbone", "backbone", message));
        }
    };
    let basic = layer_type == "basic";
    let config = ResNetConfig {
        num_channels: channels,
        hidden_sizes: if basic { vec![64, 128, 256, 512] } else { vec![256, 512, 1024, 2048] },
        depths: depths.to_vec(),
        layer_type: layer_type.to_owned(),
        out_features: stem_and_stages(4).split_off(1),
        out_indices: vec![1, 2, 3, 4],
        ..ResNetConfig::default()
    };
    Ok(backbone(&config, named_body(&config, &weights.named(timm_names()))))
}

/// The names that timm gives to the parameters of a ResNet.
fn timm_names() -> NameTable {
    macro_rules! stage {
        ($ours:literal, $theirs:literal) => {
            [
                (concat!("stages.", $ours, ".*.convs.0.conv"), concat!($theirs, ".*.conv1")),
                (concat!("stages.", $ours, ".*.convs.0.norm"), concat!($theirs, ".*.bn1")),
                (concat!("stages.", $ours, ".*.convs.1.conv"), concat!($theirs, ".*.conv2")),
                (concat!("stages.", $ours, ".*.convs.1.norm"), concat!($theirs, ".*.bn2")),
                (concat!("stages.", $ours, ".*.convs.2.conv"), concat!($theirs, ".*.conv3")),
                (concat!("stages.", $ours, ".*.convs.2.norm"), concat!($theirs, ".*.bn3")),
                (concat!("stages.", $ours, ".*.shortcut.conv"), concat!($theirs, ".*.downsample.0")),
                (concat!("stages.", $ours, ".*.shortcut.norm"), concat!($theirs, ".*.downsample.1")),
            ]
        };
    }
    NameTable::new()
        .names(&[("stem.0.conv", "conv1"), ("stem.0.norm", "bn1")])
        .names(&stage!("0", "layer1"))
        .names(&stage!("1", "layer2"))
        .names(&stage!("2", "layer3"))
        .names(&stage!("3", "layer4"))
}

impl Network for Body {
    fn channels(&self) -> i64 {
        self.channels
    }

    fn maps(&self, image: &Tensor) -> Vec<Tensor> {
        self.stages.forward(self.stages.stem(image).max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false))
    }

    fn features(&self, last: &Tensor) -> (Tensor, Tensor) {
        (last.shallow_clone(), last.adaptive_avg_pool2d([1, 1]))
    }
}

impl Head<tasks::FeatureExtraction> for ResNet {
    fn load(config: &ResNetConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(NetworkBody(body(config, weights)), Bare)))
    }
}

impl Head<tasks::ImageClassification> for ResNet {
    fn load(config: &ResNetConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let width = config.hidden_sizes[config.hidden_sizes.len() - 1];
        let head = Classifier::load(&weights.at("classifier.1"), Pooling::Area, width, config.num_labels);
        Ok(Box::new(Headed::new(NetworkBody(body(config, weights)), head)))
    }
}

impl Head<tasks::Backbone> for ResNet {
    fn load(config: &ResNetConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(backbone(config, named_body(config, &weights.either(&["", "resnet"]).named(names()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timm_s_names_are_those_of_torchvision() {
        let weights = Weights::nothing();
        timm_resnet("resnet18", 3, &weights).unwrap();
        let expected = weights.expected();
        // 20 convolutions, each with four tensors of its norm.
        assert_eq!(expected.len(), 100);
        assert_eq!(expected["conv1.weight"], [64, 3, 7, 7]);
        assert_eq!(expected["layer2.0.downsample.0.weight"], [128, 64, 1, 1]);
        assert_eq!(expected["layer4.1.bn2.running_var"], [512]);
        let weights = Weights::nothing();
        timm_resnet("resnet101", 3, &weights).unwrap();
        assert_eq!(weights.expected()["layer3.22.conv3.weight"], [1024, 256, 1, 1]);
        assert!(timm_resnet("convnext", 3, &weights).is_err());
    }
}
