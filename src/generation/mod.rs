//! Generation of tokens: what is generated, and what changes the scores that tokens are chosen by.

mod assisted;
mod beams;
mod caching;
mod candidates;
mod config;
mod decoding;
mod generator;
mod guidance;
mod options;
mod prefix;
pub mod processors;
mod reading;
mod sampling;
mod search;
mod stop_strings;
mod stopping;
mod text;
#[cfg(test)]
pub(crate) mod watched;

use std::ops::ControlFlow;

use tch::Tensor;

use crate::{Inputs, Model, Result};

pub use caching::CacheImplementation;
pub use candidates::{Assistance, AssistantSchedule};
pub use config::{EarlyStopping, GenerationConfig};
pub use generator::{Generated, Generator};
pub use options::GenerationOptions;
pub use prefix::Prefix;
pub use sampling::Sampler;
pub use stop_strings::{StopStrings, TokenTexts};
pub(crate) use text::ids_name;

/// What one step of a generation has added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The number of steps before it.
    pub index: usize,
    /// The new token of every row, padding where the row had ended before.
    pub tokens: Vec<i64>,
    /// Whether the row has ended, with this token or before.
    pub ended: Vec<bool>,
}

/// What [`Model::generate_streaming`] calls with every step; it ends the generation by breaking.
pub type OnStep<'a> = dyn FnMut(&Step) -> ControlFlow<()> + 'a;

impl Model {
    /// Continues a prompt with the most probable token, again and again.
    ///
    /// A decoder-only class continues `input_ids` (`[batch, prompt]`, padded on the left under `attention_mask`) and
    /// returns prompt and new tokens. An encoder-decoder class looks at its encoder's inputs, continues
    /// `decoder_input_ids` (the start token where it is not given), and returns these and the new tokens. Inputs
    /// such as images belong to the prompt and are passed once. A row that has ended is filled up with
    /// `pad_token_id` of the configuration, or the first end token. int64, on the model's device.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) when the class does not generate, or as [`Model::forward`].
    pub fn generate(&self, inputs: &Inputs, options: &GenerationOptions) -> Result<Tensor> {
        let pad_token_id = self.config().get("pad_token_id").and_then(serde_json::Value::as_i64);
        self.generate_with(inputs, &GenerationConfig { pad_token_id, ..options.into() }, 0)
    }

    /// Continues a prompt as `config` says; drawn tokens are those of the [`Sampler`] of `seed`.
    ///
    /// Inputs and result are those of [`Model::generate`]; with `num_return_sequences` every row of the prompt stands
    /// in the result as often, one copy after another; with beams, the best first.
    ///
    /// # Errors
    /// As [`Model::generate`], and [`Error::Input`](crate::Error::Input) for a setting outside its range or that does
    /// not fit the prompt.
    pub fn generate_with(&self, inputs: &Inputs, config: &GenerationConfig, seed: u64) -> Result<Tensor> {
        Ok(self.generator(config).seed(seed).run(inputs)?.ids)
    }

    /// As [`Model::generate_with`], and hands over the tokens of every step as soon as they are known. The generation
    /// ends where `on_step` breaks; the result has the tokens until then.
    ///
    /// # Errors
    /// As [`Model::generate_with`].
    pub fn generate_streaming(
        &self,
        inputs: &Inputs,
        config: &GenerationConfig,
        seed: u64,
        on_step: &mut OnStep<'_>,
    ) -> Result<Tensor> {
        Ok(self.generator(config).seed(seed).on_step(on_step).run(inputs)?.ids)
    }
}
