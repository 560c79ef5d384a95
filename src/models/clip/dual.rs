use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::inputs::Argument;
use crate::model::Module;
use crate::nn::heads::{Body, Features, pooled};
use crate::nn::{Linear, unit};
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, Outputs, Result};

/// How the vectors of a text and an image are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DualSpec {
    /// How they come into one space; `None` where the encoders put them there.
    pub projection: Option<Projection>,
    /// What logits are made of cosines.
    pub matching: Matching,
    /// Whether the encoders' outputs show the projected vectors as `pooler_output`, or what is projected.
    pub shows_projected: bool,
}

/// Widths of the projections, which have no bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Projection {
    /// Of the texts' vectors.
    pub text: i64,
    /// Of the images'.
    pub image: i64,
    /// Of the space that they share.
    pub shared: i64,
}

/// How matching pairs are told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// By a softmax over all texts and one over all images: cosines are scaled (Radford et al., 2021).
    Softmax,
    /// Each pair by itself: cosines are scaled and shifted (SigLIP; Zhai et al., 2023).
    Sigmoid,
}

/// An encoder of texts and one of images, and how much every text is like every image.
#[derive(Debug)]
pub struct Dual {
    text: Box<dyn Body>,
    vision: Box<dyn Body>,
    /// Of texts and of images.
    projections: Option<(Linear, Linear)>,
    /// Logarithm of what cosines are multiplied by.
    logit_scale: Weight,
    /// What is added then; where there is one, each pair stands for itself.
    logit_bias: Option<Weight>,
    shows_projected: bool,
}

/// What both encoders make of their inputs.
#[derive(Debug)]
pub struct Towers {
    /// The text encoder's output.
    pub text: Features,
    /// The image encoder's.
    pub image: Features,
    /// The texts in the shared space, `[texts, shared]`.
    pub text_vectors: Tensor,
    /// The images there, `[images, shared]`.
    pub image_vectors: Tensor,
}

impl Dual {
    /// Puts `text` and `vision` together; loads `text_projection`, `visual_projection`, `logit_scale` and `logit_bias`,
    /// as far as `spec` has them.
    pub fn load(weights: &Weights, spec: DualSpec, text: impl Body + 'static, vision: impl Body + 'static) -> Self {
        let linear = |name: &str, width, shared| Linear::load(&weights.at(name), width, shared, false);
        let projections = spec.projection.map(|Projection { text, image, shared }| {
            (linear("text_projection", text, shared), linear("visual_projection", image, shared))
        });
        let (shape, shifted): (&[i64], _) = match spec.matching {
            Matching::Softmax => (&[], false),
            Matching::Sigmoid => (&[1], true),
        };
        Self {
            text: Box::new(text),
            vision: Box::new(vision),
            projections,
            logit_scale: weights.weight("logit_scale", shape),
            logit_bias: weights.weight_if(shifted, "logit_bias", shape),
            shows_projected: spec.shows_projected,
        }
    }

    /// Runs both encoders and brings their vectors into the shared space.
    ///
    /// # Errors
    /// Of the encoders.
    pub fn towers(&self, inputs: &Inputs) -> Result<Towers> {
        let image = self.vision.run(inputs, None)?;
        let text = self.text.run(inputs, None)?;
        let (text_vectors, image_vectors) = match &self.projections {
            Some((of_texts, of_images)) => (of_texts.forward(pooled(&text)?), of_images.forward(pooled(&image)?)),
            None => (pooled(&text)?.shallow_clone(), pooled(&image)?.shallow_clone()),
        };
        Ok(Towers { text, image, text_vectors, image_vectors })
    }

    /// The outputs of both encoders, below `text_model_output` and `vision_model_output`.
    pub fn tower_outputs(&self, towers: Towers) -> Outputs {
        let output = |features: Features, projected: Tensor| {
            let pooled = features.pooled.filter(|_| !self.shows_projected).unwrap_or(projected);
            let mut outputs = Outputs::new().with("last_hidden_state", features.hidden).with("pooler_output", pooled);
            outputs.extend(features.rest);
            outputs
        };
        let mut outputs = Outputs::new();
        outputs.insert_nested("text_model_output", output(towers.text, towers.text_vectors));
        outputs.insert_nested("vision_model_output", output(towers.image, towers.image_vectors));
        outputs
    }

    /// The mean loss where the pairs stand in order.
    fn loss(&self, logits_per_text: &Tensor) -> Result<Tensor> {
        let [texts, images] = logits_per_text.size()[..] else { return Err(Error::input("return_loss", "no pairs")) };
        if texts != images {
            let message = format!("needs as many texts as images, got {texts} texts and {images} images");
            return Err(Error::input("return_loss", message));
        }
        if self.logit_bias.is_some() {
            // 1 for the text and the image that belong together, -1 for all other pairs.
            let pair = Tensor::eye(texts, (logits_per_text.kind(), logits_per_text.device())) * 2.0 - 1.0;
            return Ok(-(pair * logits_per_text).log_sigmoid().sum(None) / texts as f64);
        }
        let own = Tensor::arange(texts, (Kind::Int64, logits_per_text.device()));
        let both = logits_per_text.cross_entropy_for_logits(&own) + logits_per_text.tr().cross_entropy_for_logits(&own);
        Ok(both / 2.0)
    }
}

impl Module for Dual {
    fn arguments(&self) -> Vec<Argument> {
        // There may be more texts than images.
        let texts = self.text.arguments().into_iter().map(|argument| argument.renamed("batch", "texts"));
        let mut arguments: Vec<_> = texts.collect();
        arguments.extend(self.vision.arguments());
        arguments
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let towers = self.towers(inputs)?;
        let (text_embeds, image_embeds) = (unit(&towers.text_vectors, 0.0), unit(&towers.image_vectors, 0.0));
        let scaled = text_embeds.matmul(&image_embeds.tr()) * self.logit_scale.exp();
        let logits_per_text = match &self.logit_bias {
            Some(bias) => scaled + &**bias,
            None => scaled,
        };
        let mut outputs = Outputs::new();
        if inputs.is_set("return_loss") {
            outputs.insert("loss", self.loss(&logits_per_text)?);
        }
        outputs.insert("logits_per_image", logits_per_text.tr());
        outputs.insert("logits_per_text", logits_per_text);
        outputs.insert("text_embeds", text_embeds);
        outputs.insert("image_embeds", image_embeds);
        outputs.extend(self.tower_outputs(towers));
        Ok(outputs)
    }
}
