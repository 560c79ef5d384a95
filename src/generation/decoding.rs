//! The loop that every generation runs: a pass over the new tokens, scores, a choice, and whether to go on.

use tch::{Kind, Tensor};

use super::processors::{LogitsProcessor, LogitsProcessors};
use super::stopping::Stopping;
use super::{GenerationConfig, Sampler, Step};
use crate::inputs::{Argument, Dim};
use crate::model::Generation;
use crate::{Cache, Error, Inputs, Model, Result};

/// New tokens where neither a file nor the caller says how many.
const NEW_TOKENS: usize = 20;

/// The argument that grows by the generated tokens.
pub(crate) fn ids_name(generation: Generation) -> &'static str {
    match generation {
        Generation::DecoderOnly => "input_ids",
        Generation::EncoderDecoder { .. } => "decoder_input_ids",
    }
}

/// A decoding on its way.
pub(super) struct Decoding<'a> {
    model: &'a Model,
    generation: Generation,
    /// What every step gets.
    lasting: Inputs,
    /// What only the first step gets.
    once: Inputs,
    /// All ids so far.
    ids: Tensor,
    /// Which of them are real, where a mask was given.
    mask: Option<Tensor>,
    /// Positions of all ids, where the class takes them.
    positions: Option<Tensor>,
    cache: Cache,
    processors: LogitsProcessors,
    /// Draws tokens; without one the likeliest is taken.
    sampler: Option<Sampler>,
    stopping: Stopping,
    /// Steps taken, and to take at most.
    steps: (usize, usize),
    /// Whether a step has ended the generation.
    ended: bool,
}

impl<'a> Decoding<'a> {
    pub fn start(
        model: &'a Model,
        generation: Generation,
        inputs: &Inputs,
        config: &GenerationConfig,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        let mut lasting = copies(&inputs.to(model.device(), model.kind()), generation, config.num_return_sequences)?;
        let mut once = Inputs::new();
        let given = lasting.remove(ids_name(generation));
        let (ids, mask) = match generation {
            Generation::DecoderOnly => {
                let ids = given
                    .ok_or_else(|| Error::input("input_ids", "is missing; expected the prompt [batch, tokens]"))?;
                let names: Vec<String> = lasting.iter().map(|(name, _)| name.to_owned()).collect();
                for name in names.iter().filter(|name| !name.starts_with("encoder_") && *name != "attention_mask") {
                    once = once.with_opt(name, lasting.remove(name).as_ref());
                }
                (ids, lasting.remove("attention_mask"))
            }
            Generation::EncoderDecoder { start, encodes } => {
                let rows = lasting.need(encodes)?.size().first().copied().unwrap_or_default();
                let start = config.decoder_start_token_id.unwrap_or(start);
                let ids = given.unwrap_or_else(|| Tensor::full([rows, 1], start, (Kind::Int64, model.device())));
                (ids, lasting.remove("decoder_attention_mask"))
            }
        };
        if ids.dim() != 2 || ids.size()[1] == 0 {
            let message = format!("has shape {:?}, expected [batch, tokens] with at least one token", ids.size());
            return Err(Error::input(ids_name(generation), message));
        }
        if let Some(mask) = mask.as_ref().filter(|mask| mask.size() != ids.size()) {
            let message = format!("has shape {:?}, the ids {:?}", mask.size(), ids.size());
            return Err(Error::input("attention_mask", message));
        }
        let ids = ids.to_kind(Kind::Int64);
        let positions = once.remove("position_ids").or_else(|| {
            // As Python's `generate`: counted from 0 over the real tokens, whatever the class itself counts from.
            let flat = argument(model, "position_ids")?.shape.len() == 2;
            (flat && generation == Generation::DecoderOnly).then(|| match &mask {
                Some(mask) => (mask.to_kind(Kind::Int64).cumsum(-1, Kind::Int64) - 1).clamp_min(0),
                None => Tensor::arange(ids.size()[1], (Kind::Int64, ids.device())).expand_as(&ids),
            })
        });
        let (rows, prompt) = (ids.size()[0], usize::try_from(ids.size()[1]).unwrap_or(0));
        let new = new_tokens(model, generation, config, prompt)?;
        let processors = LogitsProcessors::of(config, prompt, prompt.saturating_add(new), mask.as_ref())?;
        let stopping = Stopping::new(config, rows, model.device())?;
        let sampler = config.do_sample.then(|| Sampler::new(seed));
        let cache = Cache::new();
        let steps = (0, new);
        let ended = false;
        Ok(Self {
            model,
            generation,
            lasting,
            once,
            ids,
            mask,
            positions,
            cache,
            processors,
            sampler,
            stopping,
            steps,
            ended,
        })
    }

    /// Whether there is no further step to take.
    pub fn is_over(&self) -> bool {
        self.ended || self.steps.0 >= self.steps.1
    }

