//! A generation with everything that can be said of it.

use tch::Tensor;

use super::beams::Beams;
use super::candidates::Assistance;
use super::decoding::{Decoding, Setup};
use super::prefix::Prefix;
use super::text::Text;
use super::{GenerationConfig, OnStep, TokenTexts};
use crate::cache::CacheKind;
use crate::error::catch;
use crate::{Error, Inputs, Model, Result};

/// A generation that is being set up; made by [`Model::generator`], started by [`Generator::run`].
pub struct Generator<'a> {
    setup: Setup<'a>,
    config: &'a GenerationConfig,
    on_step: Option<&'a mut OnStep<'a>>,
}

/// What a generation has made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Generated {
    /// Prompt and new tokens, `[rows, tokens]`, int64, as [`Model::generate`] returns them.
    pub ids: Tensor,
    /// The same text as the model has read it, for the next turn to go on from: all tokens but the last of a row, which
    /// is passed with those that follow it. With beams, the prompt: what the sequences add is passed again.
    pub prefix: Prefix,
    /// With beams, the logarithm of the probability of every row by its length to the power of `length_penalty`,
    /// `[rows]`, float32, the best row of a prompt first.
    pub scores: Option<Tensor>,
    /// How an assisted generation went; `None` for any other.
    pub assistance: Option<Assistance>,
}

impl Model {
    /// A generation as `config` says: with more to say of it than [`Model::generate_with`] takes.
    ///
    /// ```no_run
    /// # use tch_transformers::{Error, GenerationConfig, Inputs, Model};
    /// # fn chat(model: &Model, first: Inputs, whole: Inputs) -> Result<(), Error> {
    /// let config = GenerationConfig { max_new_tokens: Some(50), ..Default::default() };
    /// let answer = model.generator(&config).seed(3).run(&first)?;
    /// // The text so far and what the user says next: only the latter is passed.
    /// let next = model.generator(&config).prefix(&answer.prefix).run(&whole)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn generator<'a>(&'a self, config: &'a GenerationConfig) -> Generator<'a> {
        let setup = Setup { model: self, seed: 0, prefix: None, texts: None, assistant: None, negative: None };
        Generator { setup, config, on_step: None }
    }

    /// Reads the beginning of a text once, for many generations to go on from with [`Generator::prefix`].
    ///
    /// # Errors
    /// As [`Model::generate`].
    pub fn prefill(&self, inputs: &Inputs) -> Result<Prefix> {
        self.generator(&GenerationConfig::default()).prefill(inputs)
    }
}

impl<'a> Generator<'a> {
    /// With the [`Sampler`](super::Sampler) of `seed`, in place of that of 0.
    pub fn seed(self, seed: u64) -> Self {
        Self { setup: Setup { seed, ..self.setup }, ..self }
    }

    /// With a text that begins with `prefix`, which is not passed again.
    ///
    /// The ids given to [`Generator::run`] are those of the whole text, and begin with those of the prefix; without them
    /// the prefix itself is continued. There may be several times as many rows as the prefix has, of which the first ones
    /// then begin with its first row. Whatever else belongs to the prompt (images, what an encoder reads) the prefix has
    /// read, and is not given again.
    pub fn prefix(self, prefix: &'a Prefix) -> Self {
        Self { setup: Setup { prefix: Some(prefix), ..self.setup }, ..self }
    }

    /// With the texts of tokens, for the `stop_strings` of the settings.
    pub fn token_texts(self, texts: &'a TokenTexts) -> Self {
        Self { setup: Setup { texts: Some(texts), ..self.setup }, ..self }
    }

    /// With tokens that `assistant`, a smaller model with the same vocabulary, proposes: as many as `num_assistant_tokens`
    /// at once, of which those are kept that are right.
    ///
    /// Without `do_sample` the result has the ids that it has without an assistant; with it, ids of the same
    /// distribution, but others. One row at a time. The two models may not have recurrent states. `prompt_lookup_num_tokens`
    /// is another source of proposals, and the one that counts where there are both.
    pub fn assistant(self, assistant: &'a Model) -> Self {
        Self { setup: Setup { assistant: Some(assistant), ..self.setup }, ..self }
    }

    /// With a prompt that the `guidance_scale` of the settings moves away from, in place of the prompt's own last token:
    /// `input_ids`, and `attention_mask` where they are padded.
    pub fn negative_prompt(self, negative: &'a Inputs) -> Self {
        Self { setup: Setup { negative: Some(negative), ..self.setup }, ..self }
    }

    /// With a function that gets the tokens of every step as soon as they are known, and ends the generation by breaking;
    /// the result has the tokens until then. Not with beams, whose tokens are not known before the end.
    pub fn on_step(self, on_step: &'a mut OnStep<'a>) -> Self {
        Self { on_step: Some(on_step), ..self }
    }

    /// Reads the text of `inputs` without continuing it; where there is a prefix already, what follows that.
    ///
    /// Pieces are as long as `prefill_chunk_size` says; for a generation with an assistant, say here that there is one.
    /// Every row stands there once.
    ///
    /// # Errors
    /// As [`Model::generate`].
    pub fn prefill(self, inputs: &Inputs) -> Result<Prefix> {
        let config = GenerationConfig { num_return_sequences: 1, use_cache: true, ..self.config.clone() };
        let _guard = tch::no_grad_guard();
        catch(|| {
            let assisted = self.setup.assistant.is_some() || config.prompt_lookup_num_tokens.is_some();
            let kind = if assisted { CacheKind::Whole } else { CacheKind::Growing };
            let mut text = Text::new(self.setup.model, inputs, &config, self.setup.prefix)?.in_cache(kind);
            let _ = text.logits(self.setup.model, 1)?;
            Ok(Prefix::new(self.setup.model, text))
        })
    }

    /// Continues the text of `inputs`, which are those of [`Model::generate`].
    ///
    /// # Errors
    /// As [`Model::generate_with`], and [`Error::Input`](crate::Error::Input) where the inputs and the prefix do not fit
    /// each other.
    pub fn run(self, inputs: &Inputs) -> Result<Generated> {
        let Self { setup, config, mut on_step } = self;
        let _guard = tch::no_grad_guard();
        if config.num_beams > 1 {
            if on_step.is_some() {
                let message = "beams change until the end, so that no step can be handed over; set it to 1";
                return Err(Error::input("num_beams", format!("is {}; {message}", config.num_beams)));
            }
            return catch(|| {
                let mut beams = Beams::start(setup, config, inputs)?;
                while !beams.is_over() {
                    beams.advance()?;
                }
                let (ids, scores, prompt) = beams.into_parts();
                let prefix = Prefix::new(setup.model, prompt);
                Ok(Generated { ids, prefix, scores: Some(scores), assistance: None })
            });
        }
        let mut decoding = catch(|| Decoding::start(setup, config, inputs))?;
        // The caller's function stands outside: its panics are none of libtorch's.
        while !decoding.is_over() {
            catch(|| decoding.advance())?;
            let Some(on_step) = on_step.as_mut() else { continue };
            let steps = catch(|| decoding.last())?;
            if let Some(last) = steps.iter().position(|step| on_step(step).is_break()) {
                catch(|| decoding.take_back(steps.len() - 1 - last))?;
                break;
            }
        }
        let Decoding { text, source, assistance, .. } = decoding;
        Ok(Generated {
            ids: text.ids.shallow_clone(),
            prefix: Prefix::new(setup.model, text),
            scores: None,
            assistance: source.map(|_| assistance),
        })
    }
}
