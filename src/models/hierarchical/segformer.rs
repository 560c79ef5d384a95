use tch::Tensor;

use super::{HierarchicalTower, StageSpec};
use crate::config::{divides, positive};
use crate::model::{Architecture, Head, Module};
use crate::models::convnet::{ConvNorm, ConvNormSpec};
use crate::nn::heads::{Bare, Classifier, Features, Headed, Readout};
use crate::nn::{
    Activation, AttentionSpec, Conv, ConvSpec, FeedForwardSpec, LayerSpec, Linear, MixerSpec, MlpSpec, NormSpec,
    Pooling, ReducedSpec, bilinear,
};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Error, Inputs, Outputs, Result};

crate::config! {
    /// Configuration of [`Segformer`].
    pub struct SegformerConfig("segformer") {
        /// Channels of the images.
        num_channels: i64 = 3,
        /// Number of stages.
        num_encoder_blocks: i64 = 4,
        /// Layers of each stage.
        depths: Vec<i64> = vec![2, 2, 2, 2],
        /// How many rows, and columns, become one among the keys and values of each stage.
        sr_ratios: Vec<i64> = vec![8, 4, 2, 1],
        /// Width of each stage.
        hidden_sizes: Vec<i64> = vec![32, 64, 160, 256],
        /// Sides of the patches of each stage.
        patch_sizes: Vec<i64> = vec![7, 3, 3, 3],
        /// Steps between the patches of each stage.
        strides: Vec<i64> = vec![4, 2, 2, 2],
        /// Attention heads of each stage.
        num_attention_heads: Vec<i64> = vec![1, 2, 5, 8],
        /// How many times wider than the hidden states the feed-forward layers of each stage are.
        mlp_ratios: Vec<i64> = vec![4, 4, 4, 4],
        /// Activation of the feed-forward layers.
        hidden_act: Activation = Activation::Gelu,
        /// Width of the segmentation head.
        decoder_hidden_size: i64 = 256,
        /// Whether the last stage returns a map, or tokens.
        reshape_last_stage: bool = true,
    }
    ignored: [
        "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob", "drop_path_rate",
        "layer_norm_eps", "semantic_loss_ignore_index",
    ]
    aliases: [("num_hidden_layers", "num_encoder_blocks")]
    validate: validate;
}

fn validate(config: &SegformerConfig) -> Result<()> {
    positive(
        "segformer",
        &[
            ("num_channels", config.num_channels),
            ("num_encoder_blocks", config.num_encoder_blocks),
            ("decoder_hidden_size", config.decoder_hidden_size),
        ],
    )?;
    for (field, sizes) in [
        ("depths", &config.depths),
        ("sr_ratios", &config.sr_ratios),
        ("hidden_sizes", &config.hidden_sizes),
        ("patch_sizes", &config.patch_sizes),
        ("strides", &config.strides),
        ("num_attention_heads", &config.num_attention_heads),
        ("mlp_ratios", &config.mlp_ratios),
    ] {
        if (sizes.len() as i64) < config.num_encoder_blocks {
            let message = format!("has {} stages; `num_encoder_blocks` is {}", sizes.len(), config.num_encoder_blocks);
            return Err(Error::config("segformer", field, message));
        }
        positive("segformer", &[(field, sizes.iter().copied().min().unwrap_or(0))])?;
    }
    std::iter::zip(&config.hidden_sizes, &config.num_attention_heads)
        .try_for_each(|(width, heads)| divides("segformer", ("hidden_sizes", *width), ("num_attention_heads", *heads)))
}

/// SegFormer (Xie et al., 2021); `transformers.models.segformer`.
#[derive(Debug)]
pub struct Segformer;

impl Architecture for Segformer {
    type Config = SegformerConfig;
}

/// All norms, whatever `layer_norm_eps` says.
const NORM: NormSpec = NormSpec::layer(1e-5);

impl SegformerConfig {
    /// Stage `index`, of a map with `inputs` channels.
    fn stage(&self, index: usize, inputs: i64) -> StageSpec {
        let (width, patch, ratio) = (self.hidden_sizes[index], self.patch_sizes[index], self.sr_ratios[index]);
        let attention = AttentionSpec::even(width, self.num_attention_heads[index]);
        let mixer = match ratio {
            1 => MixerSpec::Attention(attention),
            _ => MixerSpec::Reduced(ReducedSpec { attention, ratio, norm: NORM }),
        };
        let mlp = MlpSpec::plain(width, width * self.mlp_ratios[index], self.hidden_act);
        let layer = LayerSpec::of(width, mixer, FeedForwardSpec::Mix(mlp), NORM);
        let last = index as i64 + 1 == self.num_encoder_blocks;
        StageSpec {
            patches: ConvSpec {
                stride: [self.strides[index]; 2],
                padding: [patch / 2; 2],
                ..ConvSpec::new(inputs, width, [patch; 2])
            },
            norm: NORM,
            layers: vec![layer; self.depths[index] as usize],
            map: self.reshape_last_stage || !last,
        }
    }

