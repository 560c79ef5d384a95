//! Swin and its heirs: transformers in stages, whose layers attend within windows that shift from layer to layer.
//!
//! What varies, and where: patches, masks and positions in [`PatchSpec`]; the layers of a stage in [`LayerSpec`] (norms,
//! feed-forward) and its [`WindowsSpec`]; stages, merging between them and what is recorded of them in [`SwinSpec`].

mod config;
mod tower;

pub use config::SwinConfig;
pub use tower::{SwinSpec, SwinTower};

use crate::Result;
use crate::inputs::Argument;
use crate::model::{Architecture, Head, Module};
use crate::models::vit::Reconstruction;
use crate::nn::heads::{Bare, Body, Headed, PerSequence};
use crate::nn::{
    AttentionSpec, Biases, FeedForwardSpec, LayerSpec, Linear, MixerSpec, MlpSpec, Norm, NormSpec, PatchSpec,
    Positions, WindowsSpec,
};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Cache, Inputs, Outputs};

/// Swin (Liu et al., 2021); `transformers.models.swin`.
#[derive(Debug)]
pub struct Swin;

impl Architecture for Swin {
    type Config = SwinConfig;
}

/// Norms of patches, of merged patches and of a backbone's maps, whatever `layer_norm_eps` says.
const NORM: NormSpec = NormSpec::layer(1e-5);

/// A layer of `hidden` channels, its windows shifted or not.
fn layer(config: &SwinConfig, hidden: i64, heads: i64, shifted: bool) -> LayerSpec {
    let qkv = config.qkv_bias;
    let attention =
        AttentionSpec { bias: Biases { q: qkv, k: qkv, v: qkv, o: true }, ..AttentionSpec::even(hidden, heads) };
    let shift = if shifted { config.window_size / 2 } else { 0 };
    let windows = WindowsSpec { attention, window: config.window_size, shift, always_shifted: false };
    let mlp = MlpSpec::plain(hidden, (config.mlp_ratio * hidden as f64) as i64, config.hidden_act);
    let norm = NormSpec::layer(config.layer_norm_eps);
    LayerSpec::of(hidden, MixerSpec::Windows(windows), FeedForwardSpec::Mlp(mlp), norm)
}

/// Swin's encoder.
fn spec(config: &SwinConfig) -> SwinSpec {
    let (image, patch) = (config.image_size.sides(), config.patch_size.sides());
    let positions = if config.use_absolute_embeddings { Positions::OnRequest } else { Positions::None };
    let stages = std::iter::zip(&config.depths, &config.num_heads).zip(config.widths());
    SwinSpec {
        patches: PatchSpec {
            padded: true,
            norm: Some(NORM),
            positions,
            ..PatchSpec::new(config.num_channels, config.embed_dim, image, patch, &[])
        },
        stages: stages
            .map(|((depth, heads), width)| (0..*depth).map(|at| layer(config, width, *heads, at % 2 == 1)).collect())
            .collect(),
        merging_norm: NORM,
        final_norm: Some(NormSpec::layer(config.layer_norm_eps)),
        before_merging: false,
    }
}

fn names() -> NameTable {
    NameTable::new().names(&[
        ("patch", "embeddings.patch_embeddings.projection"),
        ("patch_norm", "embeddings.norm"),
        ("mask", "embeddings.mask_token"),
        ("positions", "embeddings.position_embeddings"),
        ("stages.*.layers", "encoder.layers.*.blocks"),
        ("stages.*.layers.*.attention.q", "encoder.layers.*.blocks.*.attention.self.query"),
        ("stages.*.layers.*.attention.k", "encoder.layers.*.blocks.*.attention.self.key"),
        ("stages.*.layers.*.attention.v", "encoder.layers.*.blocks.*.attention.self.value"),
        ("stages.*.layers.*.attention.o", "encoder.layers.*.blocks.*.attention.output.dense"),
        (
            "stages.*.layers.*.attention.bias.table",
            "encoder.layers.*.blocks.*.attention.self.relative_position_bias_table",
        ),
        ("stages.*.layers.*.attention.bias.index", "encoder.layers.*.blocks.*.attention.self.relative_position_index"),
        ("stages.*.layers.*.attention_norm", "encoder.layers.*.blocks.*.layernorm_before"),
        ("stages.*.layers.*.mlp.up", "encoder.layers.*.blocks.*.intermediate.dense"),
        ("stages.*.layers.*.mlp.down", "encoder.layers.*.blocks.*.output.dense"),
        ("stages.*.layers.*.mlp_norm", "encoder.layers.*.blocks.*.layernorm_after"),
        ("stages.*.merging", "encoder.layers.*.downsample"),
        ("norm", "layernorm"),
    ])
}

