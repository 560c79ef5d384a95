//! Models that read more than text: what encoders make of images, video or audio takes the places of placeholders among
//! the tokens of a language model.
//!
//! What varies, and where:
//!
//! - the encoder and what of it are features: any tower of the roster with some of its layers side by side ([`Images`]),
//!   or a [`Source`] of its own, which also says which inputs it reads, how features become fewer (merged or shuffled
//!   patches, pooled frames) and how padding in them is left out;
//! - how features come to the width of the language model: [`Projector`];
//! - which token holds their place: [`Found::placeholder`]; putting them there is the same for all;
//! - the language model: any decoder of the roster ([`Text`]);
//! - where tokens stand: [`PositionRule`];
//! - which tokens see each other: [`MaskRule`].
//!
//! Each architecture has a file that says what it chooses: `llava`, `paligemma`, `idefics3`, `qwen2_audio`, `qwen2_vl`.

mod grids;
mod idefics3;
mod images;
mod llava;
mod paligemma;
mod projector;
mod qwen2_audio;
mod qwen2_vl;

pub use grids::{GridPositions, grids};
pub use idefics3::{Idefics3, Idefics3Config, Idefics3Vision, Idefics3VisionConfig};
pub use images::{FeatureSelection, Images, Pick};
pub use llava::{Llava, LlavaConfig};
pub use paligemma::{PaliGemma, PaliGemmaConfig};
pub use projector::Projector;
pub use qwen2_audio::{Qwen2Audio, Qwen2AudioConfig, Qwen2AudioEncoder, Qwen2AudioEncoderConfig};
pub use qwen2_vl::{
    GridRope, Qwen2Vl, Qwen2VlConfig, Qwen2VlText, Qwen2VlTextConfig, Qwen2VlVision, Qwen2VlVisionConfig,
    VisionTransformer,
};

use std::fmt::Debug;

use serde_json::{Map, Value};
use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::decoder::Vocabulary;
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Generation, Module};
use crate::nn::Linear;
use crate::nn::heads::{Bare, Body, Features, Headed};
use crate::weights::Weights;
use crate::{Cache, CacheFormula, Error, Inputs, Outputs, Result, auto};

/// What makes features of images, video or audio.
pub trait Source: Debug + Send + Sync {
    /// The arguments that it reads; a pass over text alone needs none of them.
    fn arguments(&self) -> Vec<Argument>;

    /// What it makes of `inputs`; nothing where they hold none of its arguments.
    fn features(&self, inputs: &Inputs) -> Result<Vec<Found>>;
}

/// Features, and where they belong.
#[derive(Debug)]
pub struct Found {
    /// The token whose places they take, each that of one.
    pub placeholder: i64,
    /// `[features, hidden]`, in the order of their places.
    pub features: Tensor,
    /// What the class returns of them.
    pub shown: Outputs,
}

/// The language model: any decoder of the roster.
#[derive(Debug)]
pub struct Text {
    /// The whole model, for messages.
    model_type: &'static str,
    module: Box<dyn Module>,
    width: i64,
    table: Weight,
}

impl Text {
    /// The decoder that `config` names, as `text_config` of `model_type`, with the weights at `weights`.
    ///
    /// # Errors
    /// When the roster has no such decoder, or it cannot be built on.
    pub fn load(model_type: &'static str, config: &Value, weights: &Weights) -> Result<Self> {
        Self::of(model_type, auto::part(config, "feature-extraction", weights)?)
    }

    /// `module` as the language model of `model_type`.
    ///
    /// # Errors
    /// When it returns no hidden states, or has no table of token vectors.
    pub fn of(model_type: &'static str, module: Box<dyn Module>) -> Result<Self> {
        let lacks = |what: &str| Error::config(model_type, "text_config", format!("the architecture has no {what}"));
        let width = module.width().ok_or_else(|| lacks("hidden states that another can build on"))?;
        let table = module.table().ok_or_else(|| lacks("table of token vectors"))?;
        Ok(Self { model_type, module, width, table })
    }