    fn stages(&self) -> Vec<StageSpec> {
        let inputs = std::iter::once(&self.num_channels).chain(&self.hidden_sizes);
        inputs.take(self.num_encoder_blocks as usize).enumerate().map(|(at, inputs)| self.stage(at, *inputs)).collect()
    }

    /// Width of the last stage.
    fn width(&self) -> i64 {
        self.hidden_sizes[self.num_encoder_blocks as usize - 1]
    }
}

fn names() -> NameTable {
    NameTable::new().names(&[
        ("stages.*.patch", "encoder.patch_embeddings.*.proj"),
        ("stages.*.patch_norm", "encoder.patch_embeddings.*.layer_norm"),
        ("stages.*.layers.*.attention.q", "encoder.block.*.*.attention.self.query"),
        ("stages.*.layers.*.attention.k", "encoder.block.*.*.attention.self.key"),
        ("stages.*.layers.*.attention.v", "encoder.block.*.*.attention.self.value"),
        ("stages.*.layers.*.attention.o", "encoder.block.*.*.attention.output.dense"),
        ("stages.*.layers.*.attention.reduction", "encoder.block.*.*.attention.self.sr"),
        ("stages.*.layers.*.attention.reduction_norm", "encoder.block.*.*.attention.self.layer_norm"),
        ("stages.*.layers.*.attention_norm", "encoder.block.*.*.layer_norm_1"),
        ("stages.*.layers.*.mlp.up", "encoder.block.*.*.mlp.dense1"),
        ("stages.*.layers.*.mlp.conv", "encoder.block.*.*.mlp.dwconv.dwconv"),
        ("stages.*.layers.*.mlp.down", "encoder.block.*.*.mlp.dense2"),
        ("stages.*.layers.*.mlp_norm", "encoder.block.*.*.layer_norm_2"),
        ("stages.*.norm", "encoder.layer_norm.*"),
    ])
}

fn tower(config: &SegformerConfig, weights: &Weights, every_stage: bool) -> HierarchicalTower {
    HierarchicalTower::load(&weights.either(&["segformer", ""]).named(names()), &config.stages(), every_stage)
}

impl Head<tasks::FeatureExtraction> for Segformer {
    fn load(config: &SegformerConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(tower(config, weights, false), Bare)))
    }
}

impl Head<tasks::ImageClassification> for Segformer {
    fn load(config: &SegformerConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let pooling = if config.reshape_last_stage { Pooling::Area } else { Pooling::Mean { from: 0 } };
        let head = Classifier::load(&weights.at("classifier"), pooling, config.width(), config.num_labels);
        Ok(Box::new(Headed::new(tower(config, weights, false), head)))
    }
}

/// `logits` of each pixel of the first map, from all of them projected, side by side.
#[derive(Debug)]
struct AllMlp {
    projections: Vec<Linear>,
    fusion: ConvNorm,
    classifier: Conv<2>,
}

impl AllMlp {
    /// Loads `linear_c.N.proj`, `linear_fuse`, `batch_norm` and `classifier`.
    fn load(weights: &Weights, config: &SegformerConfig) -> Self {
        let SegformerConfig { decoder_hidden_size: width, num_encoder_blocks: stages, .. } = *config;
        let projection = |(at, inputs): (usize, &i64)| {
            Linear::load(&weights.at(format!("linear_c.{at}.proj")), *inputs, width, true)
        };
        let names = NameTable::new().names(&[("conv", "linear_fuse"), ("norm", "batch_norm")]);
        let fusion = ConvNormSpec { activation: Activation::Relu, ..ConvNormSpec::new(stages * width, width, 1, 1) };
        Self {
            projections: config.hidden_sizes.iter().take(stages as usize).enumerate().map(projection).collect(),
            fusion: ConvNorm::load(&weights.named(names), &fusion),
            classifier: Conv::load(&weights.at("classifier"), ConvSpec::new(width, config.num_labels, [1; 2])),
        }
    }
}

impl Readout for AllMlp {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let mut maps: Vec<Tensor> = Vec::with_capacity(self.projections.len());
        for (index, projection) in self.projections.iter().enumerate() {
            let name = format!("hidden_states.{index}");
            let map = features.rest.get(&name).ok_or_else(|| Error::input(&name, "is not recorded"))?;
            let projected = projection.forward(&map.permute([0, 2, 3, 1])).permute([0, 3, 1, 2]).contiguous();
            maps.push(match maps.first() {
                Some(first) => bilinear(&projected, first),
                None => projected,
            });
        }
        maps.reverse();
        let logits = self.classifier.forward(&self.fusion.forward(&Tensor::cat(&maps, 1)));
        Ok(Outputs::new().with("logits", logits))
    }

    fn returns(&self, name: &str, inputs: &Inputs) -> bool {
        !name.starts_with("hidden_states.") || inputs.is_set("output_hidden_states")
    }
}

impl Head<tasks::ImageSegmentation> for Segformer {
    fn load(config: &SegformerConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        if !config.reshape_last_stage {
            let message = "is false, and the segmentation head reads maps";
            return Err(Error::config("segformer", "reshape_last_stage", message));
        }
        let head = AllMlp::load(&weights.at("decode_head"), config);
        Ok(Box::new(Headed::new(tower(config, weights, true), head)))
    }
}
