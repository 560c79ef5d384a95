use super::{Reconstruction, VisionSpec, VisionTower, VitConfig};
use crate::Result;
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Classifier, Headed};
use crate::nn::{AttentionSpec, Biases, LayerSpec, MlpSpec, NormSpec, PatchSpec, Pooling, PoolingSpec, StackSpec};
use crate::tasks;
use crate::weights::{NameTable, Weights};

/// ViT (Dosovitskiy et al., 2020); `transformers.models.vit`.
#[derive(Debug)]
pub struct Vit;

impl Architecture for Vit {
    type Config = VitConfig;
}

/// ViT's encoder; classes choose the pooling and whether there is a mask token.
pub fn spec(config: &VitConfig) -> VisionSpec {
    let VitConfig { hidden_size, qkv_bias: qkv, .. } = *config;
    let norm = NormSpec::layer(config.layer_norm_eps);
    let attention = AttentionSpec {
        bias: Biases { q: qkv, k: qkv, v: qkv, o: true },
        ..AttentionSpec::even(hidden_size, config.num_attention_heads)
    };
    let mlp = MlpSpec::plain(hidden_size, config.intermediate_size, config.hidden_act);
    let layers = vec![LayerSpec::new(attention, mlp, norm); config.num_hidden_layers as usize];
    let (image, patch) = (config.image_size.sides(), config.patch_size.sides());
    let patches = PatchSpec::new(config.num_channels, hidden_size, image, patch, &["class"]);
    let stack = StackSpec { layers, final_norm: Some(norm) };
    VisionSpec { attention_mask: true, ..VisionSpec::new(patches, stack) }
}

/// ViT's pooler.
pub(super) fn pooler(config: &VitConfig) -> PoolingSpec {
    PoolingSpec::Dense { size: config.pooler_output_size, activation: config.pooler_act }
}

/// Names below the base model, of files on the hub or as the modules of `transformers` 5 are called.
pub fn names(weights: &Weights) -> NameTable {
    let table = NameTable::new().names(&[
        ("class", "embeddings.cls_token"),
        ("mask", "embeddings.mask_token"),
        ("distillation", "embeddings.distillation_token"),
        ("detection", "embeddings.detection_tokens"),
        ("positions", "embeddings.position_embeddings"),
        ("layer_positions", "encoder.mid_position_embeddings"),
        ("patch", "embeddings.patch_embeddings.projection"),
        ("norm", "layernorm"),
    ]);
    if weights.has("layers.0.layernorm_before.weight") {
        return table.names(&[
            ("layers.*.attention.q", "layers.*.attention.q_proj"),
            ("layers.*.attention.k", "layers.*.attention.k_proj"),
            ("layers.*.attention.v", "layers.*.attention.v_proj"),
            ("layers.*.attention.o", "layers.*.attention.o_proj"),
            ("layers.*.attention_norm", "layers.*.layernorm_before"),
            ("layers.*.mlp.up", "layers.*.mlp.fc1"),
            ("layers.*.mlp.down", "layers.*.mlp.fc2"),
            ("layers.*.mlp_norm", "layers.*.layernorm_after"),
        ]);
    }
    table.names(&[
        ("layers.*.attention.q", "encoder.layer.*.attention.attention.query"),
        ("layers.*.attention.k", "encoder.layer.*.attention.attention.key"),
        ("layers.*.attention.v", "encoder.layer.*.attention.attention.value"),
        ("layers.*.attention.o", "encoder.layer.*.attention.output.dense"),
        ("layers.*.attention_norm", "encoder.layer.*.layernorm_before"),
        ("layers.*.mlp.up", "encoder.layer.*.intermediate.dense"),
        ("layers.*.mlp.down", "encoder.layer.*.output.dense"),
        ("layers.*.mlp_norm", "encoder.layer.*.layernorm_after"),
    ])
}

/// The tower of `spec` with ViT's names, below `prefix` or at the root of files that hold nothing else.
pub fn tower(weights: &Weights, prefix: &str, spec: &VisionSpec) -> VisionTower {
    let weights = weights.either(&[prefix, ""]);
    let names = names(&weights);
    VisionTower::load(&weights.named(names), spec)
}

/// The classes of an architecture whose heads are ViT's: `$config` becomes a spec by `$spec`, its tower is stored below
/// `$prefix`.
macro_rules! vit_heads {
    ($name:ident($config:ty) = $spec:expr, $prefix:literal) => {
        impl Head<tasks::FeatureExtraction> for $name {
            fn load(config: &$config, weights: &Weights) -> Result<Box<dyn Module>> {
                let spec = $spec(config).pooled($crate::models::vit::base::pooler(config));
                Ok(Box::new(Headed::new(tower(weights, $prefix, &spec), Bare)))
            }
        }

        impl Head<tasks::ImageClassification> for $name {
            fn load(config: &$config, weights: &Weights) -> Result<Box<dyn Module>> {
                let scores = weights.at("classifier");
                let head = Classifier::load(&scores, Pooling::First, config.hidden_size, config.num_labels);
                Ok(Box::new(Headed::new(tower(weights, $prefix, &$spec(config)), head)))
            }
        }

        impl Head<tasks::MaskedImageModeling> for $name {
            fn load(config: &$config, weights: &Weights) -> Result<Box<dyn Module>> {
                let spec = $spec(config).with_patches(|patches| patches.mask_token = true);
                let head = Reconstruction::load(
                    &weights.at("decoder.0"),
                    &spec.patches,
                    config.hidden_size,
                    config.encoder_stride,
                );
                Ok(Box::new(Headed::new(tower(weights, $prefix, &spec), head)))
            }
        }
    };
}

pub(super) use vit_heads;

vit_heads!(Vit(VitConfig) = spec, "vit");
