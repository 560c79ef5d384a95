use tch::{Kind, Tensor};

use super::dual::{Dual, DualSpec, Matching, Projection};
use super::vision::{vision, vision_names, vision_spec};
use super::{TextConfig, TextPooling, TextSpec, TextTower, VisionConfig, upgrade_sections};
use crate::config::positive;
use crate::inputs::Argument;
use crate::model::{Architecture, Head, Module, Part};
use crate::models::vit::VisionTower;
use crate::nn::heads::{Bare, Headed};
use crate::nn::{Activation, Linear, Norm, NormSpec, Perceptron, unit};
use crate::weights::{NameTable, Weights};
use crate::{Cache, Error, Inputs, Outputs, Result, tasks};

crate::config! {
    /// Configuration of [`OwlVitText`].
    pub struct OwlVitTextConfig("owlvit_text_model"): TextConfig {}
    defaults: { max_position_embeddings: 16 }
    ignored: ["initializer_factor"]
}

crate::config! {
    /// Configuration of [`OwlVitVision`].
    pub struct OwlVitVisionConfig("owlvit_vision_model"): VisionConfig {}
    defaults: { image_size: 768 }
    ignored: ["initializer_factor"]
}

crate::config! {
    /// Configuration of [`OwlVit`].
    pub struct OwlVitConfig("owlvit") {
        /// The text encoder.
        text_config: OwlVitTextConfig = OwlVitTextConfig::default(),
        /// The image encoder.
        vision_config: OwlVitVisionConfig = OwlVitVisionConfig::default(),
        /// Width of the space that texts and images share.
        projection_dim: i64 = 512,
    }
    ignored: ["logit_scale_init_value", "initializer_factor"]
    parts: ["text_config", "vision_config"]
    upgrade: |fields, _: &_| upgrade_sections::<OwlVitTextConfig, OwlVitVisionConfig>(fields);
    validate: |config: &OwlVitConfig| positive("owlvit", &[("projection_dim", config.projection_dim)]);
}

/// OWL-ViT (Minderer et al., 2022); `transformers.models.owlvit`.
#[derive(Debug)]
pub struct OwlVit;

/// Its text encoder.
#[derive(Debug)]
pub struct OwlVitText;

/// Its image encoder.
#[derive(Debug)]
pub struct OwlVitVision;

impl Architecture for OwlVit {
    type Config = OwlVitConfig;
}

impl Architecture for OwlVitText {
    type Config = OwlVitTextConfig;
}

impl Architecture for OwlVitVision {
    type Config = OwlVitVisionConfig;
}

/// Where the encoders are: files of detectors, which all on the hub are, have them below `owlvit`.
fn base(weights: &Weights) -> Weights {
    weights.either(&["owlvit", ""])
}

fn text(config: &OwlVitTextConfig, weights: &Weights) -> TextTower {
    TextTower::load(weights, &TextSpec::new(config, TextPooling::LargestId))
}

fn image(config: &OwlVitVisionConfig, weights: &Weights) -> VisionTower {
    vision(weights, &vision_spec(config), vision_names().name("embedding_norm", "pre_layernorm"))
}

fn dual(config: &OwlVitConfig, weights: &Weights) -> Dual {
    let OwlVitConfig { text_config, vision_config, projection_dim: shared, .. } = config;
    let projection = Projection { text: text_config.hidden_size, image: vision_config.hidden_size, shared: *shared };
    let spec = DualSpec { projection: Some(projection), matching: Matching::Softmax, shows_projected: false };
    Dual::load(weights, spec, text(text_config, weights), image(vision_config, weights))
}

impl Part for OwlVitText {
    fn load(config: &OwlVitTextConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(text(config, &base(weights)), Bare)))
    }
}

impl Part for OwlVitVision {
    fn load(config: &OwlVitVisionConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(image(config, &base(weights)), Bare)))
    }
}

impl Head<tasks::FeatureExtraction> for OwlVit {
    fn load(config: &OwlVitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(dual(config, &base(weights))))
    }
}

/// Each vector divided by its length and a little.
fn near_unit(x: &Tensor) -> Tensor {
    x / (x.square().sum_dim_intlist([-1].as_slice(), true, None::<Kind>).sqrt() + 1e-6)
}

/// How much each patch is like each query, on a scale that the patch chooses.
#[derive(Debug)]
struct ClassHead {
    embed: Linear,
    shift: Linear,
    scale: Linear,
}

impl ClassHead {
    /// Loads `dense0`, from `width` to the width of queries, `logit_shift` and `logit_scale`.
    fn load(weights: &Weights, width: i64, queries: i64) -> Self {
        let linear = |name: &str, outputs| Linear::load(&weights.at(name), width, outputs, true);
        Self { embed: linear("dense0", queries), shift: linear("logit_shift", 1), scale: linear("logit_scale", 1) }
    }

