//! Qwen2-VL: images and videos of any size, and tokens with positions in time, height and width.

mod config;
mod vision;

pub use config::{GridRope, Qwen2VlConfig, Qwen2VlTextConfig, Qwen2VlVisionConfig};
pub use vision::VisionTransformer;

use super::{Found, GridPositions, Multimodal, PositionRule, Source, Text};
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Head, Module, Part};
use crate::models::decoder::{Class, DecoderSpec};
use crate::models::llama::qwen2;
use crate::nn::heads::{Bare, Headed};
use crate::weights::Weights;
use crate::{Error, Inputs, Outputs, Result, tasks};

/// Qwen2-VL (Wang et al., 2024); `transformers.models.qwen2_vl`.
#[derive(Debug)]
pub struct Qwen2Vl;

/// Its language model, Qwen2 with rotations by three positions.
#[derive(Debug)]
pub struct Qwen2VlText;

/// Its vision tower.
#[derive(Debug)]
pub struct Qwen2VlVision;

impl Architecture for Qwen2Vl {
    type Config = Qwen2VlConfig;
}

impl Architecture for Qwen2VlText {
    type Config = Qwen2VlTextConfig;
}

impl Architecture for Qwen2VlVision {
    type Config = Qwen2VlVisionConfig;
}

/// The decoder of the language model.
fn text_spec(config: &Qwen2VlTextConfig) -> Result<DecoderSpec> {
    let rope = config.sectioned_rope()?;
    Ok(qwen2(config)?.with_layers(|_, layer| layer.rope = Some(rope.clone())))
}

impl Part for Qwen2VlText {
    fn load(config: &Qwen2VlTextConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(tasks::FeatureExtraction::load(text_spec(config)?, weights))
    }
}

impl Part for Qwen2VlVision {
    fn load(config: &Qwen2VlVisionConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(VisionTransformer::load(config, weights), Bare)))
    }
}

/// Images and videos, patch by patch, through one tower.
#[derive(Debug)]
struct Patches {
    tower: VisionTransformer,
    /// Of images and of videos: the patches, their grids, the token whose places features take.
    kinds: [(&'static str, &'static str, i64); 2],
}

impl Source for Patches {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Exactly, Named};
        let of = |(pixels, grid, _): (&'static str, &'static str, i64), names: [&'static str; 2]| {
            let patches = [Named(names[0]), Exactly(self.tower.patch_width())];
            [
                Argument::optional(pixels, Values::Float, &patches),
                Argument::optional(grid, Values::Integer, &[Named(names[1]), Exactly(3)]),
            ]
        };
        let [images, videos] = self.kinds;
        [of(images, ["patches", "images"]), of(videos, ["video patches", "videos"])].concat()
    }

    fn features(&self, inputs: &Inputs) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for (pixels, grid, placeholder) in self.kinds {
            if let Some(patches) = inputs.get(pixels) {
                let features = self.tower.features(patches, inputs.need(grid)?)?;
                found.push(Found { placeholder, features, shown: Outputs::new() });
            }
        }
        Ok(found)
    }
}

fn body(config: &Qwen2VlConfig, weights: &Weights) -> Result<Multimodal> {
    let Qwen2VlConfig { text_config, vision_config, image_token_id: image, video_token_id: video, .. } = config;
    if vision_config.hidden_size != text_config.hidden_size {
        let message =
            format!("{} must be that of `text_config` ({})", vision_config.hidden_size, text_config.hidden_size);
        return Err(Error::config("qwen2_vl", "vision_config.hidden_size", message));
    }
    // Files on the hub have the language model at `model`, later ones below it.
    let text = weights.either(&["model.language_model", "language_model", "model", ""]);
    let text = Text::of("qwen2_vl", <Qwen2VlText as Part>::load(text_config, &text)?)?;
    let tower = VisionTransformer::load(vision_config, &weights.either(&["visual", "model.visual"]));
    let merge = tower.merge();
    let kinds = [("pixel_values", "image_grid_thw", *image), ("pixel_values_videos", "video_grid_thw", *video)];
    let positions = GridPositions { merge, image: *image, video: *video };
    Ok(Multimodal::new(text, Patches { tower, kinds }).with_positions(PositionRule::Grids(positions)))
}

impl Head<tasks::FeatureExtraction> for Qwen2Vl {
    fn load(config: &Qwen2VlConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(body(config, weights)?.bare())
    }
}

impl Head<tasks::ImageTextToText> for Qwen2Vl {
    fn load(config: &Qwen2VlConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(body(config, weights)?.generating(weights, &["lm_head.weight"], config.tie_word_embeddings, None))
    }
}
