use serde_json::{Map, Value};
use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::{Backbone, Network, NetworkBody};
use crate::config::{Size2d, align_stages, positive, stem_and_stages};
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Headed, PerSequence};
use crate::nn::{Activation, Conv, ConvSpec, Linear, Mlp, MlpSpec, Norm, NormSpec};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`ConvNext`].
    pub struct ConvNextConfig("convnext") {
        /// Channels of the images.
        num_channels: i64 = 3,
        /// Side of the squares that the stem makes one position of.
        patch_size: Size2d = Size2d::Square(4),
        /// Number of stages.
        num_stages: i64 = 4,
        /// Channels that each stage makes.
        hidden_sizes: Vec<i64> = vec![96, 192, 384, 768],
        /// Blocks of each stage.
        depths: Vec<i64> = vec![3, 3, 9, 3],
        /// Activation between the dense layers of a block.
        hidden_act: Activation = Activation::Gelu,
        /// Added to variances of the pooled vector; those of the stages have 1e-6.
        layer_norm_eps: f64 = 1e-12,
        /// Blocks scale their output by a learned vector if this is above 0.
        layer_scale_init_value: f64 = 1e-6,
        /// Names of the stages, the stem first.
        stage_names: Vec<String> = stem_and_stages(4),
        /// Stages whose output the backbone returns.
        out_features: Vec<String> = vec!["stage4".to_owned()],
        /// Their indices.
        out_indices: Vec<i64> = vec![4],
    }
    ignored: ["drop_path_rate", "image_size"]
    aliases: [("num_hidden_layers", "num_stages")]
    upgrade: |fields: &mut Map<String, Value>, default: &ConvNextConfig| {
        let depths = fields.get("depths").and_then(Value::as_array).map_or(default.depths.len(), Vec::len);
        align_stages("convnext", fields, &stem_and_stages(depths))
    };
    validate: validate;
}

fn validate(config: &ConvNextConfig) -> Result<()> {
    for (field, stages) in [("hidden_sizes", config.hidden_sizes.len()), ("depths", config.depths.len())] {
        if stages as i64 != config.num_stages || stages == 0 {
            let message =
                format!("has {stages} stages, `num_stages` is {}; there must be one or more", config.num_stages);
            return Err(Error::config("convnext", field, message));
        }
    }
    let least = |sizes: &[i64]| sizes.iter().copied().min().unwrap_or(0);
    let patch = least(&config.patch_size.sides());
    let (widths, depths) = (least(&config.hidden_sizes), least(&config.depths));
    let sizes = [("num_channels", config.num_channels), ("patch_size", patch), ("hidden_sizes", widths)];
    positive("convnext", &[&sizes[..], &[("depths", depths)]].concat())
}

/// ConvNeXt (Liu et al., 2022); `transformers.models.convnext`.
#[derive(Debug)]
pub struct ConvNext;

impl Architecture for ConvNext {
    type Config = ConvNextConfig;
}

