//! The text that a generation goes on writing, and what the model remembers of it.

use tch::{Kind, Tensor};

use super::GenerationConfig;
use super::prefix::Prefix;
use crate::cache::CacheKind;
use crate::inputs::{Argument, Dim};
use crate::model::Generation;
use crate::{Cache, Error, Inputs, Model, Result};

/// The argument that grows by the generated tokens.
pub(crate) fn ids_name(generation: Generation) -> &'static str {
    match generation {
        Generation::DecoderOnly => "input_ids",
        Generation::EncoderDecoder { .. } => "decoder_input_ids",
    }
}

/// The argument that says which of them are real.
pub(super) fn mask_name(generation: Generation) -> &'static str {
    match generation {
        Generation::DecoderOnly => "attention_mask",
        Generation::EncoderDecoder { .. } => "decoder_attention_mask",
    }
}

/// A number of tokens or rows as tensors count them.
pub(super) fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The argument `name` of a model.
pub(super) fn argument<'a>(model: &'a Model, name: &str) -> Option<&'a Argument> {
    model.arguments().iter().find(|argument| argument.name == name)
}

/// A text of which the model has seen the tokens in the cache.
#[derive(Debug)]
pub(super) struct Text {
    pub generation: Generation,
    /// What every pass gets.
    pub lasting: Inputs,
    /// What only the pass of the first tokens gets.
    pub once: Inputs,
    /// All ids so far, `[rows, tokens]`.
    pub ids: Tensor,
    /// Which of them are real, where a mask was given.
    pub mask: Option<Tensor>,
    /// Positions of all ids, where the class takes them.
    pub positions: Option<Tensor>,
    /// Segments of all ids, where they were given.
    pub segments: Option<Tensor>,
    pub cache: Cache,
    /// Logits of the token after the last, where the cache has them all: `[rows, 1, vocabulary]`.
    pub scored: Option<Tensor>,
    /// Whether a pass goes on from the cache.
    uses_cache: bool,
    /// Tokens of one pass at most.
    piece: Option<i64>,
}

impl Text {
    /// The text of `inputs`, every row as often as `config` wants it, after `prefix` where there is one.
    pub fn new(model: &Model, inputs: &Inputs, config: &GenerationConfig, prefix: Option<&Prefix>) -> Result<Self> {
        let generation = model.generation().ok_or_else(|| {
            let message = format!("`{}` does not generate; load a class with a language model head", model.class());
            Error::input("class", message)
        })?;
        let piece = match config.prefill_chunk_size {
            Some(0) => return Err(Error::input("prefill_chunk_size", "is 0, expected at least 1")),
            Some(_) if !config.use_cache => {
                return Err(Error::input("prefill_chunk_size", "needs a cache; `use_cache` is false"));
            }
            piece => piece.map(to_i64),
        };
        if let Some(prefix) = prefix {
            let text = prefix.continued(model, inputs, config)?;
            return Ok(Self { uses_cache: config.use_cache, piece, ..text });
        }
        let mut lasting = copies(&inputs.to(model.device(), model.kind()), generation, config.num_return_sequences)?;
        let mut once = Inputs::new();
        let given = lasting.remove(ids_name(generation));
        let ids = match generation {
            Generation::DecoderOnly => {
                let names: Vec<String> = lasting.iter().map(|(name, _)| name.to_owned()).collect();
                for name in names.iter().filter(|name| !name.starts_with("encoder_") && *name != "attention_mask") {
                    once = once.with_opt(name, lasting.remove(name).as_ref());
                }
                given.ok_or_else(|| Error::input("input_ids", "is missing; expected the prompt [batch, tokens]"))?
            }
            Generation::EncoderDecoder { start, encodes } => {
                let rows = lasting.need(encodes)?.size().first().copied().unwrap_or_default();
                let start = config.decoder_start_token_id.unwrap_or(start);
                given.unwrap_or_else(|| Tensor::full([rows, 1], start, (Kind::Int64, model.device())))
            }
        };
        let mask = lasting.remove(mask_name(generation));
        let segments = once.remove("token_type_ids");
        let positions = once.remove("position_ids");
        let text = Self {
            generation,
            lasting,
            once,
            ids,
            mask,
            positions,
            segments,
            cache: Cache::new(),
            scored: None,
            uses_cache: config.use_cache,
            piece,
        };
        text.checked(model)
    }

