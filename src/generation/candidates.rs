//! Where the tokens come from that a model is asked about several at once.

use std::mem::discriminant;

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::decoding::numbers;
use super::processors::{LogitsProcessor, LogitsProcessors, Prompt};
use super::text::{Text, argument, ids_name, mask_name};
use super::{GenerationConfig, Sampler};
use crate::cache::CacheKind;
use crate::inputs::Values;
use crate::{Error, Inputs, Model, Result};

/// How the number of tokens that an assistant proposes changes from round to round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssistantSchedule {
    /// Not at all.
    #[default]
    Constant,
    /// Two more after a round in which all were right, one fewer after any other. Python's next generation begins with the
    /// last number of this one; here the caller may set it, from [`Assistance`].
    Heuristic,
    /// As `Heuristic`, and every generation begins anew.
    HeuristicTransient,
}

/// How an assisted generation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Assistance {
    /// Passes of the model that is assisted.
    pub passes: usize,
    /// Tokens that were proposed.
    pub proposed: usize,
    /// Those of them that are in the text.
    pub accepted: usize,
    /// How many tokens the assistant would propose next (`num_assistant_tokens`); 0 without an assistant.
    pub next: usize,
}

/// Tokens that may follow a text.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub tokens: Vec<i64>,
    /// The probabilities that each was drawn with, `[1, vocabulary]`; none where they were not drawn.
    pub drawn_from: Vec<Tensor>,
}

/// Where candidates come from.
pub(super) enum Source<'a> {
    Assistant(Box<Assistant<'a>>),
    Lookup(Lookup),
}

impl<'a> Source<'a> {
    /// What proposes candidates for `text`, if `config` or an `assistant` says so.
    pub fn new(
        assistant: Option<&'a Model>,
        (model, text): (&Model, &Text),
        inputs: &Inputs,
        config: &GenerationConfig,
        (prompt, most, sampler): (usize, usize, Option<Sampler>),
    ) -> Result<Option<Self>> {
        let lookup = config.prompt_lookup_num_tokens;
        let name = match (lookup, assistant) {
            (Some(_), _) => "prompt_lookup_num_tokens",
            (None, Some(_)) => "assistant",
            (None, None) => return Ok(None),
        };
        if text.rows() != 1 {
            return Err(Error::input(name, format!("serves one row at a time; there are {}", text.rows())));
        }
        if !config.use_cache || config.cache_implementation != Default::default() {
            return Err(Error::input(name, "needs a dynamic cache; leave `use_cache` and `cache_implementation` out"));
        }
        Ok(Some(match (lookup, assistant) {
            (None, Some(assistant)) => {
                let about =
                    Prompt { tokens: prompt, max_length: most, mask: text.mask.as_ref(), source: text.source() };
                let processors = LogitsProcessors::of(config, about)?;
                let assistant = Assistant::new(assistant, (model, text), inputs, config)?;
                Self::Assistant(Box::new(Assistant { processors, sampler: sampler.map(|s| s.apart(0)), ..assistant }))
            }
            _ => {
                let vocabulary = match argument(model, ids_name(text.generation)).map(|ids| ids.values) {
                    Some(Values::Ids(vocabulary)) => vocabulary,
                    _ => return Err(Error::input("class", "does not say how many tokens it knows")),
                };
                Self::Lookup(Lookup::new(config, vocabulary)?)
            }
        }))
    }

    /// At most `most` tokens that may follow the text `ids`, the first of which is the new token number `step`.
    pub fn propose(&mut self, ids: &Tensor, most: usize, step: usize, scores: &LogitsProcessors) -> Result<Candidates> {
        match self {
            Self::Assistant(assistant) => assistant.propose(most, step),
            Self::Lookup(lookup) => lookup.propose(ids, most, scores),
        }
    }

    /// Takes note that of `proposed` tokens `accepted` are right, after which the text has `len` tokens and then `next`
    /// (`[1, 1]`).
    pub fn settle(&mut self, (proposed, accepted): (usize, usize), len: i64, next: &Tensor) -> Result<()> {
        let Self::Assistant(assistant) = self else { return Ok(()) };
        if assistant.schedule != AssistantSchedule::Constant && proposed > 0 {
            let tokens = assistant.tokens;
            assistant.tokens = if accepted == proposed { tokens + 2 } else { tokens.saturating_sub(1).max(1) };
        }
        assistant.text.truncate(len)?;
        assistant.text.push(next);
        Ok(())
    }

    /// Tokens that it would propose next.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Assistant(assistant) => assistant.tokens,
            Self::Lookup(_) => 0,
        }
    }
}

/// A smaller model that goes ahead.
pub(super) struct Assistant<'a> {
    model: &'a Model,
    text: Text,
    processors: LogitsProcessors,
    sampler: Option<Sampler>,
    tokens: usize,
    schedule: AssistantSchedule,
    threshold: f64,
    ends: Vec<i64>,
}

