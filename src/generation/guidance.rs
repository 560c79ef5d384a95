//! Guidance without a classifier: scores move away from what would follow another text (arXiv:2306.17806).

use tch::{Kind, Tensor};

use super::GenerationConfig;
use super::decoding::Setup;
use super::text::Text;
use crate::model::Generation;
use crate::{Error, Inputs, Model, Result};

/// The other text, which gets the same new tokens.
pub(super) struct Guidance {
    scale: f64,
    text: Text,
}

impl Guidance {
    /// The guidance of `text` that `config` asks for: away from the negative prompt, or else from the last tokens of
    /// `text` alone.
    pub fn new(setup: &Setup<'_>, text: &Text, config: &GenerationConfig) -> Result<Option<Self>> {
        let refused = |name: &str, message: &str| Err(Error::input(name, message));
        if config.guidance_scale == 1.0 {
            return match setup.negative {
                Some(_) => refused("guidance_scale", "is 1, with which a negative prompt changes nothing"),
                None => Ok(None),
            };
        }
        if !config.guidance_scale.is_finite() {
            return refused("guidance_scale", "is no finite number");
        }
        if text.generation != Generation::DecoderOnly {
            return refused("guidance_scale", "moves away from another prompt, and this class has an encoder instead");
        }
        if config.num_beams > 1 {
            return refused("guidance_scale", "guides one beam; set `num_beams` to 1");
        }
        if setup.assistant.is_some() || config.prompt_lookup_num_tokens.is_some() {
            return refused("guidance_scale", "guides one token at a time; leave the assistant out");
        }
        let plain = GenerationConfig { prefill_chunk_size: None, ..config.clone() };
        let mut other = match setup.negative {
            Some(negative) => Text::new(setup.model, negative, &plain, None)?,
            None => {
                let last = Inputs::new().with("input_ids", text.ids.narrow(1, -1, 1));
                Text::new(setup.model, &last, &GenerationConfig { num_return_sequences: 1, ..plain }, None)?
            }
        };
        if other.rows() != text.rows() {
            let message = format!("makes {} rows, the prompt {}", other.rows(), text.rows());
            return Err(Error::input("negative_prompt", message));
        }
        // As Python: the class itself says where its tokens stand.
        other.positions = None;
        Ok(Some(Self { scale: config.guidance_scale, text: other }))
    }

    /// The logarithms of probabilities that `logits` (`[rows, vocabulary]`) give, as far away from those of the other text
    /// as the scale says.
    pub fn guided(&mut self, model: &Model, logits: &Tensor) -> Result<Tensor> {
        let other = self.text.logits(model, 1)?.select(1, -1).log_softmax(-1, None::<Kind>);
        Ok((logits.log_softmax(-1, None::<Kind>) - &other) * self.scale + other)
    }

    /// Adds the new tokens `[rows, 1]`.
    pub fn push(&mut self, next: &Tensor) {
        self.text.push(next);
    }
}