    /// Width of its hidden states.
    pub fn width(&self) -> i64 {
        self.width
    }
}

/// Where tokens stand.
#[derive(Debug)]
pub enum PositionRule {
    /// As the language model counts them.
    Counted,
    /// Counted from 1.
    FromOne,
    /// Those of images and videos on a grid.
    Grids(GridPositions),
}

/// Which tokens see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskRule {
    /// As the language model has it.
    Text,
    /// Those before the text that is to be learned, 0 in `token_type_ids`, see each other both ways.
    Prefix {
        /// Whether all do where nothing is said, as long as none is padding.
        whole: bool,
    },
}

/// Encoder and language model: everything but the head.
#[derive(Debug)]
pub struct Multimodal {
    source: Box<dyn Source>,
    /// Names of the arguments that are not the language model's.
    foreign: Vec<&'static str>,
    text: Text,
    positions: PositionRule,
    mask: MaskRule,
    shows_mask: bool,
}

impl Multimodal {
    /// `text` with what `source` makes in the places of its tokens.
    pub fn new(text: Text, source: impl Source + 'static) -> Self {
        let foreign = source.arguments().iter().map(|argument| argument.name).collect();
        Self {
            source: Box::new(source),
            foreign,
            text,
            positions: PositionRule::Counted,
            mask: MaskRule::Text,
            shows_mask: false,
        }
    }

    /// The same with tokens where `rule` says.
    pub fn with_positions(mut self, rule: PositionRule) -> Self {
        if let PositionRule::Grids(_) = rule {
            self.foreign.push(GridPositions::TYPES);
        }
        Self { positions: rule, ..self }
    }

    /// The same with tokens that see each other as `rule` says.
    pub fn with_mask(mut self, rule: MaskRule) -> Self {
        if let MaskRule::Prefix { .. } = rule {
            self.foreign.push("token_type_ids");
        }
        Self { mask: rule, ..self }
    }

    /// The same returning `attention_mask` with its outputs.
    pub fn showing_mask(self) -> Self {
        Self { shows_mask: true, ..self }
    }

    /// The class without a head.
    pub fn bare(self) -> Box<dyn Module> {
        Box::new(Headed::new(self, Bare))
    }

    /// The class with a head over the vocabulary, which has the first of `names` that the checkpoint has or, where
    /// `tied` and there is none, the table of token vectors; logits approach `softcap` where there is such a bound.
    pub fn generating(self, weights: &Weights, names: &[&str], tied: bool, softcap: Option<f64>) -> Box<dyn Module> {
        let table = &self.text.table;
        let vocabulary = table.size().first().copied().unwrap_or(0);
        let stored = names.iter().find(|name| weights.has(name));
        let matrix = match (tied, stored) {
            (true, None) => weights.laid_out(table),
            (true, Some(name)) => weights.matrix_tied(name, table),
            (false, stored) => weights.matrix(stored.or(names.first()).unwrap_or(&""), [vocabulary, self.text.width]),
        };
        let head = Vocabulary::new(Linear::of(matrix, None), softcap);
        Box::new(Headed::generating(self, head, Generation::DecoderOnly))
    }

    fn embedded(&self, ids: &Tensor) -> Result<Tensor> {
        self.text.module.embed(ids).ok_or_else(|| Error::input("input_ids", "cannot be embedded"))
    }

    /// The token vectors with `found` in the places of their tokens.
    fn insert(&self, vectors: &Tensor, ids: Option<&Tensor>, found: &Found) -> Result<Tensor> {
        let Found { placeholder, features, .. } = found;
        let vocabulary = self.text.table.size()[0];
        if !(0..vocabulary).contains(placeholder) {
            let message = format!("{placeholder} stands for features and is none of the {vocabulary} tokens");
            return Err(Error::config(self.text.model_type, "text_config.vocab_size", message));
        }
        let places = match ids {
            Some(ids) => ids.eq(*placeholder),
            None => {
                let id = Tensor::from_slice(&[*placeholder]).to_device(vectors.device());
                vectors.eq_tensor(&self.embedded(&id)?).all_dim(-1, false)
            }
        };
        let (tokens, rows) = (places.sum(Kind::Int64).int64_value(&[]), features.size()[0]);
        if tokens != rows {
            let message = format!("holds {tokens} tokens {placeholder} for {rows} features, each of which needs one");
            return Err(Error::input("input_ids", message));
        }
        Ok(vectors.masked_scatter(&places.unsqueeze(-1), &features.to_kind(vectors.kind())))
    }

