use tch::{Kind, Tensor};

use super::TextConfig;
use crate::inputs::{Argument, Dim, Values};
use crate::nn::heads::{Body, Features};
use crate::nn::{Context, Embedding, Linear, Mask, NormSpec, Stack, StackSpec, token_at};
use crate::weights::{NameTable, Weights};
use crate::{Cache, Inputs, Result};

/// A transformer over the tokens of a text, of which one stands for all.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSpec {
    /// Tokens in the vocabulary.
    pub vocabulary: i64,
    /// Length of the position table.
    pub positions: i64,
    /// Width of the hidden states.
    pub hidden: i64,
    /// The layers.
    pub stack: StackSpec,
    /// Whether tokens see only what came before them.
    pub causal: bool,
    /// Which token stands for the text.
    pub pooling: TextPooling,
    /// Width that its vector is projected to, where the encoder itself does so.
    pub head: Option<i64>,
}

/// Which token stands for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPooling {
    /// The last one, padding or not.
    Last,
    /// The first of the largest ids, as the end token is in the first vocabulary.
    LargestId,
    /// The first with this id; the first token where there is none.
    Id(i64),
}

impl TextSpec {
    /// CLIP's encoder with another rule for the token that stands for the text.
    pub fn new(config: &TextConfig, pooling: TextPooling) -> Self {
        Self {
            vocabulary: config.vocab_size,
            positions: config.max_position_embeddings,
            hidden: config.hidden_size,
            stack: StackSpec { final_norm: Some(NormSpec::layer(config.layer_norm_eps)), ..super::stack(config) },
            causal: true,
            pooling,
            head: None,
        }
    }
}

fn names() -> NameTable {
    super::layer_names().names(&[
        ("word", "embeddings.token_embedding"),
        ("position", "embeddings.position_embedding"),
        ("norm", "final_layer_norm"),
    ])
}

/// A [`TextSpec`] with its parameters.
#[derive(Debug)]
pub struct TextTower {
    word: Embedding,
    position: Embedding,
    stack: Stack,
    head: Option<Linear>,
    causal: bool,
    pooling: TextPooling,
    /// Tokens in the vocabulary, and positions.
    sizes: (i64, i64),
    width: i64,
}

impl TextTower {
    /// Loads the encoder below `text_model`, or at the root of files that hold nothing else.
    pub fn load(weights: &Weights, spec: &TextSpec) -> Self {
        let weights = weights.either(&["text_model", ""]).named(names());
        weights.ignore("embeddings.position_ids");
        let TextSpec { vocabulary, positions, hidden, .. } = *spec;
        Self {
            word: Embedding::load(&weights.at("word"), vocabulary, hidden),
            position: Embedding::load(&weights.at("position"), positions, hidden),
            stack: Stack::load(&weights, &spec.stack),
            head: spec.head.map(|width| Linear::load(&weights.at("head"), hidden, width, true)),
            causal: spec.causal,
            pooling: spec.pooling,
            sizes: (vocabulary, positions),
            width: hidden,
        }
    }

    /// The token that stands for each text: `hidden` (`[batch, tokens, hidden]`) to `[batch, hidden]`.
    fn pool(&self, hidden: &Tensor, ids: &Tensor) -> Tensor {
        match self.pooling {
            TextPooling::Last => hidden.select(1, -1),
            TextPooling::LargestId => token_at(hidden, &ids.argmax(-1, false)),
            TextPooling::Id(id) => token_at(hidden, &ids.eq(id).to_kind(Kind::Int).argmax(-1, false)),
        }
    }
}

impl Body for TextTower {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{AtMost, Broadcast, Named};
        let (vocabulary, positions) = self.sizes;
        let tokens = AtMost("tokens", positions);
        vec![
            Argument::required("input_ids", Values::Ids(vocabulary), &[Named("batch"), tokens]),
            Argument::optional("attention_mask", Values::Mask, &[Named("batch"), tokens]),
            Argument::optional("position_ids", Values::Ids(positions), &[Broadcast("batch"), tokens]),
        ]
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let ids = inputs.need("input_ids")?;
        let tokens = ids.size()[1];
        let positions = match inputs.get("position_ids") {
            Some(positions) => self.position.forward(positions),
            None => self.position.rows(0, tokens),
        };
        let x = self.word.forward(ids) + positions;
        let real = inputs.get("attention_mask");
        let mask = match self.causal {
            true => Mask::causal(real, tokens, 0, None, &x),
            false => Mask::padding(real),
        };
        let passed = self.stack.forward(x, &Context::new(mask, inputs), None);
        let hidden = passed.last.shallow_clone();
        let pooled = self.pool(&hidden, ids);
        let pooled = self.head.as_ref().map_or_else(|| pooled.shallow_clone(), |head| head.forward(&pooled));
        Ok(Features { hidden, pooled: Some(pooled), rest: passed.recorded("") })
    }

    fn width(&self) -> Option<i64> {
        Some(self.width)
    }
}
