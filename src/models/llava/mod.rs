//! LLaVA and its heirs: features of a vision tower, projected into the token vectors of a language model.

mod config;

pub use config::{FeatureSelection, LlavaConfig};

use serde_json::Value;
use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::config::OneOrMore;
use crate::inputs::Argument;
use crate::model::{Architecture, Generation, Head, Module};
use crate::nn::heads::{Bare, Body, Features, Headed, NextToken};
use crate::nn::{Activation, Linear};
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, Result, auto, tasks};

/// LLaVA (Liu et al., 2023); `transformers.models.llava`.
#[derive(Debug)]
pub struct Llava;

impl Architecture for Llava {
    type Config = LlavaConfig;
}

/// Two layers that bring image features to the width of the language model.
#[derive(Debug)]
struct Projector {
    first: Linear,
    activation: Activation,
    second: Linear,
}

impl Projector {
    fn load(config: &LlavaConfig, weights: &Weights, inputs: i64, outputs: i64) -> Self {
        let bias = config.multimodal_projector_bias;
        Self {
            first: Linear::load(&weights.at("linear_1"), inputs, outputs, bias),
            activation: config.projector_hidden_act,
            second: Linear::load(&weights.at("linear_2"), outputs, outputs, bias),
        }
    }

    fn forward(&self, features: &Tensor) -> Tensor {
        self.second.forward(&self.activation.apply(&self.first.forward(features)))
    }
}

/// Vision tower, projector and language model: everything but the head.
#[derive(Debug)]
pub struct LlavaBody {
    config: LlavaConfig,
    vision: Box<dyn Module>,
    projector: Projector,
    text: Box<dyn Module>,
    width: i64,
    table: Weight,
}

impl LlavaBody {
    fn load(config: &LlavaConfig, weights: &Weights) -> Result<Self> {
        // Files on the hub have the parts at the root, later ones below `model`.
        let place = |part: &str| weights.either(&[part, &format!("model.{part}")]);
        let part = |field: &str, config: &Value, at: &str| {
            let module = auto::part(config, "feature-extraction", &place(at))?;
            let width = module.width().ok_or_else(|| {
                Error::config("llava", field, "the architecture returns no hidden states that another can build on")
            })?;
            Ok((module, width))
        };
        let (vision, vision_width) = part("vision_config", &config.vision_config, "vision_tower")?;
        let (text, width) = part("text_config", &config.text_config, "language_model")?;
        let table = text
            .table()
            .ok_or_else(|| Error::config("llava", "text_config", "the architecture has no table of token vectors"))?;
        let inputs = vision_width * config.vision_feature_layer.all().len() as i64;
        let projector = Projector::load(config, &place("multi_modal_projector"), inputs, width);
        Ok(Self { config: config.clone(), vision, projector, text, width, table })
    }

    /// Projected features of the images, `[images, features, hidden]`.
    fn image_features(&self, pixels: &Tensor, inputs: &Inputs) -> Result<Tensor> {
        let images = Inputs::new().with("pixel_values", pixels.shallow_clone()).with_flag("output_hidden_states", true);
        let outputs = self.vision.forward(&images, None)?;
        let states: Vec<&Tensor> =
            outputs.iter().filter(|(name, _)| name.starts_with("hidden_states.")).map(|(_, state)| state).collect();
        let skipped = match self.selection(inputs)? {
            FeatureSelection::Default => 1,
            FeatureSelection::Full => 0,
        };
        let feature = |layer: &i64| {
            let at = if *layer < 0 { layer + states.len() as i64 } else { *layer };
            let state = usize::try_from(at).ok().and_then(|at| states.get(at)).ok_or_else(|| {
                let message = format!("{layer}: the vision tower has hidden states 0 to {}", states.len() - 1);
                Error::config("llava", "vision_feature_layer", message)
            })?;
            Ok(state.narrow(1, skipped, state.size()[1] - skipped))
        };
        let layers = self.layers(inputs)?;
        let features = layers.all().iter().map(feature).collect::<Result<Vec<_>>>()?;
        Ok(self.projector.forward(&Tensor::cat(&features, -1)))
    }

