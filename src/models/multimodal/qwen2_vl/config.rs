use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::{is_token, lift_tie};
use crate::config::{divides, normalise_part, positive};
use crate::models::llama::Qwen2Config;
use crate::nn::Activation;
use crate::nn::rope::{RopeParameters, RopeSpec};
use crate::{Error, Result};

/// `rope_parameters` of a vision tower: rotations by row and column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GridRope {
    /// `axial`.
    pub rope_type: String,
    /// Base of the frequencies.
    pub rope_theta: f64,
}

impl Default for GridRope {
    fn default() -> Self {
        Self { rope_type: "axial".into(), rope_theta: 10_000.0 }
    }
}

impl crate::proofs::Takes for GridRope {
    const KIND: crate::proofs::Kind = crate::proofs::Kind::Table;
}

crate::config! {
    /// Configuration of [`Qwen2VlVision`](super::Qwen2VlVision).
    pub struct Qwen2VlVisionConfig("qwen2_vl_vision") {
        /// Number of layers.
        depth: i64 = 32,
        /// Width of the hidden states.
        embed_dim: i64 = 1280,
        /// Width of a feature; that of the language model.
        hidden_size: i64 = 3584,
        /// Activation of the feed-forward layers.
        hidden_act: Activation = Activation::QuickGelu,
        /// Width of the feed-forward layers, in multiples of `embed_dim`.
        mlp_ratio: i64 = 4,
        /// Attention heads per layer.
        num_heads: i64 = 16,
        /// Channels of the images.
        in_channels: i64 = 3,
        /// Height and width of a patch.
        patch_size: i64 = 14,
        /// Rows and columns of patches that become one feature.
        spatial_merge_size: i64 = 2,
        /// Frames of a patch.
        temporal_patch_size: i64 = 2,
        /// Rotary positions.
        rope_parameters: GridRope = GridRope::default(),
    }
    aliases: [("num_attention_heads", "num_heads"), ("num_hidden_layers", "depth")]
    upgrade: |fields: &mut Map<String, Value>, _: &_| {
        if fields.get("rope_parameters").is_some_and(Value::is_null) {
            fields.remove("rope_parameters");
        }
        Ok(())
    };
    validate: validate_vision;
}

fn validate_vision(config: &Qwen2VlVisionConfig) -> Result<()> {
    const TYPE: &str = "qwen2_vl_vision";
    divides(TYPE, ("embed_dim", config.embed_dim), ("num_heads", config.num_heads))?;
    divides(TYPE, ("embed_dim", config.embed_dim / config.num_heads), ("pairs of rows and columns", 4))?;
    if config.rope_parameters.rope_type != "axial" {
        let message = format!("must be axial, got {}", config.rope_parameters.rope_type);
        return Err(Error::config(TYPE, "rope_parameters.rope_type", message));
    }
    positive(
        TYPE,
        &[
            ("depth", config.depth),
            ("hidden_size", config.hidden_size),
            ("mlp_ratio", config.mlp_ratio),
            ("in_channels", config.in_channels),
            ("patch_size", config.patch_size),
            ("spatial_merge_size", config.spatial_merge_size),
            ("temporal_patch_size", config.temporal_patch_size),
        ],
    )
}

crate::config! {
    /// Configuration of [`Qwen2VlText`](super::Qwen2VlText).
    pub struct Qwen2VlTextConfig("qwen2_vl_text"): Qwen2Config {}
    defaults: {
        vocab_size: 152064, hidden_size: 8192, intermediate_size: 29568, num_hidden_layers: 80, num_attention_heads: 64,
        num_key_value_heads: Some(8), rms_norm_eps: 1e-5, rope_parameters: RopeParameters::plain(1e6),
        max_window_layers: 80,
    }
    upgrade: upgrade_text;
    validate: |config: &Qwen2VlTextConfig| {
        let heads = ("num_attention_heads", config.num_attention_heads);
        divides("qwen2_vl_text", ("hidden_size", config.hidden_size), heads)?;
        if config.head_dim() != config.hidden_size / config.num_attention_heads {
            let message = format!("{} must be `hidden_size` / `num_attention_heads`", config.head_dim());
            return Err(Error::config("qwen2_vl_text", "head_dim", message));
        }
        config.sectioned_rope().map(drop)
    };
}

/// Older files call the default rotation of this architecture a type of its own.
fn upgrade_text(fields: &mut Map<String, Value>, _: &Qwen2VlTextConfig) -> Result<()> {
    for field in ["rope_scaling", "rope_parameters"] {
        let Some(Value::Object(rope)) = fields.get_mut(field) else { continue };
        for key in ["type", "rope_type"] {
            if rope.get(key).is_some_and(|kind| kind == "mrope") {
                rope.insert(key.into(), "default".into());
            }
        }
    }
    Ok(())
}

impl Qwen2VlTextConfig {
    /// Rotations by time, height and width.
    ///
    /// # Errors
    /// As [`DecoderConfig::rope`](crate::models::decoder::DecoderConfig::rope), and where sections do not cover a head.
    pub fn sectioned_rope(&self) -> Result<RopeSpec> {
        let settings = self.rope_parameters.same("qwen2_vl_text")?;
        let sections = settings.mrope_section.as_deref().unwrap_or(&[16, 24, 24]);
        let pairs = self.head_dim() / 2;
        if sections.iter().any(|section| *section < 0) || sections.iter().sum::<i64>() != pairs {
            let message = format!("{sections:?} must add up to the {pairs} pairs of a head");
            return Err(Error::config("qwen2_vl_text", "rope_parameters.mrope_section", message));
        }
        Ok(self.rope(false)?.sectioned(sections))
    }
}

crate::config! {
    /// Configuration of [`Qwen2Vl`](super::Qwen2Vl).
    pub struct Qwen2VlConfig("qwen2_vl") {
        /// The language model.
        text_config: Qwen2VlTextConfig = Qwen2VlTextConfig::default(),
        /// The vision tower.
        vision_config: Qwen2VlVisionConfig = Qwen2VlVisionConfig::default(),
        /// The token that an image feature takes the place of.
        image_token_id: i64 = 151655,
        /// The token that a video feature takes the place of.
        video_token_id: i64 = 151656,
        /// Whether the head uses the language model's table of token vectors.
        tie_word_embeddings: bool = false,
    }
    ignored: ["vision_start_token_id", "vision_end_token_id"]
    parts: ["text_config", "vision_config"]
    upgrade: upgrade;
    validate: |config: &Qwen2VlConfig| {
        is_token("qwen2_vl", "image_token_id", config.image_token_id)?;
        is_token("qwen2_vl", "video_token_id", config.video_token_id)
    };
}

/// Files on the hub have the language model's fields at the root.
fn upgrade(fields: &mut Map<String, Value>, _: &Qwen2VlConfig) -> Result<()> {
    if fields.get("text_config").is_none_or(Value::is_null) {
        let own = ["text_config", "vision_config", "model_type"];
        let text = fields.iter().filter(|(field, _)| !own.contains(&field.as_str()));
        let text: Map<_, _> = text.map(|(field, value)| (field.clone(), value.clone())).collect();
        fields.insert("text_config".into(), text.into());
    }
    lift_tie(fields);
    normalise_part::<Qwen2VlTextConfig>(fields, "text_config")?;
    normalise_part::<Qwen2VlVisionConfig>(fields, "vision_config")
}