    /// The blocks of tokens that see each other both ways, `[batch, tokens]`.
    fn blocks(&self, inputs: &Inputs, (batch, tokens): (i64, i64), past: i64) -> Option<Tensor> {
        let MaskRule::Prefix { whole } = self.mask else { return None };
        let mask = inputs.get("attention_mask");
        match inputs.get("token_type_ids") {
            Some(types) if past == 0 => Some(types.to_kind(Kind::Bool).to_kind(Kind::Int64).neg()),
            None if whole && past == 0 && mask.is_none_or(|mask| mask.all().int64_value(&[]) != 0) => {
                Some(Tensor::zeros([batch, tokens], (Kind::Int64, self.text.table.device())))
            }
            _ => None,
        }
    }
}

impl Body for Multimodal {
    fn arguments(&self) -> Vec<Argument> {
        let mut arguments = self.text.module.arguments();
        arguments.extend(self.source.arguments());
        let per_token = |name, values| Argument::optional(name, values, &[Dim::Named("batch"), Dim::Named("tokens")]);
        if let PositionRule::Grids(_) = self.positions {
            arguments.push(per_token(GridPositions::TYPES, Values::Ids(3)));
        }
        if let MaskRule::Prefix { .. } = self.mask {
            arguments.push(per_token("token_type_ids", Values::Mask));
        }
        arguments
    }

