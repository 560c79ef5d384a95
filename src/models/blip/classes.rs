use tch::{Reduction, Tensor};

use super::{Blip, BlipConfig, crossing, vision};
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Generation, Head, Module};
use crate::models::bert::{EncoderBody, EncoderSpec};
use crate::models::vit::VisionTower;
use crate::nn::heads::{Body, Features, Headed, Prediction, Readout, last_tokens};
use crate::nn::{Linear, unit};
use crate::weights::Weights;
use crate::{Cache, CacheFormula, Error, Inputs, Outputs, Result, tasks};

/// The image of a class: the states of its patches, and the outputs that show them.
fn look(vision: &VisionTower, inputs: &Inputs) -> Result<(Tensor, Outputs)> {
    let image = vision.run(inputs, None)?;
    let mut outputs = Outputs::new().with("last_hidden_state", image.hidden.shallow_clone());
    outputs.extend(image.rest);
    Ok((image.hidden, outputs))
}

/// The same for a class that shows the states as `image_embeds`, too.
fn embed(vision: &VisionTower, inputs: &Inputs) -> Result<(Tensor, Outputs)> {
    let (image, rest) = look(vision, inputs)?;
    let mut outputs = Outputs::new().with("image_embeds", image.shallow_clone());
    outputs.extend(rest);
    Ok((image, outputs))
}

/// The arguments of a text model whose cross attention looks at what the class itself computes.
fn own(text: &EncoderBody) -> impl Iterator<Item = Argument> {
    text.arguments().into_iter().filter(|argument| !argument.name.starts_with("encoder_"))
}

/// The image, which only the first step of a generation needs.
fn image(vision: &VisionTower) -> impl Iterator<Item = Argument> {
    vision.arguments().into_iter().map(|argument| Argument { required: false, ..argument })
}

/// The targets of the loss, one for each of the `tokens`.
fn labels(tokens: &'static str) -> Argument {
    Argument::optional("labels", Values::Integer, &[Dim::Named("batch"), Dim::Named(tokens)])
}

/// `inputs` of a text model with `memory` in view of its cross attention.
fn viewing(inputs: Inputs, memory: &Tensor) -> Inputs {
    inputs.with("encoder_hidden_states", memory.shallow_clone())
}

/// A text model that goes on writing about an image.
#[derive(Debug)]
struct Captioner {
    vision: VisionTower,
    text: EncoderBody,
}

impl Body for Captioner {
    fn arguments(&self) -> Vec<Argument> {
        own(&self.text).chain(image(&self.vision)).chain([labels("tokens")]).collect()
    }

    fn run(&self, inputs: &Inputs, mut cache: Option<&mut Cache>) -> Result<Features> {
        let kept = cache.as_ref().and_then(|cache| cache.encoded.as_ref()).map(Tensor::shallow_clone);
        let (image, rest) = match (kept, inputs.get("pixel_values")) {
            (Some(image), None) => (image, Outputs::new()),
            _ => embed(&self.vision, inputs)?,
        };
        if let Some(cache) = cache.as_deref_mut() {
            cache.encoded = Some(image.shallow_clone());
        }
        let text = self.text.run(&viewing(inputs.clone(), &image), cache)?;
        Ok(Features { hidden: text.hidden, pooled: None, rest })
    }

    fn cache_formula(&self) -> CacheFormula {
        self.text.formula_with_memory()
    }
}

/// A text model that reads a question about an image, and one that writes the answer to what the first one understood.
#[derive(Debug)]
struct Answerer {
    vision: VisionTower,
    question: EncoderBody,
    answer: EncoderBody,
}

impl Answerer {
    /// What the text model makes of the question, with the image in view; and the outputs that show the image.
    fn understand(&self, inputs: &Inputs) -> Result<(Tensor, Outputs)> {
        let (image, rest) = embed(&self.vision, inputs)?;
        let question = self.question.run(&viewing(inputs.clone(), &image), None)?;
        Ok((question.hidden, rest))
    }
}

impl Body for Answerer {
    fn arguments(&self) -> Vec<Argument> {
        // The answer has arguments of its own, and may be told by its targets.
        let answer = self.answer.arguments().into_iter().filter_map(|argument| {
            let name = match argument.name {
                "input_ids" => "decoder_input_ids",
                "attention_mask" => "decoder_attention_mask",
                _ => return None,
            };
            let argument = argument.renamed("tokens", "target tokens").renamed("all tokens", "all target tokens");
            Some(Argument { name, ..argument })
        });
        own(&self.question).chain(image(&self.vision)).chain(answer).chain([labels("target tokens")]).collect()
    }

    fn run(&self, inputs: &Inputs, mut cache: Option<&mut Cache>) -> Result<Features> {
        let ids = inputs.get("decoder_input_ids").or(inputs.get("labels"));
        let ids = ids.ok_or_else(|| Error::input("decoder_input_ids", "is missing; give it or `labels`"))?;
        let kept = cache.as_ref().and_then(|cache| cache.encoded.as_ref()).map(Tensor::shallow_clone);
        let (question, rest) = match kept {
            Some(question) => (question, Outputs::new()),
            None => self.understand(inputs)?,
        };
        if let Some(cache) = cache.as_deref_mut() {
            cache.encoded = Some(question.shallow_clone());
        }
        let answer = Inputs::new()
            .with("input_ids", ids.shallow_clone())
            .with_opt("attention_mask", inputs.get("decoder_attention_mask"));
        let answer = self.answer.run(&viewing(answer, &question), cache)?;
        Ok(Features { hidden: answer.hidden, pooled: None, rest })
    }

