use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::inputs::{Argument, Dim, Values, covers};
use crate::nn::{BoxEmbedding, BoxSpec, Embedding, Linear, Norm, NormSpec};
use crate::weights::Weights;
use crate::{Error, Inputs, Result};

/// What enters the layers of an encoder: vectors of tokens, of positions and of whatever else is known of a token.
#[derive(Debug, Clone)]
pub struct EmbeddingsSpec {
    /// Tokens in the vocabulary.
    pub vocab_size: i64,
    /// Width of the tables.
    pub width: i64,
    /// Width of the hidden states.
    pub hidden: i64,
    /// The token whose vector is not trained.
    pub padding: Option<i64>,
    /// How positions are counted.
    pub positions: Positions,
    /// Further tables that are summed in.
    pub tables: Vec<IdTable>,
    /// Where the tokens stand on a page, summed in.
    pub boxes: Option<BoxSpec>,
    /// The normalisation of the sum.
    pub norm: Option<NormSpec>,
    /// What brings the vectors to the width of the hidden states.
    pub projection: Projection,
    /// Whether padding enters as zeros.
    pub blank_padding: bool,
}

impl EmbeddingsSpec {
    /// Tables of `width`, positions counted from 0, nothing else.
    pub fn new(vocab_size: i64, width: i64, positions: i64, norm: NormSpec) -> Self {
        Self {
            vocab_size,
            width,
            hidden: width,
            padding: None,
            positions: Positions::FromZero(positions),
            tables: Vec::new(),
            boxes: None,
            norm: Some(norm),
            projection: Projection::None,
            blank_padding: false,
        }
    }
}

/// How the positions of tokens are counted where the input does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// There is no table of positions.
    None,
    /// From 0, in a table of this many rows.
    FromZero(i64),
    /// From one more than the id of the padding token, passing over padding, as fairseq counts.
    AfterPadding {
        /// Rows of the table.
        count: i64,
        /// The padding token, whose id is the position of padding.
        padding: i64,
    },
}

impl Positions {
    /// Rows of the table, and how many come before the first position.
    fn rows(self) -> Option<(i64, i64)> {
        match self {
            Self::None => None,
            Self::FromZero(count) => Some((count, 0)),
            Self::AfterPadding { count, padding } => Some((count, padding + 1)),
        }
    }
}

/// A table that is looked up by an argument, row 0 where it is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdTable {
    /// The argument.
    pub argument: &'static str,
    /// The name of the block.
    pub name: &'static str,
    /// Rows.
    pub count: i64,
}

impl IdTable {
    /// Which of `count` segments a token belongs to.
    pub fn segments(count: i64) -> Self {
        Self { argument: "token_type_ids", name: "segment", count }
    }
}

/// What brings embeddings to the width of the hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Nothing: they have it.
    None,
    /// A linear layer on the normalised sum.
    AfterNorm,
    /// A linear layer without bias on the sum, which is normalised then.
    BeforeNorm,
}

/// [`EmbeddingsSpec`] with its parameters.
#[derive(Debug)]
pub struct Embeddings {
    spec: EmbeddingsSpec,
    word: Embedding,
    position: Option<Embedding>,
    tables: Vec<(&'static str, Embedding)>,
    boxes: Option<BoxEmbedding>,
    norm: Option<Norm>,
    projection: Option<Linear>,
}

impl Embeddings {
    /// Loads `word`, and where there are such `position`, the further tables, `boxes`, `embedding_norm`, `projection`.
    pub fn load(weights: &Weights, spec: EmbeddingsSpec) -> Self {
        let EmbeddingsSpec { width, hidden, .. } = spec;
        let table = |name: &str, count| Embedding::load(&weights.at(name), count, width);
        let position = spec.positions.rows().map(|(count, first)| {
            // The row of padding is not trained.
            table("position", count).with_padding(weights, (first > 0).then_some(first - 1))
        });
        let normed = if spec.projection == Projection::BeforeNorm { hidden } else { width };
        let projected = spec.projection != Projection::None;
        let bias = spec.projection == Projection::AfterNorm;
        Self {
            word: table("word", spec.vocab_size).with_padding(weights, spec.padding),
            position,
            tables: spec.tables.iter().map(|ids| (ids.argument, table(ids.name, ids.count))).collect(),
            boxes: spec.boxes.map(|boxes| BoxEmbedding::load(&weights.at("boxes"), boxes)),
            norm: spec.norm.map(|norm| Norm::load(&weights.at("embedding_norm"), norm, normed)),
            projection: projected.then(|| Linear::load(&weights.at("projection"), width, hidden, bias)),
            spec,
        }
    }

