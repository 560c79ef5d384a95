use serde_json::{Map, Value};

use super::feature_maps::align_layers;
use super::{FeatureMaps, VisionSpec, VisionTower, VitConfig, names, spec};
use crate::Result;
use crate::config::{positive, stem_and_stages};
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Classifier, Headed};
use crate::nn::{Activation, FeedForwardSpec, MlpSpec, Norm, NormSpec, Pooling, PoolingSpec, Positions, StackSpec};
use crate::tasks;
use crate::weights::Weights;

crate::config! {
    /// Configuration of [`Dinov2`].
    pub struct Dinov2Config("dinov2"): VitConfig {
        /// How many times wider than the hidden states the feed-forward layers are.
        mlp_ratio: i64 = 4,
        /// Whether feed-forward layers are gated, of two thirds of that width.
        use_swiglu_ffn: bool = false,
        /// Whether there is a learned token for hidden patches.
        use_mask_token: bool = true,
        /// Whether the backbone normalises its feature maps.
        apply_layernorm: bool = true,
        /// Whether the backbone returns maps, or sequences with the class token.
        reshape_hidden_states: bool = true,
        /// Names of the layers, what goes into the first as `stem`.
        stage_names: Vec<String> = stem_and_stages(12),
        /// Layers whose output the backbone returns.
        out_features: Vec<String> = vec!["stage12".to_owned()],
        /// Their indices.
        out_indices: Vec<i64> = vec![12],
    }
    defaults: { layer_norm_eps: 1e-6, patch_size: crate::config::Size2d::Square(14) }
    without: ["intermediate_size", "encoder_stride", "pooler_output_size", "pooler_act"]
    ignored: ["layerscale_value", "drop_path_rate"]
    upgrade: |fields: &mut Map<String, Value>, default: &Dinov2Config| {
        align_layers("dinov2", fields, default.num_hidden_layers)
    };
    validate: |config: &Dinov2Config| positive("dinov2", &[("mlp_ratio", config.mlp_ratio)]);
}

/// DINOv2 (Oquab et al., 2023), ViT with LayerScale; `transformers.models.dinov2`.
#[derive(Debug)]
pub struct Dinov2;

impl Architecture for Dinov2 {
    type Config = Dinov2Config;
}

/// DINOv2's encoder.
fn dinov2(config: &Dinov2Config) -> VisionSpec {
    let (hidden, wide) = (config.hidden_size, config.hidden_size * config.mlp_ratio);
    let mlp = match config.use_swiglu_ffn {
        // Two thirds, rounded up to a multiple of 8.
        true => MlpSpec { bias: true, ..MlpSpec::gated(hidden, (wide * 2 / 3 + 7) / 8 * 8, Activation::Silu) },
        false => MlpSpec::plain(hidden, wide, config.hidden_act),
    };
    spec(config)
        .with_patches(|patches| {
            patches.positions = Positions::Square;
            patches.mask_token = config.use_mask_token;
            patches.flat_mask = true;
        })
        .with_layers(|layer| {
            layer.feed_forward = FeedForwardSpec::Mlp(mlp);
            layer.layer_scale = true;
        })
}

/// The place of the tower of `spec`: below `dinov2`, or at the root of files that hold nothing else.
fn place(weights: &Weights, spec: &VisionSpec) -> Weights {
    let weights = weights.either(&["dinov2", ""]);
    let table = names(&weights).names(&[
        ("layers.*.attention_norm", "encoder.layer.*.norm1"),
        ("layers.*.attention_scale", "encoder.layer.*.layer_scale1.lambda1"),
        ("layers.*.mlp_norm", "encoder.layer.*.norm2"),
        ("layers.*.mlp_scale", "encoder.layer.*.layer_scale2.lambda1"),
    ]);
    let up = "encoder.layer.*.mlp.weights_in";
    weights.named(match spec.stack.layers.first().map(|layer| &layer.feed_forward) {
        Some(FeedForwardSpec::Mlp(MlpSpec { gated: true, intermediate: width, .. })) => table
            .fused(up, &[("layers.*.mlp.gate", *width), ("layers.*.mlp.up", *width)], false)
            .name("layers.*.mlp.down", "encoder.layer.*.mlp.weights_out"),
        _ => table
            .names(&[("layers.*.mlp.up", "encoder.layer.*.mlp.fc1"), ("layers.*.mlp.down", "encoder.layer.*.mlp.fc2")]),
    })
}

impl Head<tasks::FeatureExtraction> for Dinov2 {
    fn load(config: &Dinov2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let spec = dinov2(config).pooled(PoolingSpec::First);
        Ok(Box::new(Headed::new(VisionTower::load(&place(weights, &spec), &spec), Bare)))
    }
}

impl Head<tasks::ImageClassification> for Dinov2 {
    fn load(config: &Dinov2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let (spec, pooling) = (dinov2(config), Pooling::FirstAndMean { from: 1 });
        let head = Classifier::load(&weights.at("classifier"), pooling, 2 * config.hidden_size, config.num_labels);
        Ok(Box::new(Headed::new(VisionTower::load(&place(weights, &spec), &spec), head)))
    }
}

impl Head<tasks::Backbone> for Dinov2 {
    fn load(config: &Dinov2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let norm = NormSpec::layer(config.layer_norm_eps);
        let spec = dinov2(config).recording();
        // The last norm is for the maps, not for the last hidden states.
        let final_norm = (!config.apply_layernorm).then_some(norm);
        let spec = VisionSpec { stack: StackSpec { final_norm, ..spec.stack }, ..spec };
        let place = place(weights, &spec);
        let map_norm = config.apply_layernorm.then(|| Norm::load(&place.at("norm"), norm, config.hidden_size));
        let maps = FeatureMaps::new(&spec, config.out_indices.iter().copied());
        let head = maps.normed(map_norm).reshaped(config.reshape_hidden_states);
        Ok(Box::new(Headed::new(VisionTower::load(&place, &spec), head)))
    }
}
