use serde_json::{Map, Value};

use super::dual::{Dual, DualSpec, Matching, Projection};
use super::vision::{vision, vision_names, vision_spec};
use super::{TextConfig, TextPooling, TextSpec, TextTower, VisionConfig, upgrade_sections};
use crate::config::{ModelConfig, positive};
use crate::model::{Architecture, Head, Module, Part};
use crate::models::vit::VisionTower;
use crate::nn::heads::{Bare, Classifier, Features, Headed, Readout, pooled};
use crate::nn::{Linear, Pooling};
use crate::weights::Weights;
use crate::{Inputs, Outputs, Result, tasks};

crate::config! {
    /// Configuration of [`ClipText`].
    pub struct ClipTextConfig("clip_text_model"): TextConfig {
        /// Width of the projected vector.
        projection_dim: i64 = 512,
        /// The token whose hidden state stands for the text.
        eos_token_id: i64 = 49407,
    }
    ignored: ["initializer_factor"]
    validate: |config: &ClipTextConfig| positive("clip_text_model", &[("projection_dim", config.projection_dim)]);
}

crate::config! {
    /// Configuration of [`ClipVision`].
    pub struct ClipVisionConfig("clip_vision_model"): VisionConfig {
        /// Width of the projected vector.
        projection_dim: i64 = 512,
    }
    ignored: ["initializer_factor"]
    validate: |config: &ClipVisionConfig| positive("clip_vision_model", &[("projection_dim", config.projection_dim)]);
}

crate::config! {
    /// Configuration of [`Clip`].
    pub struct ClipConfig("clip") {
        /// The text encoder.
        text_config: ClipTextConfig = ClipTextConfig::default(),
        /// The image encoder.
        vision_config: ClipVisionConfig = ClipVisionConfig::default(),
        /// Width of the space that texts and images share.
        projection_dim: i64 = 512,
    }
    ignored: ["logit_scale_init_value", "initializer_factor"]
    parts: ["text_config", "vision_config"]
    upgrade: upgrade;
    validate: |config: &ClipConfig| positive("clip", &[("projection_dim", config.projection_dim)]);
}

fn upgrade(fields: &mut Map<String, Value>, _: &ClipConfig) -> Result<()> {
    // Classes with a projection have the configuration of their part alone.
    let parts = [(ClipTextConfig::MODEL_TYPE, "text_config"), (ClipVisionConfig::MODEL_TYPE, "vision_config")];
    for (model_type, section) in parts {
        if fields.get("model_type").is_some_and(|given| given == model_type) {
            let part = std::mem::take(fields);
            fields.insert(section.to_owned(), part.into());
        }
    }
    // Older files have the parts a second time, and that is what counts.
    for (_, section) in parts {
        if let Some(dict @ Value::Object(_)) = fields.remove(&format!("{section}_dict")) {
            fields.insert(section.to_owned(), dict);
        }
    }
    upgrade_sections::<ClipTextConfig, ClipVisionConfig>(fields)
}

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

/// End token of configurations that name it wrongly.
const LEGACY_END: i64 = 2;

fn text(config: &ClipTextConfig, weights: &Weights) -> TextTower {
    let pooling = match config.eos_token_id {
        LEGACY_END => TextPooling::LargestId,
        end => TextPooling::Id(end),
    };
    TextTower::load(weights, &TextSpec::new(config, pooling))
}

fn image(config: &ClipVisionConfig, weights: &Weights) -> VisionTower {
    vision(weights, &vision_spec(config), vision_names())
}

impl Part for ClipText {
    fn load(config: &ClipTextConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(text(config, weights), Bare)))
    }
}

impl Part for ClipVision {
    fn load(config: &ClipVisionConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(image(config, weights), Bare)))
    }
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
        let at = weights.at("text_projection");
        let projection = Linear::load(&at, config.hidden_size, config.projection_dim, false);
        Ok(Box::new(Headed::new(text(config, weights), Projected { name: "text_embeds", projection })))
    }
}

impl Head<tasks::ImageEmbedding> for Clip {
    fn load(config: &ClipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let config = &config.vision_config;
        let at = weights.at("visual_projection");
        let projection = Linear::load(&at, config.hidden_size, config.projection_dim, false);
        Ok(Box::new(Headed::new(image(config, weights), Projected { name: "image_embeds", projection })))
    }
}

impl Head<tasks::ImageClassification> for Clip {
    fn load(config: &ClipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let width = config.vision_config.hidden_size;
        let head = Classifier::load(&weights.at("classifier"), Pooling::Mean { from: 1 }, width, config.num_labels);
        Ok(Box::new(Headed::new(image(&config.vision_config, weights), head)))
    }
}

impl Head<tasks::FeatureExtraction> for Clip {
    fn load(config: &ClipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let ClipConfig { text_config, vision_config, projection_dim: shared, .. } = config;
        let projection =
            Projection { text: text_config.hidden_size, image: vision_config.hidden_size, shared: *shared };
        let spec = DualSpec { projection: Some(projection), matching: Matching::Softmax, shows_projected: true };
        Ok(Box::new(Dual::load(weights, spec, text(text_config, weights), image(vision_config, weights))))
    }
}

impl Head<tasks::ZeroShotImageClassification> for Clip {
    fn load(config: &ClipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        <Self as Head<tasks::FeatureExtraction>>::load(config, weights)
    }
}
