use super::{VisionSpec, VitConfig, spec, tower};
use crate::config::{Size2d, positive};
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Features, Headed, Readout};
use crate::nn::{Activation, Perceptron, PoolingSpec, Positions};
use crate::tasks;
use crate::weights::Weights;
use crate::{Inputs, Outputs, Result};

crate::config! {
    /// Configuration of [`Yolos`].
    pub struct YolosConfig("yolos"): VitConfig {
        /// Tokens that each may become a box.
        num_detection_tokens: i64 = 100,
        /// Whether all layers but the first have positions of their own.
        use_mid_position_embeddings: bool = true,
    }
    defaults: { image_size: Size2d::Sides([512, 864]) }
    without: ["encoder_stride", "pooler_output_size", "pooler_act"]
    ignored: [
        "auxiliary_loss", "class_cost", "bbox_cost", "giou_cost", "bbox_loss_coefficient", "giou_loss_coefficient",
        "eos_coefficient",
    ]
    validate: |config: &YolosConfig| positive("yolos", &[("num_detection_tokens", config.num_detection_tokens)]);
}

/// YOLOS (Fang et al., 2021), ViT with detection tokens; `transformers.models.yolos`.
#[derive(Debug)]
pub struct Yolos;

impl Architecture for Yolos {
    type Config = YolosConfig;
}

/// YOLOS' encoder.
fn yolos(config: &YolosConfig) -> VisionSpec {
    let middle = config.use_mid_position_embeddings;
    let base = spec(config).with_patches(|patches| {
        patches.after = Some(("detection", config.num_detection_tokens));
        patches.positions = Positions::Grid;
        patches.layer_positions = if middle { config.num_hidden_layers - 1 } else { 0 };
    });
    VisionSpec { attention_mask: false, ..base }
}

impl Head<tasks::FeatureExtraction> for Yolos {
    fn load(config: &YolosConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let pooling = PoolingSpec::Dense { size: config.hidden_size, activation: Activation::Tanh };
        Ok(Box::new(Headed::new(tower(weights, "vit", &yolos(config).pooled(pooling)), Bare)))
    }
}

/// `logits` and `pred_boxes` (centre, width and height as parts of the image) of each detection token.
#[derive(Debug)]
struct Boxes {
    tokens: i64,
    classes: Perceptron,
    boxes: Perceptron,
}

impl Readout for Boxes {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let tokens = features.hidden.slice(1, -self.tokens, None, 1);
        Ok(Outputs::new()
            .with("logits", self.classes.forward(&tokens))
            .with("pred_boxes", self.boxes.forward(&tokens).sigmoid())
            .with("last_hidden_state", features.hidden.shallow_clone()))
    }
}

impl Head<tasks::ObjectDetection> for Yolos {
    fn load(config: &YolosConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let width = config.hidden_size;
        let perceptron = |name: &str, outputs| {
            Perceptron::load(&weights.at(name).at("layers"), &[width, width, width, outputs], Activation::Relu)
        };
        let head = Boxes {
            tokens: config.num_detection_tokens,
            // One more class: nothing there.
            classes: perceptron("class_labels_classifier", config.num_labels + 1),
            boxes: perceptron("bbox_predictor", 4),
        };
        Ok(Box::new(Headed::new(tower(weights, "vit", &yolos(config)), head)))
    }
}
