use serde_json::{Map, Value};

use super::feature_maps::align_layers;
use super::segmentation::{Pyramid, PyramidMaps, Segmenter};
use super::{FeatureMaps, PatchBias, VisionSpec, VisionTower, VitConfig, names, spec};
use crate::config::{positive, stem_and_stages};
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Features, Headed, PerSequence, Readout};
use crate::nn::{Biases, GridBiasSpec, Linear, Norm, NormSpec, PoolingSpec, Positions};
use crate::tasks;
use crate::weights::Weights;
use crate::{Error, Inputs, Outputs, Result};

crate::config! {
    /// Configuration of [`Beit`].
    pub struct BeitConfig("beit"): VitConfig {
        /// Visual words that hidden patches are predicted as.
        vocab_size: i64 = 8192,
        /// Whether there is a learned token for hidden patches.
        use_mask_token: bool = false,
        /// Whether there are learned positions.
        use_absolute_position_embeddings: bool = false,
        /// Whether each layer has biases of scores by the offsets between patches.
        use_relative_position_bias: bool = false,
        /// Whether all layers share such biases.
        use_shared_relative_position_bias: bool = false,
        /// What LayerScale begins with in training; there is none where this is 0.
        layer_scale_init_value: f64 = 0.1,
        /// Whether the mean of the patches is pooled, and not the class token.
        use_mean_pooling: bool = true,
        /// Rows and columns that the segmentation head pools its coarsest map to.
        pool_scales: Vec<i64> = vec![1, 2, 3, 6],
        /// Whether there is a second segmentation head, for training.
        use_auxiliary_head: bool = true,
        /// Channels of that head.
        auxiliary_channels: i64 = 256,
        /// Convolutions of that head.
        auxiliary_num_convs: i64 = 1,
        /// Whether that head sees its input again at its end.
        auxiliary_concat_input: bool = false,
        /// Whether the backbone makes a pyramid of its feature maps.
        add_fpn: bool = false,
        /// Whether the backbone returns maps, or sequences with the class token.
        reshape_hidden_states: bool = true,
        /// Names of the layers, what goes into the first as `stem`.
        stage_names: Vec<String> = stem_and_stages(12),
        /// Layers that the backbone and the segmentation head read.
        out_features: Vec<String> = vec!["stage12".to_owned()],
        /// Their indices.
        out_indices: Vec<i64> = vec![12],
    }
    without: ["qkv_bias", "encoder_stride", "pooler_output_size", "pooler_act"]
    ignored: ["drop_path_rate", "auxiliary_loss_weight", "semantic_loss_ignore_index"]
    aliases: [("segmentation_indices", "out_indices")]
    upgrade: |fields: &mut Map<String, Value>, default: &BeitConfig| {
        align_layers("beit", fields, default.num_hidden_layers)
    };
    validate: validate;
}

fn validate(config: &BeitConfig) -> Result<()> {
    let (maps, flat) = (config.out_indices.len(), config.add_fpn && !config.reshape_hidden_states);
    if config.add_fpn && maps != 4 {
        let message = format!("has {maps} stages; the pyramid of `add_fpn` is made of 4");
        return Err(Error::config("beit", "out_indices", message));
    }
    if flat {
        let message = "is false, and the pyramid of `add_fpn` is made of maps";
        return Err(Error::config("beit", "reshape_hidden_states", message));
    }
    let narrowest = config.pool_scales.iter().copied().min().unwrap_or(1);
    positive(
        "beit",
        &[
            ("vocab_size", config.vocab_size),
            ("pool_scales", narrowest),
            ("auxiliary_channels", config.auxiliary_channels),
            ("auxiliary_num_convs", config.auxiliary_num_convs + 1),
        ],
    )
}

/// BEiT (Bao et al., 2021); `transformers.models.beit`.
#[derive(Debug)]
pub struct Beit;

impl Architecture for Beit {
    type Config = BeitConfig;
}

/// BEiT's encoder.
fn beit(config: &BeitConfig) -> VisionSpec {
    let base = spec(config)
        .with_patches(|patches| {
            patches.mask_token = config.use_mask_token;
            patches.positions = match config.use_absolute_position_embeddings {
                true => Positions::Square,
                false => Positions::None,
            };
        })
        .with_layers(|layer| {
            layer.layer_scale = config.layer_scale_init_value > 0.0;
            if let Some(attention) = layer.attention() {
                attention.bias = Biases { k: false, ..Biases::ALL };
            }
        });
    let table =
        GridBiasSpec { heads: config.num_attention_heads, grid: base.patches.grid(base.patches.image), class: true };
    let (shared, own) = (config.use_shared_relative_position_bias, config.use_relative_position_bias);
    let bias = (shared || own).then_some(PatchBias { table, shared, own });
    let mut spec = VisionSpec { bias, ..base };
    // The reference adds a boolean mask to the biases, which masks nothing: a mask is taken only where there are none.
    spec.attention_mask = bias.is_none();
    if config.use_mean_pooling {
        spec.stack.final_norm = None;
    }
    spec
}

