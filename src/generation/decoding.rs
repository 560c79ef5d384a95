//! The loop that every generation runs: a pass over the new tokens, scores, a choice, and whether to go on.

use tch::{Kind, Tensor};

use super::caching::cache_kind;
use super::candidates::{Assistance, Source};
use super::guidance::Guidance;
use super::prefix::Prefix;
use super::processors::{LogitsProcessor, LogitsProcessors, Prompt};
use super::stopping::Stopping;
use super::text::{Text, to_i64};
use super::{GenerationConfig, Sampler, Step, TokenTexts};
use crate::cache::CacheKind;
use crate::{Error, Inputs, Model, Result};

/// New tokens where neither a file nor the caller says how many.
const NEW_TOKENS: usize = 20;

/// What a generation goes by besides its settings.
#[derive(Clone, Copy)]
pub(super) struct Setup<'a> {
    pub model: &'a Model,
    pub seed: u64,
    /// What has been read of the text.
    pub prefix: Option<&'a Prefix>,
    /// Texts of tokens, for strings that end a row.
    pub texts: Option<&'a TokenTexts>,
    /// A model that proposes tokens.
    pub assistant: Option<&'a Model>,
    /// A prompt to move away from.
    pub negative: Option<&'a Inputs>,
}

/// A decoding on its way.
pub(super) struct Decoding<'a> {
    pub model: &'a Model,
    pub text: Text,
    /// What moves scores away from another text, where something does.
    pub guidance: Option<Guidance>,
    pub processors: LogitsProcessors,
    /// Draws tokens; without one the likeliest is taken.
    pub sampler: Option<Sampler>,
    pub stopping: Stopping,
    /// Steps taken, and to take at most.
    pub steps: (usize, usize),
    /// How many of them the last call of [`Decoding::advance`] took.
    pub added: usize,
    /// What proposes the next tokens, where something does.
    pub source: Option<Source<'a>>,
    pub assistance: Assistance,
    /// Whether a step has ended the generation.
    pub ended: bool,
}

impl<'a> Decoding<'a> {
    /// The decoding of the text of `inputs`, which goes on from the prefix where there is one.
    pub fn start(setup: Setup<'a>, config: &GenerationConfig, inputs: &Inputs) -> Result<Self> {
        let Setup { model, seed, prefix, texts, assistant, .. } = setup;
        config.check()?;
        let text = Text::new(model, inputs, config, prefix)?;
        let prompt = usize::try_from(text.len()).unwrap_or(0);
        let new = new_tokens(text.most(model), config, prompt)?;
        let most = prompt.saturating_add(new);
        let about = Prompt { tokens: prompt, max_length: most, mask: text.mask.as_ref(), source: text.source() };
        let processors = LogitsProcessors::of(config, about)?;
        let stopping = Stopping::new(config, texts, text.rows(), model.device())?;
        let sampler = config.do_sample.then(|| Sampler::new(seed));
        let source = Source::new(assistant, (model, &text), inputs, config, (prompt, most, sampler))?;
        let guidance = Guidance::new(&setup, &text, config)?;
        // What was passed for nothing is taken back.
        let kind = if source.is_some() { CacheKind::Whole } else { cache_kind(config, most) };
        Ok(Self {
            model,
            text: text.in_cache(kind),
            guidance,
            processors,
            sampler,
            stopping,
            steps: (0, new),
            added: 0,
            source,
            assistance: Assistance::default(),
            ended: false,
        })
    }

    /// Whether there is no further step to take.
    pub fn is_over(&self) -> bool {
        self.ended || self.steps.0 >= self.steps.1
    }

    /// Adds one token to every row, or several where they were proposed.
    pub fn advance(&mut self) -> Result<()> {
        if let Some(source) = self.source.take() {
            return self.advance_assisted(source);
        }
        let mut scores = self.text.logits(self.model, 1)?.select(1, -1);
        if let Some(guidance) = &mut self.guidance {
            scores = guidance.guided(self.model, &scores)?;
        }
        let scores = self.processors.process(&self.text.ids, &scores)?;
        let chosen = match self.sampler {
            Some(sampler) => sampler.draw(&scores, self.steps.0)?,
            None => scores.argmax(-1, true),
        };
        let next = self.stopping.pad(&chosen);
        self.text.push(&next);
        self.guidance.iter_mut().for_each(|guidance| guidance.push(&next));
        self.ended = self.stopping.ends_with(&self.text.ids)?;
        self.steps.0 += 1;
        self.added = 1;
        Ok(())
    }

    /// What the last call of [`Decoding::advance`] has added, step by step.
    pub fn last(&self) -> Result<Vec<Step>> {
        let ended: Vec<bool> = numbers(self.stopping.ended())?.into_iter().map(|ended| ended != 0).collect();
        let of = |back: usize| {
            let tokens = numbers(&self.text.ids.narrow(1, self.text.len() - 1 - to_i64(back), 1))?;
            // Of several, only the last can be an end.
            let ended = if back == 0 { ended.clone() } else { vec![false; ended.len()] };
            Ok(Step { index: self.steps.0.saturating_sub(back + 1), tokens, ended })
        };
        (0..self.added).rev().map(of).collect()
    }

    /// Takes the last `count` steps back.
    pub fn take_back(&mut self, count: usize) -> Result<()> {
        if count > 0 {
            self.text.truncate(self.text.len() - to_i64(count))?;
        }
        Ok(())
    }
}

/// The most tokens to add to `prompt` tokens, where the model has `most` positions.
fn new_tokens(most: Option<usize>, config: &GenerationConfig, prompt: usize) -> Result<usize> {
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

/// The elements of a tensor of int64 or bool.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<i64>> {
    Vec::try_from(tensor.reshape([-1]).to_kind(Kind::Int64))
        .map_err(|error: tch::TchError| Error::Libtorch(error.to_string()))
}

/// The elements of a tensor of floats.
pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    Vec::try_from(tensor.reshape([-1]).to_kind(Kind::Float))
        .map_err(|error: tch::TchError| Error::Libtorch(error.to_string()))
}