    /// Whose hidden states are features: the call may say so, else the configuration does.
    fn layers(&self, inputs: &Inputs) -> Result<OneOrMore> {
        match inputs.flag("vision_feature_layer").filter(|flag| !flag.is_null()) {
            Some(flag) => serde_json::from_value(flag.clone())
                .map_err(|_| Error::input("vision_feature_layer", format!("is a number or a list, not {flag}"))),
            None => Ok(self.config.vision_feature_layer.clone()),
        }
    }

    /// Which tokens are features: as [`Self::layers`].
    fn selection(&self, inputs: &Inputs) -> Result<FeatureSelection> {
        let name = "vision_feature_select_strategy";
        match inputs.flag(name).filter(|flag| !flag.is_null()) {
            Some(flag) => serde_json::from_value(flag.clone())
                .map_err(|_| Error::input(name, format!("is \"default\" or \"full\", not {flag}"))),
            None => Ok(self.config.vision_feature_select_strategy),
        }
    }

    /// The token vectors with image features, in order, in the places of image tokens.
    fn insert(&self, vectors: &Tensor, places: &Tensor, features: &Tensor) -> Result<Tensor> {
        let (tokens, rows) = (places.sum(Kind::Int64).int64_value(&[]), features.size()[0] * features.size()[1]);
        if tokens != rows {
            let message = format!("holds {tokens} image tokens for {rows} image features");
            return Err(Error::input("input_ids", message));
        }
        Ok(vectors.masked_scatter(&places.unsqueeze(-1), &features.to_kind(vectors.kind())))
    }
}

impl Body for LlavaBody {
    fn arguments(&self) -> Vec<Argument> {
        let mut arguments = self.text.arguments();
        for mut argument in self.vision.arguments().into_iter().filter(|argument| argument.name == "pixel_values") {
            argument.required = false;
            arguments.push(argument.renamed("batch", "images"));
        }
        arguments
    }

    fn run(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Features> {
        let embed = |ids: &Tensor| self.text.embed(ids).ok_or_else(|| Error::input("input_ids", "cannot be embedded"));
        let (mut vectors, image_places) = match inputs.get("inputs_embeds") {
            Some(vectors) => {
                let image = Tensor::from_slice(&[self.config.image_token_index]).to_device(vectors.device());
                (vectors.shallow_clone(), vectors.eq_tensor(&embed(&image)?).all_dim(-1, false))
            }
            None => {
                let ids = inputs.need("input_ids")?;
                (embed(ids)?, ids.eq(self.config.image_token_index))
            }
        };
        let mut features = None;
        if let Some(pixels) = inputs.get("pixel_values") {
            let projected = self.image_features(pixels, inputs)?;
            vectors = self.insert(&vectors, &image_places, &projected)?;
            features = Some(projected.flatten(0, 1));
        }
        let mut text = inputs.clone().with("inputs_embeds", vectors);
        text.remove("input_ids");
        text.remove("pixel_values");
        let mut rest = self.text.forward(&text, cache)?;
        let hidden = rest
            .take("last_hidden_state")
            .ok_or_else(|| Error::config("llava", "text_config", "the architecture returns no last_hidden_state"))?;
        rest.extend(features.map(|features| ("image_hidden_states".to_owned(), features)));
        Ok(Features { hidden, pooled: None, rest })
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        self.text.embed(ids)
    }

    fn table(&self) -> Option<Weight> {
        Some(self.table.clone())
    }

    fn width(&self) -> Option<i64> {
        Some(self.width)
    }
}

impl Head<tasks::FeatureExtraction> for Llava {
    fn load(config: &LlavaConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(LlavaBody::load(config, weights)?, Bare)))
    }
}

impl Head<tasks::ImageTextToText> for Llava {
    fn load(config: &LlavaConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let body = LlavaBody::load(config, weights)?;
        let names = ["language_model.lm_head.weight", "lm_head.weight"];
        let stored = names.into_iter().find(|name| weights.has(name));
        let matrix = match (config.tie_word_embeddings, stored) {
            (true, None) => body.table.clone(),
            (true, Some(name)) => weights.weight_tied(name, &body.table),
            (false, stored) => weights.matrix(stored.unwrap_or(names[0]), &body.table.size()),
        };
        let head = NextToken(Linear::tied(matrix, None));
        Ok(Box::new(Headed::generating(body, head, Generation::DecoderOnly)))
    }
}
