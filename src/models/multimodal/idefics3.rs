use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use super::{Found, Multimodal, Projector, Source, Text, is_token};
use crate::config::{as_part, normalise_any_part, normalise_part, positive};
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Head, Module, Part};
use crate::models::clip::{VisionConfig, vision, vision_names, vision_spec};
use crate::models::decoder::DecoderConfig;
use crate::models::llama::LlamaConfig;
use crate::models::vit::{VisionSpec, VisionTower};
use crate::nn::heads::{Bare, Body, Headed};
use crate::nn::{Activation, Linear, NormSpec, PatchSpec, Positions, StackSpec};
use crate::weights::Weights;
use crate::{Error, Inputs, Outputs, Result, tasks};

crate::config! {
    /// Configuration of [`Idefics3Vision`].
    pub struct Idefics3VisionConfig("idefics3_vision"): VisionConfig {}
    defaults: {
        hidden_size: 1152, num_attention_heads: 16, hidden_act: Activation::GeluNew, layer_norm_eps: 1e-6,
    }
}

crate::config! {
    /// Configuration of [`Idefics3`].
    pub struct Idefics3Config("idefics3") {
        /// The token that an image feature takes the place of.
        image_token_id: i64 = 128257,
        /// Whether the head uses the language model's table of token vectors.
        tie_word_embeddings: bool = false,
        /// The vision tower.
        vision_config: Idefics3VisionConfig = Idefics3VisionConfig::default(),
        /// The language model: any decoder of the roster.
        text_config: Value = as_part(text_default()),
        /// Rows and columns of patches that become one feature.
        scale_factor: i64 = 2,
    }
    ignored: ["_pad_token_id"]
    parts: ["vision_config", "text_config"]
    upgrade: |fields: &mut Map<String, Value>, default: &Idefics3Config| {
        normalise_part::<Idefics3VisionConfig>(fields, "vision_config")?;
        normalise_any_part::<LlamaConfig>(fields, "text_config", default.text_config.clone())
    };
    validate: |config: &Idefics3Config| {
        positive("idefics3", &[("scale_factor", config.scale_factor)])?;
        is_token("idefics3", "image_token_id", config.image_token_id)
    };
}

fn text_default() -> LlamaConfig {
    LlamaConfig { base: DecoderConfig { rms_norm_eps: 1e-5, ..Default::default() }, ..Default::default() }
}

/// Idefics3 (Laurençon et al., 2024); `transformers.models.idefics3`.
#[derive(Debug)]
pub struct Idefics3;

/// Its vision tower, SigLIP's for images of any size and shape.
#[derive(Debug)]
pub struct Idefics3Vision;

impl Architecture for Idefics3 {
    type Config = Idefics3Config;
}

impl Architecture for Idefics3Vision {
    type Config = Idefics3VisionConfig;
}

/// CLIP's tower without a class token, for images that may be padded, below `vision_model` or at the root.
fn tower(config: &Idefics3VisionConfig, weights: &Weights) -> VisionTower {
    let norm = NormSpec::layer(config.layer_norm_eps);
    let base = vision_spec(config);
    let patches = PatchSpec { bias: true, tokens: &[], positions: Positions::Within, ..base.patches };
    let spec = VisionSpec::new(patches, StackSpec { final_norm: Some(norm), ..base.stack });
    vision(weights, &spec, vision_names().name("norm", "post_layernorm"))
}

impl Part for Idefics3Vision {
    fn load(config: &Idefics3VisionConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(tower(config, weights), Bare)))
    }
}

/// Several images a row through the tower, of whose patches every square of `scale` rows and columns becomes a feature.
#[derive(Debug)]
struct Tiles {
    tower: VisionTower,
    channels: i64,
    patch: i64,
    projector: Projector,
    scale: i64,
    placeholder: i64,
}

impl Tiles {
    /// `[images, patches, width]` to `[images, patches / scale², width * scale²]` (pixel shuffle).
    fn shuffled(&self, patches: &Tensor) -> Result<Tensor> {
        let (size, scale) = (patches.size(), self.scale);
        let (count, side) = (size[1], size[1].isqrt());
        if side * side != count || side % scale != 0 {
            let message = format!(
                "has {count} patches an image; these must be a square of a multiple of {scale} rows and columns"
            );
            return Err(Error::input("pixel_values", message));
        }
        let squares = patches.view([size[0], side / scale, scale, side / scale, scale, size[2]]);
        Ok(squares.permute([0, 1, 3, 2, 4, 5]).reshape([size[0], count / (scale * scale), -1]))
    }
}

impl Source for Tiles {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{AtLeast, Exactly, Named};
        let sides = [AtLeast("height", self.patch), AtLeast("width", self.patch)];
        let images = [Named("batch"), Named("images"), Exactly(self.channels), sides[0], sides[1]];
        let pixels = [Named("batch"), Named("images"), sides[0], sides[1]];
        vec![
            Argument::optional("pixel_values", Values::Float, &images),
            Argument::optional("pixel_attention_mask", Values::Mask, &pixels),
        ]
    }

    fn features(&self, inputs: &Inputs) -> Result<Vec<Found>> {
        let Some(pixels) = inputs.get("pixel_values") else { return Ok(Vec::new()) };
        let pixels = pixels.flatten(0, 1);
        // Rows with fewer images than others are filled up with zeros.
        let real = pixels.ne(0.0).flatten(1, -1).any_dim(1, false);
        let mut images = Inputs::new().with("pixel_values", pixels.index(&[Some(&real)]));
        if let Some(mask) = inputs.get("pixel_attention_mask") {
            let mask = mask.flatten(0, 1).index(&[Some(&real)]).to_kind(Kind::Int64);
            let seen = mask
                .unfold(1, self.patch, self.patch)
                .unfold(2, self.patch, self.patch)
                .flatten(3, 4)
                .sum_dim_intlist([3].as_slice(), false, Kind::Int64);
            images.insert("patch_attention_mask", seen.gt(0));
        }
        let features = match images.need("pixel_values")?.size()[0] {
            0 => return Ok(Vec::new()),
            _ => self.projector.forward(&self.shuffled(&self.tower.run(&images, None)?.hidden)?).flatten(0, 1),
        };
        let shown = Outputs::new().with("image_hidden_states", features.shallow_clone());
        Ok(vec![Found { placeholder: self.placeholder, features, shown }])
    }
}

fn body(config: &Idefics3Config, weights: &Weights) -> Result<Multimodal> {
    let weights = weights.either(&["model", ""]);
    let text = Text::load("idefics3", &config.text_config, &weights.at("text_model"))?;
    let inputs = config.vision_config.hidden_size * config.scale_factor * config.scale_factor;
    let projector = weights.at("connector.modality_projection.proj");
    let images = Tiles {
        tower: tower(&config.vision_config, &weights),
        channels: config.vision_config.num_channels,
        patch: config.vision_config.patch_size,
        projector: Projector::linear(Linear::load(&projector, inputs, text.width(), false)),
        scale: config.scale_factor,
        placeholder: config.image_token_id,
    };
    Ok(Multimodal::new(text, images))
}

impl Head<tasks::FeatureExtraction> for Idefics3 {
    fn load(config: &Idefics3Config, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(body(config, weights)?.bare())
    }
}

impl Head<tasks::ImageTextToText> for Idefics3 {
    fn load(config: &Idefics3Config, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(body(config, weights)?.generating(weights, &["lm_head.weight"], config.tie_word_embeddings, None))
    }
}