/// BEiT's tower, with the names of ViT and a few more.
fn tower(weights: &Weights, spec: &VisionSpec) -> VisionTower {
    // Saved backbones have all but the last norm at the root.
    let split = weights.has("beit.layernorm.weight") && !weights.has("beit.embeddings.cls_token");
    let weights = if split { weights.clone() } else { weights.either(&["beit", ""]) };
    let names = names(&weights).names(&[
        ("norm", if split { "beit.layernorm" } else { "layernorm" }),
        ("layers.*.attention_scale", "encoder.layer.*.lambda_1"),
        ("layers.*.mlp_scale", "encoder.layer.*.lambda_2"),
        (
            "layers.*.bias.table",
            "encoder.layer.*.attention.attention.relative_position_bias.relative_position_bias_table",
        ),
        ("layers.*.bias.index", "encoder.layer.*.attention.attention.relative_position_bias.relative_position_index"),
        ("bias.table", "encoder.relative_position_bias.relative_position_bias_table"),
        ("bias.index", "encoder.relative_position_bias.relative_position_index"),
        ("pooler", "pooler.layernorm"),
    ]);
    VisionTower::load(&weights.named(names), spec)
}

/// The mean of the patches, normalised, or the class token.
fn pooling(config: &BeitConfig) -> PoolingSpec {
    match config.use_mean_pooling {
        true => PoolingSpec::Span { from: 1, count: None, norm: Some(NormSpec::layer(config.layer_norm_eps)) },
        false => PoolingSpec::First,
    }
}

impl Head<tasks::FeatureExtraction> for Beit {
    fn load(config: &BeitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(tower(weights, &beit(config).pooled(pooling(config))), Bare)))
    }
}

impl Head<tasks::ImageClassification> for Beit {
    fn load(config: &BeitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let scores = Linear::load(&weights.at("classifier"), config.hidden_size, config.num_labels, true);
        Ok(Box::new(Headed::new(tower(weights, &beit(config).pooled(pooling(config))), PerSequence(scores))))
    }
}

/// `logits` of the visual word of each patch.
#[derive(Debug)]
struct Words {
    norm: Norm,
    words: Linear,
}

impl Readout for Words {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let patches = self.norm.forward(&features.hidden).slice(1, 1, None, 1);
        Ok(Outputs::new().with("logits", self.words.forward(&patches)))
    }
}

impl Head<tasks::MaskedImageModeling> for Beit {
    fn load(config: &BeitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let norm = Norm::load(&weights.at("layernorm"), NormSpec::layer(config.layer_norm_eps), config.hidden_size);
        let words = Linear::load(&weights.at("lm_head"), config.hidden_size, config.vocab_size, true);
        Ok(Box::new(Headed::new(tower(weights, &beit(config)), Words { norm, words })))
    }
}

impl Head<tasks::ImageSegmentation> for Beit {
    fn load(config: &BeitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        if config.out_indices.len() != 4 {
            let message = format!("has {} stages; segmentation reads 4", config.out_indices.len());
            return Err(Error::config("beit", "out_indices", message));
        }
        let spec = beit(config).recording();
        // What goes into layer `index`, counted from 1, and for the stem what comes out of the last.
        let recorded = config.num_hidden_layers + 1;
        let layers = config.out_indices.iter().map(|index| (index - 1).rem_euclid(recorded));
        let head = Segmenter::load(weights, config, FeatureMaps::new(&spec, layers));
        Ok(Box::new(Headed::new(tower(weights, &spec), head)))
    }
}

impl Head<tasks::Backbone> for Beit {
    fn load(config: &BeitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let spec = beit(config).recording();
        let maps = FeatureMaps::new(&spec, config.out_indices.iter().copied()).reshaped(config.reshape_hidden_states);
        let tower = tower(weights, &spec);
        Ok(match config.add_fpn {
            true => {
                let pyramid = Pyramid::load(weights, config.hidden_size);
                Box::new(Headed::new(tower, PyramidMaps(maps, pyramid)))
            }
            false => Box::new(Headed::new(tower, maps)),
        })
    }
}