/// Normalises the channels of each position of `[batch, channels, height, width]`.
fn over_channels(norm: &Norm, map: &Tensor) -> Tensor {
    norm.forward(&map.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
}

/// Each channel by itself over 7x7 positions, then all channels of each position.
#[derive(Debug)]
struct Block {
    depthwise: Conv<2>,
    norm: Norm,
    mlp: Mlp,
    scale: Option<Weight>,
}

impl Block {
    fn load(weights: &Weights, config: &ConvNextConfig, width: i64) -> Self {
        let depthwise = ConvSpec { padding: [3; 2], groups: width, ..ConvSpec::new(width, width, [7; 2]) };
        let scaled = config.layer_scale_init_value > 0.0;
        Self {
            depthwise: Conv::load(&weights.at("dwconv"), depthwise),
            norm: Norm::load(&weights.at("layernorm"), NormSpec::layer(1e-6), width),
            mlp: Mlp::load(weights, MlpSpec::plain(width, 4 * width, config.hidden_act)),
            scale: weights.weight_if(scaled, "layer_scale_parameter", &[width]),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let positions = self.depthwise.forward(x).permute([0, 2, 3, 1]);
        let positions = self.mlp.forward(&self.norm.forward(&positions));
        let positions = match &self.scale {
            Some(scale) => positions * &**scale,
            None => positions,
        };
        x + positions.permute([0, 3, 1, 2])
    }
}

#[derive(Debug)]
struct Stage {
    downsample: Option<(Norm, Conv<2>)>,
    blocks: Vec<Block>,
}

impl Stage {
    fn load(weights: &Weights, config: &ConvNextConfig, index: usize) -> Self {
        let (inputs, outputs) = (config.hidden_sizes[index.saturating_sub(1)], config.hidden_sizes[index]);
        let halving = ConvSpec { stride: [2; 2], ..ConvSpec::new(inputs, outputs, [2; 2]) };
        let downsample = (index > 0).then(|| {
            let weights = weights.at("downsampling_layer");
            (Norm::load(&weights.layer(0), NormSpec::layer(1e-6), inputs), Conv::load(&weights.layer(1), halving))
        });
        let blocks =
            (0..config.depths[index] as usize).map(|at| Block::load(&weights.at("layers").layer(at), config, outputs));
        Self { downsample, blocks: blocks.collect() }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let x = match &self.downsample {
            Some((norm, halving)) => halving.forward(&over_channels(norm, x)),
            None => x.shallow_clone(),
        };
        self.blocks.iter().fold(x, |x, block| block.forward(&x))
    }
}

/// ConvNeXt without a head.
#[derive(Debug)]
struct Body {
    channels: i64,
    patches: Conv<2>,
    stem_norm: Norm,
    stages: Vec<Stage>,
    /// Of the pooled vector; the backbone has none.
    norm: Option<Norm>,
    /// Of the maps that the backbone returns, by stage.
    map_norms: Vec<(usize, Norm)>,
}

fn body(config: &ConvNextConfig, weights: &Weights, backbone: bool) -> Body {
    let root = weights;
    let names = NameTable::new().names(&[
        ("stages.*.layers.*.up", "encoder.stages.*.layers.*.pwconv1"),
        ("stages.*.layers.*.down", "encoder.stages.*.layers.*.pwconv2"),
        ("stages", "encoder.stages"),
    ]);
    let weights = weights.either(&["convnext", ""]).named(names);
    let norm = |weights: Weights, eps, width| Norm::load(&weights, NormSpec::layer(eps), width);
    let (patch, widths) = (config.patch_size.sides(), &config.hidden_sizes);
    let width_of = |map: usize| widths[map.saturating_sub(1)];
    let map_norms =
        std::iter::zip(&config.out_indices, &config.out_features).filter(|_| backbone).map(|(map, name)| {
            let map = *map as usize;
            (map, norm(root.at("hidden_states_norms").at(name), 1e-6, width_of(map)))
        });
    Body {
        channels: config.num_channels,
        patches: Conv::load(
            &weights.at("embeddings.patch_embeddings"),
            ConvSpec { stride: patch, ..ConvSpec::new(config.num_channels, widths[0], patch) },
        ),
        stem_norm: norm(weights.at("embeddings.layernorm"), 1e-6, widths[0]),
        stages: (0..widths.len()).map(|at| Stage::load(&weights.at("stages").layer(at), config, at)).collect(),
        norm: (!backbone).then(|| norm(weights.at("layernorm"), config.layer_norm_eps, widths[widths.len() - 1])),
        map_norms: map_norms.collect(),
    }
}

impl Network for Body {
    fn channels(&self) -> i64 {
        self.channels
    }

    fn maps(&self, image: &Tensor) -> Vec<Tensor> {
        let mut maps = vec![over_channels(&self.stem_norm, &self.patches.forward(image))];
        for stage in &self.stages {
            maps.push(stage.forward(&maps[maps.len() - 1]));
        }
        maps
    }

    fn features(&self, last: &Tensor) -> (Tensor, Tensor) {
        let mean = last.mean_dim([-2, -1].as_slice(), false, None::<Kind>);
        (last.shallow_clone(), self.norm.as_ref().map_or_else(|| mean.shallow_clone(), |norm| norm.forward(&mean)))
    }

    fn returned(&self, index: usize, map: &Tensor) -> Tensor {
        let norm = self.map_norms.iter().find(|(at, _)| *at == index);
        norm.map_or_else(|| map.shallow_clone(), |(_, norm)| over_channels(norm, map))
    }
}

impl Head<tasks::FeatureExtraction> for ConvNext {
    fn load(config: &ConvNextConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(NetworkBody(body(config, weights, false)), Bare)))
    }
}

impl Head<tasks::ImageClassification> for ConvNext {
    fn load(config: &ConvNextConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let width = config.hidden_sizes[config.hidden_sizes.len() - 1];
        let head = PerSequence(Linear::load(&weights.at("classifier"), width, config.num_labels, true));
        Ok(Box::new(Headed::new(NetworkBody(body(config, weights, false)), head)))
    }
}

impl Head<tasks::Backbone> for ConvNext {
    fn load(config: &ConvNextConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let channels = [&config.hidden_sizes[..1], &config.hidden_sizes].concat();
        Ok(Box::new(Backbone::new(body(config, weights, true), &config.out_indices, &channels)))
    }
}