    /// Adds one token to every row.
    pub fn advance(&mut self) -> Result<()> {
        let outgrown = |limit| self.ids.size()[1] > limit && self.cache.len() <= limit;
        let anew = self.steps.0 == 0 || self.model.module().renewed_beyond().is_some_and(outgrown);
        if anew {
            self.cache = Cache::new();
        }
        let inputs = self.inputs(anew);
        let outputs = self.model.forward_cached(&inputs, &mut self.cache)?;
        let logits =
            outputs.get("logits").ok_or_else(|| Error::input("class", "returns no `logits` to choose from"))?;
        let scores = self.processors.process(&self.ids, &logits.select(1, -1).to_kind(Kind::Float))?;
        let chosen = match self.sampler {
            Some(sampler) => sampler.draw(&scores, self.steps.0)?,
            None => scores.argmax(-1, true),
        };
        let next = self.stopping.pad(&chosen);
        self.ids = Tensor::cat(&[&self.ids, &next], 1);
        self.mask = self.mask.take().map(|mask| Tensor::cat(&[&mask, &mask.narrow(1, 0, 1).ones_like()], 1));
        let more = |positions: Tensor| Tensor::cat(&[&positions, &(positions.narrow(-1, -1, 1) + 1)], -1);
        self.positions = self.positions.take().map(more);
        self.ended = self.stopping.ends_with(&next);
        self.steps.0 += 1;
        Ok(())
    }

    /// What the last step has added.
    pub fn last(&self) -> Result<Step> {
        let ended = numbers(self.stopping.ended())?.into_iter().map(|ended| ended != 0).collect();
        Ok(Step { index: self.steps.0.saturating_sub(1), tokens: numbers(&self.ids.narrow(1, -1, 1))?, ended })
    }

    /// All ids, `[rows, tokens]`.
    pub fn into_ids(self) -> Tensor {
        self.ids
    }

    /// The inputs of the next step: all tokens where there is nothing in the cache, one at a time after that.
    fn inputs(&self, first: bool) -> Inputs {
        let mut inputs = self.lasting.clone().with_flag("logits_to_keep", 1);
        for (name, tensor) in self.once.iter().filter(|_| first) {
            inputs.insert(name, tensor.shallow_clone());
        }
        // The new tokens belong to the segment of the prompt's last one.
        if let Some(segments) = self.once.get("token_type_ids").filter(|_| !first) {
            inputs.insert("token_type_ids", segments.narrow(-1, -1, 1));
        }
        let ids = if first { self.ids.shallow_clone() } else { self.ids.narrow(1, -1, 1) };
        let last = |positions: &Tensor| if first { positions.shallow_clone() } else { positions.narrow(-1, -1, 1) };
        let mask = match self.generation {
            Generation::DecoderOnly => "attention_mask",
            Generation::EncoderDecoder { .. } => "decoder_attention_mask",
        };
        inputs
            .with(ids_name(self.generation), ids)
            .with_opt(mask, self.mask.as_ref())
            .with_opt("position_ids", self.positions.as_ref().map(last).as_ref())
    }
}

/// The most tokens to add to `prompt` tokens.
fn new_tokens(model: &Model, generation: Generation, config: &GenerationConfig, prompt: usize) -> Result<usize> {
    let most = positions_of(model, generation);
    let (name, new) = match (config.max_new_tokens, config.max_length) {
        (Some(new), _) => ("max_new_tokens", new),
        (None, Some(length)) if length > prompt => ("max_length", length - prompt),
        (None, Some(length)) => {
            let message = format!("is {length}, and the prompt has {prompt} tokens already; set `max_new_tokens`");
            return Err(Error::input("max_length", message));
        }
        (None, None) => {
            ("max_new_tokens", most.map_or(NEW_TOKENS, |most| most.saturating_sub(prompt).clamp(1, NEW_TOKENS)))
        }
    };
    // The last token is never passed in.
    match most.filter(|most| new.saturating_add(prompt) - 1 > *most) {
        Some(most) => {
            Err(Error::input(name, format!("{new} after a prompt of {prompt} exceed the model's {most} positions")))
        }
        None => Ok(new),
    }
}

fn argument<'a>(model: &'a Model, name: &str) -> Option<&'a Argument> {
    model.arguments().iter().find(|argument| argument.name == name)
}

/// The number of positions that the model has, where it is limited.
fn positions_of(model: &Model, generation: Generation) -> Option<usize> {
    match argument(model, ids_name(generation))?.shape.last() {
        Some(Dim::AtMost(_, most)) => usize::try_from(*most).ok(),
        _ => None,
    }
}

/// `inputs` with every row `times` times, one copy after another.
fn copies(inputs: &Inputs, generation: Generation, times: usize) -> Result<Inputs> {
    let name = match generation {
        Generation::DecoderOnly => ids_name(generation),
        Generation::EncoderDecoder { encodes, .. } => encodes,
    };
    let leading = |tensor: &Tensor| tensor.size().first().copied().unwrap_or(0);
    let rows = inputs.get(name).map_or(0, leading);
    if times == 1 || rows == 0 {
        return Ok(inputs.clone());
    }
    if let Some((name, tensor)) = inputs.iter().find(|(_, tensor)| tensor.dim() == 0 || leading(tensor) % rows != 0) {
        let message = format!("has shape {:?}, which does not repeat with the {rows} rows of the batch", tensor.size());
        return Err(Error::input(name, message));
    }
    let times = i64::try_from(times).unwrap_or(i64::MAX);
    // A row may have several images: they stay together.
    Ok(inputs.map(|_, tensor| {
        let shape = tensor.size();
        let grouped: Vec<i64> = [rows, shape[0] / rows].iter().chain(&shape[1..]).copied().collect();
        tensor.reshape(grouped).repeat_interleave_self_int(times, 0, None).flatten(0, 1)
    }))
}

/// The elements of a tensor of int64 or bool.
fn numbers(tensor: &Tensor) -> Result<Vec<i64>> {
    Vec::try_from(tensor.reshape([-1]).to_kind(Kind::Int64))
        .map_err(|error: tch::TchError| Error::Libtorch(error.to_string()))
}
