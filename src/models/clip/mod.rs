//! CLIP and its heirs: an encoder of texts and one of images that put matching pairs close together.

mod config;
mod text;

pub use config::{ClipConfig, ClipTextConfig, ClipVisionConfig};
pub use text::ClipTextBody;

use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::vit::{VisionSpec, VisionTower};
use crate::inputs::Argument;
use crate::model::{Architecture, Head, Module, Part};
use crate::nn::heads::{Bare, Body, Classifier, Features, Headed, Readout, pooled};
use crate::nn::{
    Activation, AttentionSpec, LayerSpec, Linear, MlpSpec, NormSpec, PatchSpec, Pooling, PoolingSpec, StackSpec,
};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Cache, Error, Inputs, Outputs, Result};

/// CLIP (Radford et al., 2021); `transformers.models.clip`.
#[derive(Debug)]
pub struct Clip;

/// Its text encoder.
#[derive(Debug)]
pub struct ClipText;

/// Its image encoder.
#[derive(Debug)]
pub struct ClipVision;

impl Architecture for Clip {
    type Config = ClipConfig;
}

impl Architecture for ClipText {
    type Config = ClipTextConfig;
}

impl Architecture for ClipVision {
    type Config = ClipVisionConfig;
}

/// A layer of either encoder.
fn layer(hidden: i64, heads: i64, intermediate: i64, activation: Activation, eps: f64) -> LayerSpec {
    let mlp = MlpSpec::plain(hidden, intermediate, activation);
    LayerSpec::new(AttentionSpec::even(hidden, heads), mlp, NormSpec::layer(eps))
}

/// Names of the layers of either encoder.
fn layer_names() -> NameTable {
    NameTable::new().names(&[
        ("layers.*.attention", "encoder.layers.*.self_attn"),
        ("layers.*.attention.q", "encoder.layers.*.self_attn.q_proj"),
        ("layers.*.attention.k", "encoder.layers.*.self_attn.k_proj"),
        ("layers.*.attention.v", "encoder.layers.*.self_attn.v_proj"),
        ("layers.*.attention.o", "encoder.layers.*.self_attn.out_proj"),
        ("layers.*.attention_norm", "encoder.layers.*.layer_norm1"),
        ("layers.*.mlp.up", "encoder.layers.*.mlp.fc1"),
        ("layers.*.mlp.down", "encoder.layers.*.mlp.fc2"),
        ("layers.*.mlp_norm", "encoder.layers.*.layer_norm2"),
    ])
}

fn vision_names() -> NameTable {
    layer_names().names(&[
        ("class", "embeddings.class_embedding"),
        ("patch", "embeddings.patch_embedding"),
        ("positions", "embeddings.position_embedding.weight"),
        // Misspelt in every checkpoint.
        ("embedding_norm", "pre_layrnorm"),
        ("pooler", "post_layernorm"),
    ])
}

/// ViT with a normalisation before the first layer, and only the class token normalised after the last.
fn vision_spec(config: &ClipVisionConfig) -> VisionSpec {
    let ClipVisionConfig { hidden_size, layer_norm_eps, .. } = *config;
    let norm = NormSpec::layer(layer_norm_eps);
    let layer =
        layer(hidden_size, config.num_attention_heads, config.intermediate_size, config.hidden_act, layer_norm_eps);
    let patches = PatchSpec {
        bias: false,
        batched: false,
        ..PatchSpec::new(config.num_channels, hidden_size, [config.image_size; 2], [config.patch_size; 2], &["class"])
    };
    let stack = StackSpec { layers: vec![layer; config.num_hidden_layers as usize], final_norm: None };
    VisionSpec { embedding_norm: Some(norm), ..VisionSpec::new(patches, stack).pooled(PoolingSpec::Norm(norm)) }
}

/// The image encoder below `vision_model`, or at the root of files that hold nothing else.
fn vision(config: &ClipVisionConfig, weights: &Weights) -> VisionTower {
    let weights = weights.either(&["vision_model", ""]).named(vision_names());
    weights.ignore("embeddings.position_ids");
    VisionTower::load(&weights, &vision_spec(config))
}

/// The text encoder below `text_model`, or at the root of files that hold nothing else.
fn text(config: &ClipTextConfig, weights: &Weights) -> ClipTextBody {
    ClipTextBody::load(config, &weights.either(&["text_model", ""]))
}

impl Part for ClipText {
    fn load(config: &ClipTextConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(text(config, weights), Bare)))
    }
}

impl Part for ClipVision {
    fn load(config: &ClipVisionConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(vision(config, weights), Bare)))
    }
}

fn projection(weights: &Weights, width: i64, shared: i64) -> Linear {
    Linear::load(weights, width, shared, false)
}

/// Pooled texts or images in the shared space, under the name that the class gives them; then all hidden states.
#[derive(Debug)]
struct Projected {
    name: &'static str,
    projection: Linear,
}