    fn cache_formula(&self) -> CacheFormula {
        self.answer.formula_with_memory()
    }
}

/// `logits` of the next token, and where there are `labels` the `loss` of predicting each of them from what comes before
/// it.
#[derive(Debug)]
struct Words {
    prediction: Prediction,
    smoothing: f64,
}

impl Words {
    fn load(config: &BlipConfig, spec: &EncoderSpec, weights: &Weights, text: &EncoderBody) -> Self {
        let at = weights.named(spec.names.heads.clone()).at("prediction");
        let prediction = Prediction::load(&at, spec.heads.prediction, &text.words());
        Self { prediction, smoothing: config.text_config.label_smoothing }
    }

    fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let [_, tokens, vocabulary] = logits.size()[..] else { return Err(Error::input("labels", "no logits")) };
        if labels.size()[1] != tokens {
            let message = format!("has {} tokens, the logits {tokens}", labels.size()[1]);
            return Err(Error::input("labels", message));
        }
        let logits = logits.narrow(1, 0, tokens - 1).reshape([-1, vocabulary]);
        let targets = labels.narrow(1, 1, tokens - 1).reshape([-1]);
        Ok(logits.cross_entropy_loss(&targets, None::<&Tensor>, Reduction::Mean, -100, self.smoothing))
    }
}

impl Readout for Words {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let logits = self.prediction.forward(&last_tokens(&features.hidden, inputs));
        let mut outputs = Outputs::new();
        if let Some(labels) = inputs.get("labels") {
            outputs.insert("loss", self.loss(&logits, labels)?);
        }
        Ok(outputs.with("logits", logits))
    }
}

/// The text model `place` of a class.
fn text(spec: &EncoderSpec, weights: &Weights, causal: bool) -> EncoderBody {
    let mut spec = spec.clone();
    spec.layers.causal = causal;
    EncoderBody::load(&spec, weights, &[if causal { "bert" } else { "" }], None)
}

impl Head<tasks::ImageTextToText> for Blip {
    fn load(config: &BlipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let (spec, decoder) = (crossing(config)?, weights.at("text_decoder"));
        let body = Captioner { vision: vision(&config.vision_config, weights), text: text(&spec, &decoder, true) };
        let head = Words::load(config, &spec, &decoder, &body.text);
        Ok(Box::new(Headed::generating(body, head, Generation::DecoderOnly)))
    }
}

impl Head<tasks::VisualQuestionAnswering> for Blip {
    fn load(config: &BlipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let (spec, decoder) = (crossing(config)?, weights.at("text_decoder"));
        let (width, image) = (config.text_config.hidden_size, config.vision_config.hidden_size);
        if width != image {
            let message = format!(
                "{width} must be that of the images ({image}): the layers that look at images look at questions, too"
            );
            return Err(Error::config("blip", "text_config.hidden_size", message));
        }
        let body = Answerer {
            vision: vision(&config.vision_config, weights),
            question: text(&spec, &weights.at("text_encoder"), false),
            answer: text(&spec, &decoder, true),
        };
        let head = Words::load(config, &spec, &decoder, &body.answer);
        let generation = Generation::EncoderDecoder { start: config.text_config.bos_token_id, encodes: "input_ids" };
        Ok(Box::new(Headed::generating(body, head, generation)))
    }
}

/// Vectors shorter than this count as this long where they are compared.
const SHORTEST: f64 = 1e-12;

/// Whether a text belongs to an image.
#[derive(Debug)]
struct Matcher {
    vision: VisionTower,
    text: EncoderBody,
    vision_projection: Linear,
    text_projection: Linear,
    /// Scores of "no" and "yes".
    matching: Linear,
}

impl Module for Matcher {
    fn arguments(&self) -> Vec<Argument> {
        own(&self.text).chain(self.vision.arguments()).collect()
    }

    /// `itm_score` of each pair, from the text read with the image in view; with `use_itm_head` false of every image
    /// with every text, each looked at alone.
    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let (image, rest) = look(&self.vision, inputs)?;
        let alone = inputs.flag("use_itm_head").and_then(serde_json::Value::as_bool) == Some(false);
        let text = match alone {
            true => self.text.run(inputs, None)?.hidden,
            false => self.text.run(&viewing(inputs.clone(), &image), None)?.hidden,
        };
        let first = |states: &Tensor| states.select(1, 0);
        let score = match alone {
            true => {
                let image = unit(&self.vision_projection.forward(&first(&image)), SHORTEST);
                image.matmul(&unit(&self.text_projection.forward(&first(&text)), SHORTEST).tr())
            }
            false => self.matching.forward(&first(&text)),
        };
        let mut outputs = Outputs::new().with("itm_score", score);
        outputs.extend(rest);
        Ok(outputs.with("question_embeds", text))
    }
}

impl Head<tasks::ImageTextRetrieval> for Blip {
    fn load(config: &BlipConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let (width, shared) = (config.text_config.hidden_size, config.image_text_hidden_size);
        let linear = |name: &str, inputs, outputs| Linear::load(&weights.at(name), inputs, outputs, true);
        Ok(Box::new(Matcher {
            vision: vision(&config.vision_config, weights),
            text: text(&crossing(config)?, &weights.at("text_encoder"), false),
            vision_projection: linear("vision_proj", config.vision_config.hidden_size, shared),
            text_projection: linear("text_proj", width, shared),
            matching: linear("itm_head", width, 2),
        }))
    }
}
