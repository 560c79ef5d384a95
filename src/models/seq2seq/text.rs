//! The sides of an encoder-decoder over text: embeddings of tokens and positions, and layers, driven by a spec.

use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::{Decoder, DecoderNames, Encoded, Encoder, bart_layer_names, embedded};
use crate::inputs::{Argument, Dim, Values, covers};
use crate::nn::heads::{Body, Features};
use crate::nn::{Context, Embedding, Growth, Mask, Norm, NormSpec, Sinusoid, Stack, StackSpec};
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, LayerFormula, Result};

/// What one side is made of; a pure function of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct SideSpec {
    /// Tokens in the vocabulary.
    pub vocabulary: i64,
    /// Width of the hidden states.
    pub width: i64,
    /// The token of padding, whose vector training leaves alone.
    pub pad_token: Option<i64>,
    /// What the vectors of tokens are multiplied by.
    pub scale: Option<f64>,
    /// Whether that goes for vectors that the caller gives, too.
    pub scales_given: bool,
    /// The positions, which are added.
    pub positions: PositionSpec,
    /// The normalisation of the sum.
    pub embedding_norm: Option<NormSpec>,
    /// Whether it normalises the tokens alone, before positions are added.
    pub norms_tokens: bool,
    /// The layers, which attend to another sequence where they have cross attention.
    pub stack: StackSpec,
}

/// Where the vectors of positions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionSpec {
    /// They are learned.
    Learned {
        /// Positions that tokens can take.
        count: i64,
        /// Rows of the table before the first position.
        offset: i64,
    },
    /// They are sinusoids, or what a checkpoint stores in their place.
    Sinusoidal {
        /// Positions that tokens can take.
        count: i64,
    },
    /// They are sinusoids of tensor2tensor, for as many tokens as there are. Positions count the tokens of a row that are
    /// not `padding`, from `padding + 1` on; padding itself has none.
    Unpadded {
        /// The token of padding.
        padding: i64,
    },
}

impl PositionSpec {
    /// Tokens that a sequence has at most.
    fn most(self) -> Option<i64> {
        match self {
            Self::Learned { count, .. } | Self::Sinusoidal { count } => Some(count),
            Self::Unpadded { .. } => None,
        }
    }
}

#[derive(Debug)]
enum Positions {
    /// `frozen` where training leaves it alone.
    Table {
        table: Embedding,
        offset: i64,
        frozen: bool,
    },
    Sinusoids(Sinusoid),
    Unpadded {
        sinusoid: Sinusoid,
        padding: i64,
    },
}

impl Positions {
    /// Loads `embed_positions`, where there are such.
    fn load(weights: &Weights, spec: PositionSpec, width: i64) -> Self {
        let weights = weights.at("embed_positions");
        match spec {
            PositionSpec::Learned { count, offset } => {
                Self::Table { table: Embedding::load(&weights, count + offset, width), offset, frozen: false }
            }
            PositionSpec::Sinusoidal { count } => match weights.tensor_if_stored("weight", &[count, width]) {
                Some(table) => Self::Table { table: Embedding::tied(Weight::new(table)), offset: 0, frozen: true },
                None => Self::Sinusoids(Sinusoid { width, growth: Growth::Open }),
            },
            PositionSpec::Unpadded { padding } => {
                // Sinusoids, or a tensor that says where to put them, as older files carry them.
                ["weights", "_float_tensor"].iter().for_each(|name| weights.ignore(name));
                Self::Unpadded { sinusoid: Sinusoid { width, growth: Growth::Closed }, padding }
            }
        }
    }

    /// The vectors of `places`, or else of the tokens of `x` (`[batch, tokens, width]`), which come after `past` others
    /// and have these `ids` where they have any.
    fn forward(&self, x: &Tensor, past: i64, ids: Option<&Tensor>, places: Option<&Tensor>) -> Tensor {
        let new = x.size()[1];
        let next = |first: i64| Tensor::arange_start(first, first + new, (Kind::Int64, x.device()));
        match self {
            Self::Table { table, offset, frozen } => {
                let vectors = match places {
                    Some(places) => table.forward(&(places + *offset)),
                    None => table.rows(past + offset, new),
                };
                if *frozen { vectors.detach() } else { vectors }
            }
            Self::Sinusoids(sinusoid) => sinusoid.at(places.unwrap_or(&next(past))).to_kind(x.kind()),
            Self::Unpadded { sinusoid, padding } => match ids {
                Some(ids) => sinusoid.of_tokens(ids, *padding, past).to_kind(x.kind()),
                None => sinusoid.at(&next(past + padding + 1)).to_kind(x.kind()),
            },
        }
    }
}

/// One side with its parameters.
#[derive(Debug)]
struct Side {
    spec: SideSpec,
    names: DecoderNames,
    tokens: Embedding,
    positions: Positions,
    embedding_norm: Option<Norm>,
    stack: Stack,
}

impl Side {
    /// Loads `embed_tokens` (unless they are `shared`), `embed_positions`, `embedding_norm`, `layers` and `norm`, as far
    /// as there are such, from a place that has the names of its checkpoint.
    fn load(spec: SideSpec, names: DecoderNames, weights: &Weights, shared: Option<&Weight>) -> Self {
        let table = match shared {
            Some(shared) => weights.weight_tied("embed_tokens.weight", shared),
            None => weights.weight("embed_tokens.weight", &[spec.vocabulary, spec.width]),
        };
        let norm = |norm| Norm::load(&weights.at("embedding_norm"), norm, spec.width);
        Self {
            names,
            tokens: Embedding::tied(table).with_padding(weights, spec.pad_token),
            positions: Positions::load(weights, spec.positions, spec.width),
            embedding_norm: spec.embedding_norm.map(norm),
            stack: Stack::load(weights, &spec.stack),
            spec,
        }
    }