    /// The same with its parts as the model takes them.
    pub(super) fn checked(mut self, model: &Model) -> Result<Self> {
        let (ids, name) = (&self.ids, ids_name(self.generation));
        if ids.dim() != 2 || ids.size()[1] == 0 {
            let message = format!("has shape {:?}, expected [batch, tokens] with at least one token", ids.size());
            return Err(Error::input(name, message));
        }
        if let Some(mask) = self.mask.as_ref().filter(|mask| mask.size() != ids.size()) {
            let message = format!("has shape {:?}, the ids {:?}", mask.size(), ids.size());
            return Err(Error::input(mask_name(self.generation), message));
        }
        self.ids = ids.to_kind(Kind::Int64);
        // As Python's `generate`: counted from 0 over the real tokens, whatever the class itself counts from.
        let counts = argument(model, "position_ids").is_some_and(|positions| positions.shape.len() == 2);
        if self.positions.is_none() && counts && self.generation == Generation::DecoderOnly {
            self.positions = Some(match &self.mask {
                Some(mask) => (mask.to_kind(Kind::Int64).cumsum(-1, Kind::Int64) - 1).clamp_min(0),
                None => Tensor::arange(self.len(), (Kind::Int64, self.ids.device())).expand_as(&self.ids),
            });
        }
        Ok(self)
    }

    /// The same text with what the model remembers in a cache of a kind.
    pub fn in_cache(self, kind: CacheKind) -> Self {
        Self { cache: self.cache.into_kind(kind), ..self }
    }

    /// Number of tokens of a row.
    pub fn len(&self) -> i64 {
        self.ids.size()[1]
    }

    /// Number of rows.
    pub fn rows(&self) -> i64 {
        self.ids.size()[0]
    }

    /// Adds tokens `[rows, new]` to the rows.
    pub fn push(&mut self, tokens: &Tensor) {
        let new = tokens.size()[1];
        // The last column again, so many times, and growing by `step`.
        let more = |all: &Tensor, step: i64| {
            let last = all.narrow(-1, -1, 1);
            let steps = Tensor::arange(new, (Kind::Int64, last.device())) * step + step;
            Tensor::cat(&[all, &(last + steps)], -1)
        };
        self.mask = self.mask.take().map(|mask| Tensor::cat(&[&mask, &tokens.ones_like().to_kind(mask.kind())], 1));
        self.positions = self.positions.take().map(|positions| more(&positions, 1));
        // The new tokens belong to the segment of the last one.
        self.segments = self.segments.take().map(|segments| more(&segments, 0));
        self.ids = Tensor::cat(&[&self.ids, tokens], 1);
        self.scored = None;
    }

    /// The same text with every row `times` times, in a cache of its own that shares what is in this one.
    pub fn fork(&mut self, times: usize) -> Result<Self> {
        let parts = Inputs::new()
            .with("ids", self.ids.shallow_clone())
            .with_opt("mask", self.mask.as_ref())
            .with_opt("segments", self.segments.as_ref())
            .with_opt("scored", self.scored.as_ref());
        let mut parts = copied(&parts, self.rows(), times)?;
        let positions = self.positions.as_ref().map(|positions| match positions.size()[positions.dim() - 2] {
            1 => positions.shallow_clone(),
            _ => positions.repeat_interleave_self_int(to_i64(times), -2, None),
        });
        Ok(Self {
            generation: self.generation,
            lasting: copied(&self.lasting, self.rows(), times)?,
            once: copied(&self.once, self.rows(), times)?,
            ids: parts.remove("ids").unwrap_or_else(|| self.ids.shallow_clone()),
            mask: parts.remove("mask"),
            segments: parts.remove("segments"),
            scored: parts.remove("scored"),
            positions,
            cache: self.cache.fork(to_i64(times)),
            uses_cache: self.uses_cache,
            piece: self.piece,
        })
    }

    /// Puts row `rows[i]` (`[rows]`, int64) in the place of row `i`, a continuation of the same prompt.
    pub fn reorder(&mut self, rows: &Tensor) {
        self.ids = self.ids.index_select(0, rows);
        self.cache.reorder(rows);
        self.scored = None;
    }

    /// The tokens that an encoder reads, or the text of a model without one: `[rows, tokens]`.
    pub fn source(&self) -> Option<&Tensor> {
        match self.generation {
            Generation::DecoderOnly => Some(&self.ids),
            Generation::EncoderDecoder { encodes, .. } => {
                self.lasting.get(encodes).filter(|source| source.dim() == 2 && source.kind() == Kind::Int64)
            }
        }
    }

    /// Takes the tokens after the first `len` back.
    ///
    /// # Errors
    /// Where the cache cannot forget them.
    pub fn truncate(&mut self, len: i64) -> Result<()> {
        if self.cache.len() > len {
            self.cache.truncate(len)?;
            self.scored = None;
        }
        let first = |tensor: &Tensor| tensor.narrow(-1, 0, len);
        self.ids = self.ids.narrow(-1, 0, len);
        self.mask = self.mask.as_ref().map(first);
        self.positions = self.positions.as_ref().map(first);
        self.segments = self.segments.as_ref().map(first);
        Ok(())
    }

