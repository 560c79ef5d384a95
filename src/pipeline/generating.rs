//! What the pipelines that write text share: the settings of a generation, and batches of prompts.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};
use tokenizers::Encoding;

use super::Text;
use super::text::numbers;
use crate::auto::{AutoClass, AutoConfig, Checkpoint};
use crate::error::catch;
use crate::generation::{Generated, Prefix, Step, TokenTexts};
use crate::{Error, GenerationConfig, Inputs, Result};

/// Settings that count only where tokens are drawn.
const SAMPLING: &[&str] =
    &["temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"];

/// A model that writes, its tokenizer, and the settings that its checkpoint makes.
#[derive(Debug)]
pub(super) struct Writer {
    pub text: Text,
    /// What the checkpoint says.
    stored: Map<String, Value>,
    /// What the task says where nobody else does.
    defaults: Map<String, Value>,
    token_texts: OnceLock<TokenTexts>,
}

impl Writer {
    /// Loads a checkpoint; `defaults` are the task's own settings.
    pub fn from_pretrained(
        auto: AutoClass,
        checkpoint: impl Into<Checkpoint>,
        options: &super::Options,
        mut defaults: Map<String, Value>,
    ) -> Result<Self> {
        let directory = checkpoint.into().directory()?;
        let class = auto.class_of(&AutoConfig::from_pretrained(&directory)?)?;
        let text = Text::with_class(&directory, class.name, options)?;
        if text.model().generation().is_none() {
            return Err(Error::input("model", format!("`{}` does not generate", class.name)));
        }
        if let Some(pad) = &text.tokenizer().special_tokens().pad {
            defaults.insert("pad_token_id".into(), pad.id.into());
        }
        let stored = GenerationConfig::settings_of(&directory)?;
        Ok(Self { text, stored, defaults, token_texts: OnceLock::new() })
    }

    /// `settings` over those of the checkpoint over those of the task.
    pub fn config(&self, settings: &Map<String, Value>) -> Result<GenerationConfig> {
        if let Some(name) = settings.keys().find(|name| !GenerationConfig::has(name)) {
            return Err(Error::input(name, "is neither a setting of this pipeline nor of a generation"));
        }
        let mut all = self.stored.clone();
        all.extend(settings.iter().map(|(name, value)| (name.clone(), value.clone())));
        for (name, value) in &self.defaults {
            // A limit of new tokens would take the place of one of the whole text.
            if !(name == "max_new_tokens" && all.contains_key("max_length")) {
                all.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        if all.get("do_sample").and_then(Value::as_bool) != Some(true) {
            let own = |name: &String| settings.contains_key(name) || self.stored.contains_key(name);
            all.retain(|name, _| !SAMPLING.contains(&name.as_str()) || own(name));
        }
        GenerationConfig::from_json(&Value::Object(all))
    }

    /// The tokens that are written for each of `prompts`, as many rows as `num_return_sequences` says: all that comes
    /// after the prompt or, of an encoder-decoder, after its start.
    pub fn write(
        &self,
        prompts: Vec<Encoding>,
        config: &GenerationConfig,
        seed: u64,
        mut on_token: Option<&mut dyn FnMut(i64) -> Result<ControlFlow<()>>>,
    ) -> Result<Vec<Vec<Vec<i64>>>> {
        let all = prompts.len();
        let mut written: Vec<Vec<Vec<i64>>> = vec![Vec::new(); all];
        let mut done = 0;
        for batch in self.text.batches(prompts, self.text.batch_size()) {
            let batch = batch?;
            let mut inputs = batch.inputs;
            inputs.remove("token_type_ids");
            let mut each = |step: &Step| match (on_token.as_mut(), step.tokens.first()) {
                (Some(on_token), Some(token)) => on_token(*token),
                _ => Ok(ControlFlow::Continue(())),
            };
            let ids = self.run(&inputs, config, seed, None, &mut each)?.ids;
            let start = match self.text.model().generation() {
                Some(crate::model::Generation::DecoderOnly) => inputs.need("input_ids")?.size()[1],
                _ => 1,
            };
            let rows = catch(|| rows(&ids, start))?;
            for (place, rows) in std::iter::zip(&batch.places, rows.chunks(config.num_return_sequences.max(1))) {
                written[*place] = rows.to_vec();
            }
            done += batch.places.len();
            self.text.tell(done, all);
        }
        Ok(written)
    }

    /// A generation after `inputs`, which begin with `prefix` where there is one.
    pub fn run(
        &self,
        inputs: &Inputs,
        config: &GenerationConfig,
        seed: u64,
        prefix: Option<&Prefix>,
        on_step: &mut dyn FnMut(&Step) -> Result<ControlFlow<()>>,
    ) -> Result<Generated> {
        let mut failure = None;
        let mut on_step = |step: &Step| {
            on_step(step).unwrap_or_else(|error| {
                failure = Some(error);
                ControlFlow::Break(())
            })
        };
        let mut generator = self.text.model().generator(config).seed(seed);
        if let Some(prefix) = prefix {
            generator = generator.prefix(prefix);
        }
        if !config.stop_strings.is_empty() {
            generator = generator.token_texts(self.token_texts()?);
        }
        if config.num_beams == 1 {
            generator = generator.on_step(&mut on_step);
        }
        let generated = generator.run(inputs)?;
        failure.map_or(Ok(generated), Err)
    }

    fn token_texts(&self) -> Result<&TokenTexts> {
        if self.token_texts.get().is_none() {
            let texts = TokenTexts::of(self.text.tokenizer().inner())?;
            return Ok(self.token_texts.get_or_init(|| texts));
        }
        self.token_texts.get().ok_or_else(|| Error::Tokenizer("the texts of tokens are not there".into()))
    }
}

/// The rows of `ids`, each from `start` on.
fn rows(ids: &Tensor, start: i64) -> Result<Vec<Vec<i64>>> {
    let ids = ids.narrow(1, start, ids.size()[1] - start).to_device(Device::Cpu).to_kind(Kind::Int64);
    (0..ids.size()[0]).map(|row| numbers(&ids.get(row))).collect()
}
