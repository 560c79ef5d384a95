use serde_json::{Map, Value};

use super::dual::{Dual, DualSpec, Matching};
use super::vision::{vision, vision_names, vision_spec};
use super::{TextConfig, TextPooling, TextSpec, TextTower, VisionConfig, own_section, upgrade_sections};
use crate::config::positive;
use crate::model::{Architecture, Head, Module, Part};
use crate::models::vit::{VisionSpec, VisionTower};
use crate::nn::heads::{Bare, Classifier, Headed};
use crate::nn::{
    Activation, AttentionPoolingSpec, AttentionSpec, MlpSpec, NormSpec, PatchSpec, Pooling, PoolingSpec, StackSpec,
};
use crate::weights::{NameTable, Weights};
use crate::{Error, Result, tasks};

crate::config! {
    /// Configuration of [`SiglipText`].
    pub struct SiglipTextConfig("siglip_text_model"): TextConfig {
        /// Width of the projected vector; `hidden_size` where the file does not say.
        projection_size: i64 = 768,
    }
    defaults: {
        vocab_size: 32000, hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12,
        max_position_embeddings: 64, hidden_act: Activation::GeluNew, layer_norm_eps: 1e-6,
    }
    upgrade: fill_projection;
    validate: |config: &SiglipTextConfig| positive("siglip_text_model", &[("projection_size", config.projection_size)]);
}

crate::config! {
    /// Configuration of [`SiglipVision`].
    pub struct SiglipVisionConfig("siglip_vision_model"): VisionConfig {
        /// Whether attention makes one vector of the patches.
        vision_use_head: bool = true,
    }
    defaults: { patch_size: 16, hidden_act: Activation::GeluNew, layer_norm_eps: 1e-6 }
}

crate::config! {
    /// Configuration of [`Siglip`].
    pub struct SiglipConfig("siglip") {
        /// The text encoder.
        text_config: SiglipTextConfig = SiglipTextConfig::default(),
        /// The image encoder.
        vision_config: SiglipVisionConfig = SiglipVisionConfig::default(),
    }
    ignored: ["initializer_factor"]
    parts: ["text_config", "vision_config"]
    upgrade: |fields, _: &_| upgrade_sections::<SiglipTextConfig, SiglipVisionConfig>(fields);
}

fn fill_projection(fields: &mut Map<String, Value>, default: &SiglipTextConfig) -> Result<()> {
    own_section(fields, "text_config")?;
    if fields.get("projection_size").is_none_or(Value::is_null) {
        let hidden = fields.get("hidden_size").cloned().unwrap_or_else(|| default.hidden_size.into());
        fields.insert("projection_size".into(), hidden);
    }
    Ok(())
}

/// SigLIP (Zhai et al., 2023); `transformers.models.siglip`.
#[derive(Debug)]
pub struct Siglip;

/// Its text encoder.
#[derive(Debug)]
pub struct SiglipText;

/// Its image encoder.
#[derive(Debug)]
pub struct SiglipVision;

impl Architecture for Siglip {
    type Config = SiglipConfig;
}

impl Architecture for SiglipText {
    type Config = SiglipTextConfig;
}

impl Architecture for SiglipVision {
    type Config = SiglipVisionConfig;
}

/// CLIP's text encoder that sees both ways, with a layer on its last token.
fn text(config: &SiglipTextConfig, weights: &Weights) -> TextTower {
    let spec =
        TextSpec { causal: false, head: Some(config.projection_size), ..TextSpec::new(config, TextPooling::Last) };
    TextTower::load(weights, &spec)
}

/// CLIP's image encoder without a class token: the last hidden states are normalised, and pooled by attention.
fn image(config: &SiglipVisionConfig, weights: &Weights) -> VisionTower {
    let SiglipVisionConfig { vision_use_head, .. } = *config;
    let (hidden, norm) = (config.hidden_size, NormSpec::layer(config.layer_norm_eps));
    let pooling = AttentionPoolingSpec {
        attention: AttentionSpec::even(hidden, config.num_attention_heads),
        norm,
        mlp: MlpSpec::plain(hidden, config.intermediate_size, config.hidden_act),
    };
    let base = vision_spec(config);
    let spec = VisionSpec {
        patches: PatchSpec { bias: true, tokens: &[], ..base.patches },
        embedding_norm: None,
        stack: StackSpec { final_norm: Some(norm), ..base.stack },
        pooling: vision_use_head.then_some(PoolingSpec::Attention(pooling)),
        ..base
    };
    vision(weights, &spec, names(hidden))
}

/// Names of the image encoder.
fn names(hidden: i64) -> NameTable {
    let table = vision_names().names(&[
        ("norm", "post_layernorm"),
        ("pooler", "head"),
        ("pooler.attention.o", "head.attention.out_proj"),
        ("pooler.norm", "head.layernorm"),
        ("pooler.mlp.up", "head.mlp.fc1"),
        ("pooler.mlp.down", "head.mlp.fc2"),
    ]);
    let weights = ["pooler.attention.q.weight", "pooler.attention.k.weight", "pooler.attention.v.weight"];
    let biases = ["pooler.attention.q.bias", "pooler.attention.k.bias", "pooler.attention.v.bias"];
    table.fused("head.attention.in_proj_weight", &weights.map(|path| (path, hidden)), false).fused(
        "head.attention.in_proj_bias",
        &biases.map(|path| (path, hidden)),
        false,
    )
}

impl Part for SiglipText {
    fn load(config: &SiglipTextConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(text(config, weights), Bare)))
    }
}

impl Part for SiglipVision {
    fn load(config: &SiglipVisionConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(image(config, weights), Bare)))
    }
}

impl Head<tasks::FeatureExtraction> for Siglip {
    fn load(config: &SiglipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let SiglipConfig { text_config, vision_config, .. } = config;
        let wrong = |field: &str, message: String| Err(Error::config("siglip", field, message));
        if !vision_config.vision_use_head {
            return wrong(
                "vision_use_head",
                "must be true: without it there is no vector of an image to compare".into(),
            );
        }
        let (text_width, width) = (text_config.projection_size, vision_config.hidden_size);
        if text_width != width {
            let message = format!("{text_width} must be the image encoder's `hidden_size` ({width})");
            return wrong("projection_size", message);
        }
        let spec = DualSpec { projection: None, matching: Matching::Sigmoid, shows_projected: false };
        Ok(Box::new(Dual::load(weights, spec, text(text_config, weights), image(vision_config, weights))))
    }
}

impl Head<tasks::ZeroShotImageClassification> for Siglip {
    fn load(config: &SiglipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        <Self as Head<tasks::FeatureExtraction>>::load(config, weights)
    }
}

impl Head<tasks::ImageClassification> for Siglip {
    fn load(config: &SiglipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let width = config.vision_config.hidden_size;
        let head = Classifier::load(&weights.at("classifier"), Pooling::Mean { from: 0 }, width, config.num_labels);
        Ok(Box::new(Headed::new(image(&config.vision_config, weights), head)))
    }
}