impl<'a> Assistant<'a> {
    fn new(
        assistant: &'a Model,
        (model, text): (&Model, &Text),
        inputs: &Inputs,
        config: &GenerationConfig,
    ) -> Result<Self> {
        let name = ids_name(text.generation);
        let takes = |model: &Model| argument(model, name).map(|ids| ids.values);
        if assistant.generation().map(|generation| discriminant(&generation)) != Some(discriminant(&text.generation)) {
            let message = format!("`{}` does not generate as `{}` does", assistant.class(), model.class());
            return Err(Error::input("assistant", message));
        }
        if takes(assistant) != takes(model) {
            let message = format!(
                "`{}` has other token ids than `{}` ({:?} and {:?} in `{name}`); an assistant needs the same vocabulary",
                assistant.class(),
                model.class(),
                takes(assistant),
                takes(model),
            );
            return Err(Error::input("assistant", message));
        }
        if config.num_assistant_tokens == 0 {
            return Err(Error::input("num_assistant_tokens", "is 0, expected at least 1"));
        }
        let inputs = inputs.clone().with(name, text.ids.shallow_clone());
        let inputs = inputs.with_opt(mask_name(text.generation), text.mask.as_ref());
        Ok(Self {
            model: assistant,
            text: Text::new(assistant, &inputs, config, None)?.in_cache(CacheKind::Whole),
            processors: LogitsProcessors::new(),
            sampler: None,
            tokens: config.num_assistant_tokens,
            schedule: config.num_assistant_tokens_schedule,
            threshold: config.assistant_confidence_threshold,
            ends: config.eos_token_id.clone(),
        })
    }

    fn propose(&mut self, most: usize, step: usize) -> Result<Candidates> {
        let mut candidates = Candidates::default();
        while candidates.tokens.len() < self.tokens.min(most) {
            let logits = self.text.logits(self.model, 1)?;
            check_goes_back("assistant", self.model, &self.text)?;
            let scores = self.processors.process(&self.text.ids, &logits.select(1, -1))?;
            let probabilities = scores.softmax(-1, Kind::Float);
            let next = match self.sampler {
                Some(sampler) => sampler.draw(&scores, step + candidates.tokens.len())?,
                None => scores.argmax(-1, true),
            };
            self.text.push(&next);
            let token = next.int64_value(&[0, 0]);
            candidates.tokens.push(token);
            let sure = probabilities.double_value(&[0, token]) >= self.threshold;
            if self.sampler.is_some() {
                candidates.drawn_from.push(probabilities);
            }
            if !sure || self.ends.contains(&token) {
                break;
            }
        }
        Ok(candidates)
    }
}

/// Checks that tokens can be taken back from what a model remembers of `text`, given as `name`.
pub(super) fn check_goes_back(name: &str, model: &Model, text: &Text) -> Result<()> {
    match text.cache.recurrent_layer() {
        Some(layer) => {
            let message = format!(
                "`{}` cannot take tokens back: layer {layer} has a recurrent state; assisted decoding needs attention only",
                model.class()
            );
            Err(Error::input(name, message))
        }
        None => Ok(()),
    }
}

/// What followed where the last tokens of the text stood before.
pub(super) struct Lookup {
    tokens: usize,
    longest: usize,
    ends: Vec<i64>,
    vocabulary: i64,
}

impl Lookup {
    fn new(config: &GenerationConfig, vocabulary: i64) -> Result<Self> {
        let (tokens, longest) =
            (config.prompt_lookup_num_tokens.unwrap_or(0), config.max_matching_ngram_size.unwrap_or(2));
        for (name, count) in [("prompt_lookup_num_tokens", tokens), ("max_matching_ngram_size", longest)] {
            if count == 0 {
                return Err(Error::input(name, "is 0, expected at least 1"));
            }
        }
        Ok(Self { tokens, longest, ends: config.eos_token_id.clone(), vocabulary })
    }

    /// The tokens after the first place where the longest end of the text stands, as far as none of them is removed by
    /// `processors` or ends the text.
    fn propose(&self, ids: &Tensor, most: usize, processors: &LogitsProcessors) -> Result<Candidates> {
        let text = numbers(ids)?;
        for length in (1..=self.longest.min(text.len().saturating_sub(1))).rev() {
            let end = &text[text.len() - length..];
            let places = text.windows(length).enumerate().filter(|(_, window)| *window == end);
            for start in places.map(|(place, _)| place + length).filter(|start| *start < text.len()) {
                let found = &text[start..text.len().min(start + self.tokens)];
                let allowed = allowed(ids, found, processors, self.vocabulary)?;
                if allowed > 0 {
                    let found = &found[..allowed.min(most)];
                    let end = found.iter().position(|token| self.ends.contains(token)).unwrap_or(found.len());
                    return Ok(Candidates { tokens: found[..end].to_vec(), drawn_from: Vec::new() });
                }
            }
        }
        Ok(Candidates::default())
    }
}

/// How many of `tokens` may follow `ids` one after the other, as far as `processors` tell without a model's scores.
fn allowed(ids: &Tensor, tokens: &[i64], processors: &LogitsProcessors, vocabulary: i64) -> Result<usize> {
    let mut text = ids.shallow_clone();
    let scores = Tensor::ones([1, vocabulary], (Kind::Float, ids.device()));
    for (index, token) in tokens.iter().enumerate().filter(|_| !processors.is_empty()) {
        let score = processors.process(&text, &scores)?.double_value(&[0, *token]);
        if score <= f64::from(f32::MIN) {
            return Ok(index);
        }
        text = Tensor::cat(&[text, Tensor::full([1, 1], *token, (Kind::Int64, ids.device()))], 1);
    }
    Ok(tokens.len())
}