    /// The arguments that [`Embeddings::forward`] reads, and the mask.
    pub fn arguments(&self) -> Vec<Argument> {
        use Dim::{AtMost, Broadcast, Exactly, Named};
        let EmbeddingsSpec { vocab_size, width, positions, ref tables, .. } = self.spec;
        let tokens = positions.rows().map_or(Named("tokens"), |(count, first)| AtMost("tokens", count - first));
        let mut arguments = vec![
            Argument::optional("input_ids", Values::Ids(vocab_size), &[Named("batch"), tokens]),
            Argument::optional("attention_mask", Values::Mask, &[Named("batch"), Named("all tokens")]),
            Argument::optional("inputs_embeds", Values::Float, &[Named("batch"), tokens, Exactly(width)]),
        ];
        if let Some((count, _)) = positions.rows() {
            arguments.push(Argument::optional("position_ids", Values::Ids(count), &[Broadcast("batch"), tokens]));
        }
        arguments.extend(
            tables
                .iter()
                .map(|ids| Argument::optional(ids.argument, Values::Ids(ids.count), &[Named("batch"), tokens])),
        );
        if let Some(BoxSpec { count, .. }) = self.spec.boxes {
            arguments.push(Argument::optional("bbox", Values::Ids(count), &[Named("batch"), tokens, Exactly(4)]));
        }
        arguments
    }

    /// The vectors of token ids, `[…]` to `[…, width]`.
    pub fn tokens(&self, ids: &Tensor) -> Tensor {
        self.word.forward(ids)
    }

    /// The table of tokens.
    pub fn table(&self) -> Weight {
        self.word.table()
    }

    /// What enters the layers, `[batch, tokens, hidden]`, of the tokens that come after `past` others.
    ///
    /// # Errors
    /// When there are neither ids nor vectors, or both, or more tokens than positions, or a mask of another length.
    pub fn forward(&self, inputs: &Inputs, past: i64) -> Result<Tensor> {
        let (ids, given) = (inputs.get("input_ids"), inputs.get("inputs_embeds"));
        let mut x = match (ids, given) {
            (Some(_), Some(_)) => {
                return Err(Error::input("inputs_embeds", "stands in place of `input_ids`; got both"));
            }
            (None, Some(given)) => given.shallow_clone(),
            _ => self.word.forward(inputs.need("input_ids")?),
        };
        covers("attention_mask", inputs.get("attention_mask"), past, x.size()[1])?;
        for (argument, table) in &self.tables {
            x = match inputs.get(argument) {
                Some(ids) => x + table.forward(ids),
                None => x + table.rows(0, 1),
            };
        }
        x = match self.positions(inputs, past, x.size()[1])? {
            Some(positions) => x + positions,
            None => x,
        };
        if let Some(table) = &self.boxes {
            let nowhere = || Tensor::zeros([1, 1, 4], (Kind::Int64, x.device()));
            let boxes = inputs.get("bbox").map_or_else(nowhere, Tensor::shallow_clone);
            x = &x + table.forward(&boxes);
        }
        if self.spec.projection == Projection::BeforeNorm {
            x = self.projected(&x);
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(&x);
        }
        if self.spec.projection == Projection::AfterNorm {
            x = self.projected(&x);
        }
        Ok(match inputs.get("attention_mask").filter(|_| self.spec.blank_padding) {
            Some(mask) => &x * mask.to_kind(x.kind()).unsqueeze(-1),
            None => x,
        })
    }

    fn projected(&self, x: &Tensor) -> Tensor {
        self.projection.as_ref().map_or_else(|| x.shallow_clone(), |projection| projection.forward(x))
    }

    /// The vectors of the positions of `tokens` tokens after `past`.
    fn positions(&self, inputs: &Inputs, past: i64, tokens: i64) -> Result<Option<Tensor>> {
        let (Some(table), Some((count, first))) = (&self.position, self.spec.positions.rows()) else { return Ok(None) };
        if let Some(ids) = inputs.get("position_ids") {
            return Ok(Some(table.forward(ids)));
        }
        if first + past + tokens > count {
            let message =
                format!("{tokens} tokens after {past} in the cache; the model has {} positions", count - first);
            return Err(Error::input("input_ids", message));
        }
        Ok(Some(match (self.spec.positions, inputs.get("input_ids")) {
            (Positions::AfterPadding { padding, .. }, Some(ids)) => {
                let real = ids.ne(padding).to_kind(Kind::Int64);
                table.forward(&((real.cumsum(-1, Kind::Int64) + past) * real + padding))
            }
            _ => table.rows(first + past, tokens),
        }))
    }
}