    /// The vectors of `patches` (`[batch, patches, width]`) among `queries` (`[batch, queries, width of queries]`), and
    /// the logits `[batch, patches, queries]` in float32; the lowest number for queries that `real` (`[batch, queries]`) denies.
    fn forward(&self, patches: &Tensor, queries: &Tensor, real: &Tensor) -> (Tensor, Tensor) {
        let embeds = near_unit(&self.embed.forward(patches));
        let cosines = embeds.matmul(&near_unit(queries).transpose(1, 2));
        let scale = Activation::Elu.apply(&self.scale.forward(patches)) + 1.0;
        let logits = (cosines + self.shift.forward(patches)) * scale;
        let logits = logits.to_kind(Kind::Float);
        let denied = Tensor::full([], f64::from(f32::MIN), (Kind::Float, logits.device()));
        let logits = logits.where_self(&real.unsqueeze(1), &denied);
        (embeds, logits)
    }
}

/// The boxes of the patches themselves, before the logistic function: `[patches, 4]`, where the corner at the far end
/// counts as the centre.
fn own_boxes([rows, columns]: [i64; 2], device: tch::Device) -> Tensor {
    let options = (Kind::Float, device);
    let logit = |x: Tensor| (&x + 1e-4).log() - (-x + 1e-4).log1p();
    let ends = |count: i64| logit(Tensor::arange_start(1, count + 1, options) / count as f64);
    let x = ends(columns).repeat([rows]);
    let y = ends(rows).repeat_interleave_self_int(columns, 0, None);
    let size = |count: i64| logit(Tensor::full([rows * columns], 1.0 / count as f64, options));
    Tensor::stack(&[x, y, size(columns), size(rows)], -1)
}

/// Classes, named by texts, and boxes of the objects that patches stand for.
#[derive(Debug)]
struct Detection {
    dual: Dual,
    /// The norm after the image encoder, of all tokens.
    norm: Norm,
    /// Normalises patches times the class token.
    merged_norm: Norm,
    classes: ClassHead,
    /// Centre, width and height of a patch's box, before the logistic function and as seen from the patch itself.
    boxes: Perceptron,
    config: OwlVitConfig,
}

impl Detection {
    /// Rows and columns of patches.
    fn grid(&self, inputs: &Inputs) -> Result<[i64; 2]> {
        let OwlVitVisionConfig { base: VisionConfig { image_size, patch_size, .. }, .. } = self.config.vision_config;
        Ok(match inputs.is_set("interpolate_pos_encoding") {
            true => {
                let size = inputs.need("pixel_values")?.size();
                [size[2] / patch_size, size[3] / patch_size]
            }
            false => [image_size / patch_size; 2],
        })
    }
}

impl Module for Detection {
    fn arguments(&self) -> Vec<Argument> {
        self.dual.arguments()
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let grid @ [rows, columns] = self.grid(inputs)?;
        let towers = self.dual.towers(inputs)?;
        let tokens = self.norm.forward(&towers.image.hidden);
        let [batch, count, width] = tokens.size()[..] else { return Err(Error::input("pixel_values", "no images")) };
        let patches = tokens.narrow(1, 1, count - 1) * tokens.narrow(1, 0, 1);
        let patches = self.merged_norm.forward(&patches);

        let ids = inputs.need("input_ids")?;
        let texts = ids.size()[0];
        if texts % batch != 0 {
            let message = format!("has {texts} texts, which {batch} images cannot share evenly");
            return Err(Error::input("input_ids", message));
        }
        let text_embeds = unit(&towers.text_vectors, 0.0).view([batch, texts / batch, -1]);
        // A query whose first token is 0 fills up the list of its image.
        let real = ids.select(1, 0).gt(0).view([batch, texts / batch]);
        let (class_embeds, logits) = self.classes.forward(&patches, &text_embeds, &real);
        let own = own_boxes(grid, patches.device()).to_kind(patches.kind());
        let mut outputs = Outputs::new()
            .with("logits", logits)
            .with("pred_boxes", (self.boxes.forward(&patches) + own).sigmoid())
            .with("text_embeds", text_embeds)
            .with("image_embeds", patches.view([batch, rows, columns, width]))
            .with("class_embeds", class_embeds);
        outputs.extend(self.dual.tower_outputs(towers));
        Ok(outputs)
    }
}

impl Head<tasks::ZeroShotObjectDetection> for OwlVit {
    fn load(config: &OwlVitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let (width, queries) = (config.vision_config.hidden_size, config.text_config.hidden_size);
        if config.projection_dim != queries {
            let message = format!("{} must be the text encoder's `hidden_size` ({queries})", config.projection_dim);
            return Err(Error::config("owlvit", "projection_dim", message));
        }
        let norm = NormSpec::layer(config.vision_config.layer_norm_eps);
        let base = base(weights);
        let dense = NameTable::new().names(&[("0", "dense0"), ("1", "dense1"), ("2", "dense2")]);
        let boxes = weights.at("box_head").named(dense);
        Ok(Box::new(Detection {
            dual: dual(config, &base),
            norm: Norm::load(&base.at("vision_model.post_layernorm"), norm, width),
            merged_norm: Norm::load(&weights.at("layer_norm"), norm, width),
            classes: ClassHead::load(&weights.at("class_head"), width, queries),
            boxes: Perceptron::load(&boxes, &[width, width, width, 4], Activation::Gelu),
            config: config.clone(),
        }))
    }
}
