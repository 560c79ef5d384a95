//! Greedy decoding.

use tch::{Kind, Tensor};

use crate::error::catch;
use crate::inputs::{Argument, Dim};
use crate::model::Generation;
use crate::{Cache, Error, Inputs, Model, Result};

/// How far [`Model::generate`] goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationOptions {
    /// Tokens to add at most.
    pub max_new_tokens: usize,
    /// Tokens that end a row. Where there are none, every row gets `max_new_tokens`.
    pub eos_token_ids: Vec<i64>,
}

impl Default for GenerationOptions {
    /// 20 tokens, as in `transformers`, and no end.
    fn default() -> Self {
        Self { max_new_tokens: 20, eos_token_ids: Vec::new() }
    }
}

/// The argument that grows by the generated tokens.
pub(crate) fn ids_name(generation: Generation) -> &'static str {
    match generation {
        Generation::DecoderOnly => "input_ids",
        Generation::EncoderDecoder { .. } => "decoder_input_ids",
    }
}

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
    /// [`Error::Input`] when the class does not generate, or as [`Model::forward`].
    pub fn generate(&self, inputs: &Inputs, options: &GenerationOptions) -> Result<Tensor> {
        let generation = self.generation().ok_or_else(|| {
            Error::input(
                "class",
                format!("`{}` does not generate; load a class with a language model head", self.class()),
            )
        })?;
        catch(|| {
            let _guard = tch::no_grad_guard();
            Decoding::start(self, generation, inputs)?.run(options)
        })
    }

    fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments().iter().find(|argument| argument.name == name)
    }
}

/// A decoding on its way.
struct Decoding<'a> {
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
}

impl<'a> Decoding<'a> {
    fn start(model: &'a Model, generation: Generation, inputs: &Inputs) -> Result<Self> {
        let mut lasting = inputs.to(model.device(), model.kind());
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
            let flat = model.argument("position_ids")?.shape.len() == 2;
            (flat && generation == Generation::DecoderOnly).then(|| match &mask {
                Some(mask) => (mask.to_kind(Kind::Int64).cumsum(-1, Kind::Int64) - 1).clamp_min(0),
                None => Tensor::arange(ids.size()[1], (Kind::Int64, ids.device())).expand_as(&ids),
            })
        });
        Ok(Self { model, generation, lasting, once, ids, mask, positions, cache: Cache::new() })
    }

    fn run(mut self, options: &GenerationOptions) -> Result<Tensor> {
        self.fits(options.max_new_tokens)?;
        let ends = Tensor::from_slice(&options.eos_token_ids).to_device(self.ids.device());
        let pad = self.model.config().get("pad_token_id").and_then(serde_json::Value::as_i64);
        let pad = pad.or(options.eos_token_ids.first().copied()).unwrap_or(0);
        let mut ended = Tensor::zeros([self.ids.size()[0], 1], (Kind::Bool, self.ids.device()));
        for step in 0..options.max_new_tokens {
            let outgrown = |limit| self.ids.size()[1] > limit && self.cache.len() <= limit;
            let anew = step == 0 || self.model.module().renewed_beyond().is_some_and(outgrown);
            if anew {
                self.cache = Cache::new();
            }
            let inputs = self.step(anew);
            let outputs = self.model.forward_cached(&inputs, &mut self.cache)?;
            let logits =
                outputs.get("logits").ok_or_else(|| Error::input("class", "returns no `logits` to choose from"))?;
            let next = logits.select(1, -1).argmax(-1, true).masked_fill(&ended, pad);
            self.ids = Tensor::cat(&[&self.ids, &next], 1);
            self.mask = self.mask.map(|mask| Tensor::cat(&[&mask, &mask.narrow(1, 0, 1).ones_like()], 1));
            let more = |positions: Tensor| Tensor::cat(&[&positions, &(positions.narrow(-1, -1, 1) + 1)], -1);
            self.positions = self.positions.map(more);
            if !options.eos_token_ids.is_empty() {
                ended = ended.logical_or(&Tensor::isin(&next, &ends, true, false));
                if ended.all().int64_value(&[]) != 0 {
                    break;
                }
            }
        }
        Ok(self.ids)
    }

    /// The inputs of the next step: all tokens where there is nothing in the cache, one at a time after that.
    fn step(&mut self, first: bool) -> Inputs {
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

    /// Whether prompt and new tokens fit into the model's positions; the last token is never passed in.
    fn fits(&self, new: usize) -> Result<()> {
        let name = ids_name(self.generation);
        let most = self.model.argument(name).and_then(|argument| match argument.shape.last() {
            Some(Dim::AtMost(_, most)) => Some(*most),
            _ => None,
        });
        let prompt = self.ids.size()[1];
        let total = i64::try_from(new).unwrap_or(i64::MAX).saturating_add(prompt - 1);
        match most.filter(|most| total > *most) {
            Some(most) => {
                let message = format!("{new} after a prompt of {prompt} exceed the model's {most} positions");
                Err(Error::input("max_new_tokens", message))
            }
            None => Ok(()),
        }
    }
}
