use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::generating::Writer;
use super::{Options, Text, TypedPipeline};
use crate::auto::{AutoModelForCausalLM, Checkpoint};
use crate::text::{Side, Strategy, Streamer, Truncation};
use crate::{Error, Result};

/// Texts continued: any checkpoint with a head for language modelling.
#[derive(Debug)]
pub struct TextGeneration {
    writer: Writer,
}

/// The arguments of a call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct TextGenerationSettings {
    /// Whether the prompt stands before what is written; so it does unless this is false.
    pub return_full_text: Option<bool>,
    /// Put before every prompt, and not returned.
    pub prefix: String,
    /// Whether special tokens are put around a prompt; so they are unless this is false.
    pub add_special_tokens: Option<bool>,
    /// Whether special tokens are left out of what is returned; so they are unless this is false.
    pub skip_special_tokens: Option<bool>,
    /// Where what is drawn begins.
    pub seed: u64,
    /// The settings of the generation, by their names in [`GenerationConfig`](crate::GenerationConfig), over those of the
    /// checkpoint. Where neither sets them, `max_new_tokens` is 256, and tokens are drawn with a `temperature` of 0.7, as
    /// Python's pipeline has it.
    #[serde(flatten)]
    pub generation: Map<String, Value>,
}

impl Default for TextGenerationSettings {
    fn default() -> Self {
        Self {
            return_full_text: None,
            prefix: String::new(),
            add_special_tokens: None,
            skip_special_tokens: None,
            seed: 0,
            generation: Map::new(),
        }
    }
}

impl TextGenerationSettings {
    /// The most probable `max_new_tokens` tokens, one after the other.
    pub fn greedy(max_new_tokens: usize) -> Self {
        let generation = [("do_sample", json!(false)), ("max_new_tokens", json!(max_new_tokens))];
        let generation = generation.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        Self { generation, ..Self::default() }
    }
}

/// A text that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The text.
    pub generated_text: String,
}

impl TextGeneration {
    /// Loads a checkpoint.
    ///
    /// # Errors
    /// As [`Text::from_pretrained`], and [`Error::Config`] for settings in its files that are not supported.
    pub fn from_pretrained(checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Self> {
        let defaults = [("max_new_tokens", json!(256)), ("do_sample", json!(true)), ("temperature", json!(0.7))];
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        let mut writer = Writer::from_pretrained(AutoModelForCausalLM::CLASS, checkpoint, options, defaults)?;
        writer.text = writer.text.with_tokenizer(|tokenizer| Ok(tokenizer.padded_on(Side::Left)))?;
        Ok(Self { writer })
    }

    /// Tokenizer and model.
    pub fn text(&self) -> &Text {
        &self.writer.text
    }

    /// Every prompt continued, as often as `num_return_sequences` says.
    ///
    /// # Errors
    /// [`Error::Input`] and [`Error::Config`] for a setting that does not fit, [`Error::Tokenizer`] for a prompt without
    /// tokens, and as [`Model::generate_with`](crate::Model::generate_with).
    pub fn generate(&self, prompts: &[&str], settings: &TextGenerationSettings) -> Result<Vec<Vec<Written>>> {
        let config = self.writer.config(&settings.generation)?;
        let rows = self.writer.write(self.encoded(prompts, settings)?, &config, settings.seed, None)?;
        let skip = settings.skip_special_tokens.unwrap_or(true);
        let full = settings.return_full_text.unwrap_or(true);
        let text = |(prompt, rows): (&&str, Vec<Vec<i64>>)| -> Result<Vec<Written>> {
            let before = if full { *prompt } else { "" };
            let decoded = |row: Vec<i64>| self.writer.text.tokenizer().decode(&row, skip);
            rows.into_iter().map(|row| Ok(Written { generated_text: before.to_owned() + &decoded(row)? })).collect()
        };
        std::iter::zip(prompts, rows).map(text).collect()
    }

    /// One prompt continued; `on_piece` is given what is written as soon as it stands for good, word by word, and ends
    /// the generation by breaking.
    ///
    /// # Errors
    /// As [`TextGeneration::generate`]; beams and several sequences cannot be handed over piece by piece.
    pub fn stream(
        &self,
        prompt: &str,
        settings: &TextGenerationSettings,
        mut on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<()> {
        let config = self.writer.config(&settings.generation)?;
        if config.num_beams > 1 || config.num_return_sequences > 1 {
            return Err(Error::input(
                "num_beams",
                "and `num_return_sequences` are 1 where a text is handed over as it comes",
            ));
        }
        let skip = settings.skip_special_tokens.unwrap_or(true);
        let mut streamer = Streamer::new(self.writer.text.tokenizer(), skip);
        let mut give = |piece: String| if piece.is_empty() { ControlFlow::Continue(()) } else { on_piece(&piece) };
        let mut on_token = |token| Ok(give(streamer.push(token)?));
        self.writer.write(self.encoded(&[prompt], settings)?, &config, settings.seed, Some(&mut on_token))?;
        let _ = give(streamer.finish()?);
        Ok(())
    }

    fn encoded(&self, prompts: &[&str], settings: &TextGenerationSettings) -> Result<Vec<tokenizers::Encoding>> {
        let tokenizer = self.writer.text.tokenizer();
        let texts: Vec<String> = prompts.iter().map(|prompt| format!("{}{prompt}", settings.prefix)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        match settings.add_special_tokens.unwrap_or(true) {
            true => tokenizer.encode_cut(&texts, Truncation { strategy: Strategy::None, ..tokenizer.truncation() }),
            false => tokenizer.encode_plain(&texts),
        }
    }
}

impl TypedPipeline for TextGeneration {
    const TASK: &'static str = "text-generation";
    type Input = String;
    type Settings = TextGenerationSettings;
    type Output = Vec<Written>;

    fn call(&self, inputs: &[String], settings: &Self::Settings) -> Result<Vec<Vec<Written>>> {
        self.generate(&inputs.iter().map(String::as_str).collect::<Vec<_>>(), settings)
    }
}