    /// Passes the tokens that the cache has not seen: the logits of those that may follow each of the last `keep`,
    /// `[rows, keep, vocabulary]`, float32.
    pub fn logits(&mut self, model: &Model, keep: i64) -> Result<Tensor> {
        let total = self.len();
        if let Some(scored) = self.scored.as_ref().filter(|_| keep == 1) {
            return Ok(scored.shallow_clone());
        }
        let renewed = model.module().renewed_beyond().filter(|limit| total > *limit && self.cache.len() <= *limit);
        let at_once = model.module().reads_both_ways();
        if !self.uses_cache && !at_once || renewed.is_some() {
            self.cache.restart();
        }
        if self.cache.len() == total {
            // The logits of the last token were not kept.
            self.cache.truncate(total - 1)?;
        }
        let unseen = total - self.cache.len();
        // Frequencies that depend on the length are those of the whole text.
        let piece = self.piece.filter(|_| renewed.is_none()).unwrap_or(unseen);
        let whole = self.once.iter().next().map(|(name, _)| name).or(at_once.then_some("input_ids"));
        if let Some(name) = whole.filter(|_| piece < unseen && self.cache.is_empty()) {
            let message = format!("belongs to the prompt as a whole, which `prefill_chunk_size` ({piece}) would cut");
            return Err(Error::input(name, message));
        }
        let mut logits = Vec::new();
        while self.cache.len() < total {
            let end = total.min(self.cache.len() + piece);
            let wanted = (end - (total - keep)).clamp(0, end - self.cache.len());
            let inputs = self.inputs(end).with_flag("logits_to_keep", wanted.max(1));
            let outputs = model.forward_cached(&inputs, &mut self.cache)?;
            if wanted > 0 {
                let all = outputs.get("logits");
                let all = all.ok_or_else(|| Error::input("class", "returns no `logits` to choose from"))?;
                logits.push(all.narrow(1, all.size()[1] - wanted, wanted).to_kind(Kind::Float));
            }
        }
        let logits = Tensor::cat(&logits, 1);
        self.scored = Some(logits.narrow(1, -1, 1));
        Ok(logits)
    }

    /// The inputs of a pass over the tokens after those in the cache, up to `end`.
    fn inputs(&self, end: i64) -> Inputs {
        let start = self.cache.len();
        let mut inputs = self.lasting.clone();
        for (name, tensor) in self.once.iter().filter(|_| start == 0) {
            inputs.insert(name, tensor.shallow_clone());
        }
        let new = |tensor: &Tensor| tensor.narrow(-1, start, end - start);
        inputs
            .with(ids_name(self.generation), new(&self.ids))
            .with_opt(mask_name(self.generation), self.mask.as_ref().map(|mask| mask.narrow(1, 0, end)).as_ref())
            .with_opt("position_ids", self.positions.as_ref().map(new).as_ref())
            .with_opt("token_type_ids", self.segments.as_ref().map(new).as_ref())
    }

    /// The number of positions that the model has for the text, where it is limited.
    pub fn most(&self, model: &Model) -> Option<usize> {
        match argument(model, ids_name(self.generation))?.shape.last() {
            Some(Dim::AtMost(_, most)) => usize::try_from(*most).ok(),
            _ => None,
        }
    }
}

/// `inputs` with every row `times` times, one copy after another.
pub(super) fn copies(inputs: &Inputs, generation: Generation, times: usize) -> Result<Inputs> {
    let name = match generation {
        Generation::DecoderOnly => ids_name(generation),
        Generation::EncoderDecoder { encodes, .. } => encodes,
    };
    let rows = inputs.get(name).and_then(|tensor| tensor.size().first().copied());
    copied(inputs, rows.unwrap_or(0), times)
}

/// `inputs` of `rows` rows with every row `times` times, one copy after another.
fn copied(inputs: &Inputs, rows: i64, times: usize) -> Result<Inputs> {
    let leading = |tensor: &Tensor| tensor.size().first().copied().unwrap_or(0);
    if times == 1 || rows == 0 {
        return Ok(inputs.clone());
    }
    if let Some((name, tensor)) = inputs.iter().find(|(_, tensor)| tensor.dim() == 0 || leading(tensor) % rows != 0) {
        let message = format!("has shape {:?}, which does not repeat with the {rows} rows of the batch", tensor.size());
        return Err(Error::input(name, message));
    }
    let times = to_i64(times);
    // A row may have several images: they stay together.
    Ok(inputs.map(|_, tensor| {
        let shape = tensor.size();
        let grouped: Vec<i64> = [rows, shape[0] / rows].iter().chain(&shape[1..]).copied().collect();
        tensor.reshape(grouped).repeat_interleave_self_int(times, 0, None).flatten(0, 1)
    }))
}