    fn scaled(&self, vectors: Tensor) -> Tensor {
        match self.spec.scale {
            Some(scale) => vectors * scale,
            None => vectors,
        }
    }

    /// Vectors for `inputs_embeds`.
    fn vectors(&self, ids: &Tensor) -> Tensor {
        let vectors = self.tokens.forward(ids);
        if self.spec.scales_given { vectors } else { self.scaled(vectors) }
    }

    /// The input of the first layer, `[batch, tokens, width]`, of tokens after `past` others.
    fn enter(&self, inputs: &Inputs, past: i64) -> Result<Tensor> {
        let DecoderNames { ids, embeds, positions, .. } = self.names;
        let x = embedded(inputs, ids, embeds, &self.tokens)?;
        let x = if inputs.get(embeds).is_none() || self.spec.scales_given { self.scaled(x) } else { x };
        let places = positions.and_then(|name| inputs.get(name));
        let new = x.size()[1];
        if let Some(most) = self.spec.positions.most().filter(|most| places.is_none() && past + new > *most) {
            let message = format!("there are {past} tokens in the cache and {new} new ones; the model takes {most}");
            return Err(Error::input(ids, message));
        }
        let positions = self.positions.forward(&x, past, inputs.get(ids), places);
        Ok(match &self.embedding_norm {
            Some(norm) if self.spec.norms_tokens => norm.forward(&x) + positions,
            Some(norm) => norm.forward(&(x + positions)),
            None => x + positions,
        })
    }
}

/// The side that reads: every token sees all others.
#[derive(Debug)]
pub struct TextEncoder(Side);

impl TextEncoder {
    /// Loads an encoder from its place in a checkpoint; its table of tokens is `shared` unless the place has another.
    pub fn load(spec: SideSpec, weights: &Weights, shared: Option<&Weight>) -> Self {
        Self(Side::load(spec, DecoderNames::ALONE, &weights.named(bart_layer_names()), shared))
    }
}

impl Body for TextEncoder {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{AtMost, Exactly, Named};
        let SideSpec { vocabulary, width, positions, .. } = self.0.spec;
        let tokens = positions.most().map_or(Named("tokens"), |most| AtMost("tokens", most));
        vec![
            Argument::optional("input_ids", Values::Ids(vocabulary), &[Named("batch"), tokens]),
            Argument::optional("attention_mask", Values::Mask, &[Named("batch"), Named("encoded tokens")]),
            Argument::optional("inputs_embeds", Values::Float, &[Named("batch"), tokens, Exactly(width)]),
        ]
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let x = self.0.enter(inputs, 0)?;
        let attention_mask = inputs.get("attention_mask");
        covers("attention_mask", attention_mask, 0, x.size()[1])?;
        let context = Context::new(Mask::padding(attention_mask), inputs);
        Ok(Features::passed(self.0.stack.forward(x, &context, None).tied()))
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        Some(self.0.vectors(ids))
    }
}

impl Encoder for TextEncoder {}

/// The side that writes: a token sees those before it, and what was encoded.
#[derive(Debug)]
pub struct TextDecoder(Side);

impl TextDecoder {
    /// Loads a decoder from its place in a checkpoint, whose arguments are called `names`; its table of tokens is
    /// `shared` unless the place has another.
    pub fn load(spec: SideSpec, names: DecoderNames, weights: &Weights, shared: Option<&Weight>) -> Self {
        Self::load_named(spec, names, &weights.named(bart_layer_names()), shared)
    }

    /// As [`TextDecoder::load`], from a place whose names are not those of BART but `weights`' own.
    pub fn load_named(spec: SideSpec, names: DecoderNames, weights: &Weights, shared: Option<&Weight>) -> Self {
        Self(Side::load(spec, names, weights, shared))
    }

    /// The table of tokens, `[vocabulary, width]`.
    pub fn table(&self) -> Weight {
        self.0.tokens.table()
    }
}

impl Decoder for TextDecoder {
    fn arguments(&self) -> Vec<Argument> {
        let SideSpec { vocabulary, width, positions, .. } = self.0.spec;
        self.0.names.arguments(vocabulary, width, positions.most())
    }

    fn decode(&self, inputs: &Inputs, encoded: Option<&Encoded>, cache: Option<&mut Cache>) -> Result<Features> {
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let x = self.0.enter(inputs, past)?;
        let (new, attention_mask) = (x.size()[1], inputs.get(self.0.names.mask));
        covers(self.0.names.mask, attention_mask, past, new)?;
        Cache::check_room(cache.as_deref(), new)?;
        let context = Context::new(Mask::causal(attention_mask, new, past, None, &x), inputs);
        let context = Encoded::seen_by(context, encoded);
        Ok(Features::passed(self.0.stack.forward(x, &context, cache).tied()))
    }

    fn cached(&self) -> Vec<LayerFormula> {
        self.0.stack.cached()
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        Some(self.0.vectors(ids))
    }
}