    fn run(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Features> {
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let mut text = inputs.clone();
        self.foreign.iter().for_each(|name| drop(text.remove(name)));
        let ids = text.remove("input_ids");
        let mut vectors = match (&ids, inputs.get("inputs_embeds")) {
            (Some(_), Some(_)) => {
                return Err(Error::input("inputs_embeds", "stands in place of `input_ids`; got both"));
            }
            (None, Some(vectors)) => vectors.shallow_clone(),
            _ => self.embedded(inputs.need("input_ids")?)?,
        };
        let found = self.source.features(inputs)?;
        for found in &found {
            vectors = self.insert(&vectors, ids.as_ref(), found)?;
        }
        let size = (vectors.size()[0], vectors.size()[1]);
        let mut cache = cache;
        if inputs.get("position_ids").is_none() {
            let positions = match &self.positions {
                PositionRule::Counted => None,
                PositionRule::FromOne => {
                    let counted = Tensor::arange_start(past + 1, past + size.1 + 1, (Kind::Int64, vectors.device()));
                    Some(counted.unsqueeze(0))
                }
                PositionRule::Grids(rule) => rule.of(inputs, size, cache.as_deref_mut())?,
            };
            positions.into_iter().for_each(|positions| text.insert("position_ids", positions));
        }
        let blocks = self.blocks(inputs, size, past);
        let text = text.with("inputs_embeds", vectors).with_opt("block_sequence_ids", blocks.as_ref());
        let mut rest = self.text.module.forward(&text, cache)?;
        let hidden = rest.take("last_hidden_state").ok_or_else(|| {
            Error::config(self.text.model_type, "text_config", "the architecture returns no last_hidden_state")
        })?;
        if let Some(mask) = inputs.get("attention_mask").filter(|_| self.shows_mask) {
            rest.insert("attention_mask", mask.shallow_clone());
        }
        found.into_iter().for_each(|found| rest.extend(found.shown));
        Ok(Features { hidden, pooled: None, rest })
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        self.text.module.embed(ids)
    }

    fn table(&self) -> Option<Weight> {
        Some(self.text.table.clone())
    }

    fn width(&self) -> Option<i64> {
        Some(self.text.width)
    }

    fn renewed_beyond(&self) -> Option<i64> {
        self.text.module.renewed_beyond()
    }

    fn cache_formula(&self) -> CacheFormula {
        self.text.module.cache_formula()
    }

    fn reads_both_ways(&self) -> bool {
        self.mask != MaskRule::Text
    }
}

/// A tower of the roster, and the width of its hidden states.
///
/// # Errors
/// When the roster has none that `config`, the section `field` of `model_type`, names, or it cannot be built on.
pub fn tower(model_type: &str, field: &str, config: &Value, weights: &Weights) -> Result<(Box<dyn Module>, i64)> {
    let module = auto::part(config, "feature-extraction", weights)?;
    let lacks = "the architecture returns no hidden states that another can build on";
    let width = module.width().ok_or_else(|| Error::config(model_type, field, lacks))?;
    Ok((module, width))
}

/// Older files say that the head is tied in the language model's section alone.
fn lift_tie(fields: &mut Map<String, Value>) {
    let text = fields.get("text_config").and_then(|text| text.get("tie_word_embeddings"));
    if text.and_then(Value::as_bool) == Some(true) {
        fields.insert("tie_word_embeddings".into(), true.into());
    }
}

/// Checks that `token`, the field `field` of `model_type`, can be a token.
fn is_token(model_type: &str, field: &str, token: i64) -> Result<()> {
    match token {
        0.. => Ok(()),
        _ => Err(Error::config(model_type, field, format!("must be a token of the vocabulary, got {token}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::inputs::validate;

    /// A language model of two tokens' width and a source of nothing.
    fn prefixed(whole: bool) -> Multimodal {
        #[derive(Debug)]
        struct Nothing;
        impl Source for Nothing {
            fn arguments(&self) -> Vec<Argument> {
                Vec::new()
            }
            fn features(&self, _: &Inputs) -> Result<Vec<Found>> {
                Ok(Vec::new())
            }
        }
        let config = json!({
            "model_type": "llama", "vocab_size": 5, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 1,
        });
        let text = Text::load("toy", &config, &Weights::nothing()).unwrap();
        Multimodal::new(text, Nothing).with_mask(MaskRule::Prefix { whole })
    }

    fn blocks(model: &Multimodal, inputs: &Inputs, past: i64) -> Option<Vec<i64>> {
        model.blocks(inputs, (1, 3), past).map(|blocks| Vec::try_from(blocks.flatten(0, -1)).unwrap())
    }

    #[test]
    fn without_types_all_tokens_see_each_other_unless_one_is_padding() {
        let mask = |mask: [i64; 3]| Inputs::new().with("attention_mask", Tensor::from_slice(&mask).unsqueeze(0));
        let types = |inputs: Inputs| inputs.with("token_type_ids", Tensor::from_slice(&[0i64, 0, 1]).unsqueeze(0));
        let (whole, not) = (prefixed(true), prefixed(false));
        assert_eq!(blocks(&whole, &Inputs::new(), 0), Some(vec![0; 3]));
        assert_eq!(blocks(&whole, &mask([1, 1, 1]), 0), Some(vec![0; 3]));
        assert_eq!(blocks(&whole, &mask([0, 1, 1]), 0), None);
        assert_eq!(blocks(&whole, &Inputs::new(), 2), None);
        assert_eq!(blocks(&not, &Inputs::new(), 0), None);
        assert_eq!(blocks(&not, &types(mask([0, 1, 1])), 0), Some(vec![0, 0, -1]));
    }

    #[test]
    fn arguments_are_those_of_text_and_source() {
        let inputs = Inputs::new().with("input_ids", Tensor::from_slice(&[0i64, 4]).unsqueeze(0));
        let arguments = prefixed(true).arguments();
        assert!(validate(&arguments, &inputs).is_ok());
        assert!(arguments.iter().any(|argument| argument.name == "token_type_ids"));
        assert!(validate(&arguments, &inputs.with("block_sequence_ids", Tensor::from_slice(&[0i64]))).is_err());
    }
}