fn tower(weights: &Weights, spec: SwinSpec) -> SwinTower {
    SwinTower::load(&weights.either(&["swin", ""]).named(names()), spec)
}

impl Head<tasks::FeatureExtraction> for Swin {
    fn load(config: &SwinConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(tower(weights, spec(config)), Bare)))
    }
}

impl Head<tasks::ImageClassification> for Swin {
    fn load(config: &SwinConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let scores = Linear::load(&weights.at("classifier"), config.width(), config.num_labels, true);
        Ok(Box::new(Headed::new(tower(weights, spec(config)), PerSequence(scores))))
    }
}

impl Head<tasks::MaskedImageModeling> for Swin {
    fn load(config: &SwinConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let mut spec = spec(config);
        spec.patches.mask_token = true;
        let decoder = weights.at("decoder.0");
        let head = Reconstruction::load(&decoder, &spec.patches, config.width(), config.encoder_stride);
        Ok(Box::new(Headed::new(tower(weights, spec), head)))
    }
}

/// Feature maps of some stages, before their patches are merged, each normalised.
#[derive(Debug)]
struct Backbone {
    tower: SwinTower,
    /// Stages, 0 for what goes into the first, with their norms.
    stages: Vec<(usize, Norm)>,
}

impl Module for Backbone {
    fn arguments(&self) -> Vec<Argument> {
        self.tower.arguments()
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let passed = self.tower.pass(inputs)?;
        let normed = |(stage, norm): &(usize, Norm)| {
            norm.forward(&passed.maps[*stage].permute([0, 2, 3, 1])).permute([0, 3, 1, 2]).contiguous()
        };
        let mut outputs = Outputs::new();
        outputs.insert_list("feature_maps", self.stages.iter().map(normed).collect());
        if inputs.is_set("output_hidden_states") {
            outputs.insert_list("hidden_states", passed.maps);
        }
        outputs.insert_list("attentions", passed.attentions);
        Ok(outputs)
    }
}

impl Head<tasks::Backbone> for Swin {
    fn load(config: &SwinConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        // Saved backbones have the last norm, which serves nothing, below `swin` and all else at the root.
        let split = weights.has("swin.layernorm.weight") && !weights.has("swin.embeddings.norm.weight");
        let below = if split { weights.clone() } else { weights.either(&["swin", ""]) };
        let place = below.named(names().name("norm", if split { "swin.layernorm" } else { "layernorm" }));
        let base = spec(config);
        let spec = SwinSpec {
            final_norm: base.final_norm.filter(|_| place.has("norm.weight") || place.has("norm.bias")),
            before_merging: true,
            ..base
        }
        .always_shifted();
        let widths: Vec<_> = std::iter::once(config.embed_dim).chain(config.widths()).collect();
        let norm = |index: &i64| {
            let stage = usize::try_from(*index).ok()?;
            let place = weights.at("hidden_states_norms").at(&config.stage_names[stage]);
            Some((stage, Norm::load(&place, NORM, widths[stage])))
        };
        let stages = config.out_indices.iter().filter_map(norm).collect();
        Ok(Box::new(Backbone { tower: SwinTower::load(&place, spec), stages }))
    }
}
