//! BLIP: a ViT, and a BERT that reads text alone, reads it with an image in view, or writes it.
//!
//! The text model is the blueprint of [`bert`]; what it is in a class, is said where the class is loaded: whether it
//! sees both ways, and what its cross attention looks at. The base model compares texts and images as
//! [`clip`] does.

mod classes;
mod config;

pub use config::{BlipConfig, BlipTextConfig, BlipVisionConfig};

use crate::model::{Architecture, Head, Module, Part};
use crate::models::bert::{self, BertConfig, EncoderBody, EncoderSpec, Vector};
use crate::models::clip::{self, Dual, DualSpec, Matching, Projection, VisionConfig};
use crate::models::vit::{VisionSpec, VisionTower};
use crate::nn::heads::{Bare, Headed};
use crate::nn::{AttentionSpec, NormSpec, PatchSpec, StackSpec};
use crate::weights::Weights;
use crate::{Error, Result, tasks};

/// BLIP (Li et al., 2022); `transformers.models.blip`.
#[derive(Debug)]
pub struct Blip;

/// Its text model.
#[derive(Debug)]
pub struct BlipText;

/// Its image encoder.
#[derive(Debug)]
pub struct BlipVision;

impl Architecture for Blip {
    type Config = BlipConfig;
}

impl Architecture for BlipText {
    type Config = BlipTextConfig;
}

impl Architecture for BlipVision {
    type Config = BlipVisionConfig;
}

/// BERT without segments, every layer of which also looks at an image or a question where there is one.
fn text_spec(config: &BlipTextConfig) -> Result<EncoderSpec> {
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
    let mut spec = bert::spec(&BertConfig {
        vocab_size: config.vocab_size,
        hidden_size: hidden,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: heads,
        intermediate_size: config.intermediate_size,
        hidden_act: config.hidden_act,
        max_position_embeddings: config.max_position_embeddings,
        layer_norm_eps: config.layer_norm_eps,
        pad_token_id: config.pad_token_id,
        tie_word_embeddings: config.tie_word_embeddings,
        ..BertConfig::default()
    })?;
    spec.embeddings.tables.clear();
    // The reference takes the mask of the image or the question, and leaves it at that.
    spec.layers.masks_memory = false;
    spec.names.ignored = &["embeddings.position_ids"];
    let cross = AttentionSpec { source: config.encoder_hidden_size, ..AttentionSpec::even(hidden, heads) };
    for layer in &mut spec.layers.layers {
        layer.cross = config.is_decoder.then_some(cross);
    }
    Ok(spec)
}

/// The text model of a class that cannot do without cross attention.
fn crossing(config: &BlipConfig) -> Result<EncoderSpec> {
    if !config.text_config.is_decoder {
        let message = "must be true: without it the text model has no cross attention to look at the image with";
        return Err(Error::config("blip", "text_config.is_decoder", message));
    }
    let tie_word_embeddings = config.tie_word_embeddings || config.text_config.tie_word_embeddings;
    text_spec(&BlipTextConfig { tie_word_embeddings, ..config.text_config.clone() })
}

/// CLIP's image encoder without the norm before its layers; all tokens are normalised after them, and the class token
/// once more.
fn vision(config: &BlipVisionConfig, weights: &Weights) -> VisionTower {
    let BlipVisionConfig { ref base, image_size, patch_size, .. } = *config;
    let base = clip::vision_spec(&VisionConfig { base: base.clone(), num_channels: 3, image_size, patch_size });
    let spec = VisionSpec {
        patches: PatchSpec { bias: true, batched: true, ..base.patches },
        embedding_norm: None,
        stack: StackSpec { final_norm: Some(NormSpec::layer(config.layer_norm_eps)), ..base.stack },
        ..base
    };
    let qkv = ["layers.*.attention.q", "layers.*.attention.k", "layers.*.attention.v"];
    let names = clip::vision_names()
        .names(&[
            ("positions", "embeddings.position_embedding"),
            ("norm", "post_layernorm"),
            ("layers.*.attention.o", "encoder.layers.*.self_attn.projection"),
        ])
        .fused("encoder.layers.*.self_attn.qkv", &qkv.map(|path| (path, config.hidden_size)), false);
    clip::vision(weights, &spec, names)
}

impl Part for BlipText {
    fn load(config: &BlipTextConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let spec = text_spec(config)?;
        let body = EncoderBody::load(&spec, weights, &["bert", "text_model", ""], Some((Vector::Pooler, "")));
        Ok(Box::new(Headed::new(body, Bare)))
    }
}

impl Part for BlipVision {
    fn load(config: &BlipVisionConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(vision(config, weights), Bare)))
    }
}

impl Head<tasks::FeatureExtraction> for Blip {
    fn load(config: &BlipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let BlipConfig { text_config, vision_config, projection_dim: shared, .. } = config;
        let projection =
            Projection { text: text_config.hidden_size, image: vision_config.hidden_size, shared: *shared };
        let spec = DualSpec { projection: Some(projection), matching: Matching::Softmax, shows_projected: false };
        let text = text_spec(text_config)?;
        let text = EncoderBody::load(&text, weights, &["text_model"], Some((Vector::Pooler, "")));
        Ok(Box::new(Dual::load(weights, spec, text, vision(vision_config, weights))))
    }
}

impl Head<tasks::ZeroShotImageClassification> for Blip {
    fn load(config: &BlipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        <Self as Head<tasks::FeatureExtraction>>::load(config, weights)
    }
}