impl Readout for Projected {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        Ok(Outputs::new()
            .with(self.name, self.projection.forward(pooled(features)?))
            .with("last_hidden_state", features.hidden.shallow_clone()))
    }
}

impl Head<tasks::TextEmbedding> for Clip {
    fn load(config: &ClipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let config = &config.text_config;
        let projection = projection(&weights.at("text_projection"), config.hidden_size, config.projection_dim);
        Ok(Box::new(Headed::new(text(config, weights), Projected { name: "text_embeds", projection })))
    }
}

impl Head<tasks::ImageEmbedding> for Clip {
    fn load(config: &ClipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let config = &config.vision_config;
        let projection = projection(&weights.at("visual_projection"), config.hidden_size, config.projection_dim);
        Ok(Box::new(Headed::new(vision(config, weights), Projected { name: "image_embeds", projection })))
    }
}

impl Head<tasks::ImageClassification> for Clip {
    fn load(config: &ClipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let width = config.vision_config.hidden_size;
        let head = Classifier::load(&weights.at("classifier"), Pooling::Mean { from: 1 }, width, config.num_labels);
        Ok(Box::new(Headed::new(vision(&config.vision_config, weights), head)))
    }
}

/// Both encoders, their projections into one space, and how much every text is like every image.
#[derive(Debug)]
struct Similarity {
    text: ClipTextBody,
    vision: VisionTower,
    text_projection: Linear,
    visual_projection: Linear,
    /// Logarithm of what cosines are multiplied by.
    logit_scale: Weight,
}

impl Similarity {
    fn load(config: &ClipConfig, weights: &Weights) -> Self {
        let ClipConfig { text_config, vision_config, projection_dim, .. } = config;
        Self {
            text: text(text_config, weights),
            vision: vision(vision_config, weights),
            text_projection: projection(&weights.at("text_projection"), text_config.hidden_size, *projection_dim),
            visual_projection: projection(&weights.at("visual_projection"), vision_config.hidden_size, *projection_dim),
            logit_scale: weights.weight("logit_scale", &[]),
        }
    }
}

/// Each vector divided by its length.
fn unit(x: &Tensor) -> Tensor {
    x / x.square().sum_dim_intlist([-1].as_slice(), true, None::<Kind>).sqrt()
}

/// The mean loss of finding the image of each text and the text of each image, where the pairs stand in order.
fn contrastive_loss(logits_per_text: &Tensor) -> Result<Tensor> {
    let [texts, images] = logits_per_text.size()[..] else { return Err(Error::input("return_loss", "no pairs")) };
    if texts != images {
        let message = format!("needs as many texts as images, got {texts} texts and {images} images");
        return Err(Error::input("return_loss", message));
    }
    let own = Tensor::arange(texts, (Kind::Int64, logits_per_text.device()));
    let both = logits_per_text.cross_entropy_for_logits(&own) + logits_per_text.tr().cross_entropy_for_logits(&own);
    Ok(both / 2.0)
}

/// What a tower returns, its pooled vector projected.
fn tower_output(features: Features, projected: &Tensor) -> Outputs {
    let mut outputs =
        Outputs::new().with("last_hidden_state", features.hidden).with("pooler_output", projected.shallow_clone());
    outputs.extend(features.rest);
    outputs
}

impl Module for Similarity {
    fn arguments(&self) -> Vec<Argument> {
        // There may be more texts than images.
        let texts = self.text.arguments().into_iter().map(|argument| argument.renamed("batch", "texts"));
        let mut arguments: Vec<_> = texts.collect();
        arguments.extend(self.vision.arguments());
        arguments
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let image = self.vision.run(inputs, None)?;
        let text = self.text.run(inputs, None)?;
        let image_projected = self.visual_projection.forward(pooled(&image)?);
        let text_projected = self.text_projection.forward(pooled(&text)?);
        let (image_embeds, text_embeds) = (unit(&image_projected), unit(&text_projected));
        let logits_per_text = text_embeds.matmul(&image_embeds.tr()) * self.logit_scale.exp();
        let mut outputs = Outputs::new();
        if inputs.is_set("return_loss") {
            outputs.insert("loss", contrastive_loss(&logits_per_text)?);
        }
        outputs.insert("logits_per_image", logits_per_text.tr());
        outputs.insert("logits_per_text", logits_per_text);
        outputs.insert("text_embeds", text_embeds);
        outputs.insert("image_embeds", image_embeds);
        outputs.insert_nested("text_model_output", tower_output(text, &text_projected));
        outputs.insert_nested("vision_model_output", tower_output(image, &image_projected));
        Ok(outputs)
    }
}

impl Head<tasks::FeatureExtraction> for Clip {
    fn load(config: &ClipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Similarity::load(config, weights)))
    }
}

impl Head<tasks::ZeroShotImageClassification> for Clip {
    fn load(config: &ClipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Similarity::load(config, weights)))
    }
}
