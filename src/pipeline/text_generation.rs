use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::generating::Writer;
use super::{Conversation, Options, Text, TypedPipeline};
use crate::auto::{AutoModelForCausalLM, Checkpoint};
use crate::text::{ChatOptions, ChatTemplate, ChatTemplateError, Message, Side, Strategy, Streamer, Truncation};
use crate::{Error, GenerationConfig, Result};

/// Texts continued: any checkpoint with a head for language modelling.
#[derive(Debug)]
pub struct TextGeneration {
    pub(super) writer: Writer,
    /// What makes texts of conversations, where the checkpoint has it.
    template: Option<ChatTemplate>,
}

/// What is continued: a text, or a conversation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Messages, the last of which is answered or, where it is the model's own, continued.
    Chat(Vec<Message>),
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
    /// Of conversations: whether the last message is continued instead of answered; so it is where it is the model's own.
    pub continue_final_message: Option<bool>,
    /// Of conversations: what the model may call, as JSON schemas.
    pub tools: Option<Vec<Value>>,
    /// Of conversations: what the model may look things up in.
    pub documents: Option<Vec<Map<String, Value>>>,
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
            continue_final_message: None,
            tools: None,
            documents: None,
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

/// What is written for a [`Prompt`], as Python's pipeline returns it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Continued {
    /// A text.
    Text(Written),
    /// The conversation with the answer.
    Chat {
        /// All messages.
        generated_text: Vec<Message>,
    },
}

impl TextGeneration {
    /// Loads a checkpoint.
    ///
    /// # Errors
    /// As [`Text::from_pretrained`], and [`Error::Config`] for settings in its files that are not supported.
    pub fn from_pretrained(checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Self> {
        let defaults = [("max_new_tokens", json!(256)), ("do_sample", json!(true)), ("temperature", json!(0.7))];
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        let directory = checkpoint.into().directory()?;
        let mut writer = Writer::from_pretrained(AutoModelForCausalLM::CLASS, &directory, options, defaults)?;
        writer.text = writer.text.with_tokenizer(|tokenizer| Ok(tokenizer.padded_on(Side::Left)))?;
        let template = match ChatTemplate::from_directory(&directory) {
            Err(Error::ChatTemplate(ChatTemplateError::Missing { .. })) => None,
            template => Some(template?),
        };
        Ok(Self { writer, template })
    }

    /// Tokenizer and model.
    pub fn text(&self) -> &Text {
        &self.writer.text
    }

    /// A conversation that begins with `messages`, and remembers from turn to turn what the model has read.
    pub fn conversation(&self, messages: Vec<Message>) -> Conversation<'_> {
        Conversation::new(self, messages)
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

    /// The model's answer to a conversation, or the continuation of its last message, as often as
    /// `num_return_sequences` says.
    ///
    /// # Errors
    /// As [`TextGeneration::generate`], and as [`ChatTemplate::render`]; where the checkpoint has no template,
    /// [`Error::Input`].
    pub fn chat(&self, messages: &[Message], settings: &TextGenerationSettings) -> Result<Vec<String>> {
        let text = self.rendered(messages, settings)?;
        let written = self.generate(&[&text], &as_it_is(settings))?;
        Ok(written.into_iter().flatten().map(|written| written.generated_text).collect())
    }

    /// As [`TextGeneration::stream`], for the answer to a conversation.
    ///
    /// # Errors
    /// As [`TextGeneration::chat`] and [`TextGeneration::stream`].
    pub fn stream_chat(
        &self,
        messages: &[Message],
        settings: &TextGenerationSettings,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<()> {
        self.stream(&self.rendered(messages, settings)?, &as_it_is(settings), on_piece)
    }

    /// The text of a conversation.
    pub(super) fn rendered(&self, messages: &[Message], settings: &TextGenerationSettings) -> Result<String> {
        let template = self.template.as_ref().ok_or_else(|| {
            Error::input("messages", "cannot be continued: the checkpoint has no chat template; give a text instead")
        })?;
        let continues = continues(messages, settings);
        let options = ChatOptions {
            add_generation_prompt: !continues,
            continue_final_message: continues,
            tools: settings.tools.clone(),
            documents: settings.documents.clone(),
            ..ChatOptions::default()
        };
        template.render(messages, &options)
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
        let config = self.streaming(settings)?;
        let skip = settings.skip_special_tokens.unwrap_or(true);
        let mut streamer = Streamer::new(self.writer.text.tokenizer(), skip);
        let mut give = |piece: String| if piece.is_empty() { ControlFlow::Continue(()) } else { on_piece(&piece) };
        let mut on_token = |token| Ok(give(streamer.push(token)?));
        self.writer.write(self.encoded(&[prompt], settings)?, &config, settings.seed, Some(&mut on_token))?;
        let _ = give(streamer.finish()?);
        Ok(())
    }

    /// What a generation of one text goes by, which is handed over as it comes.
    pub(super) fn streaming(&self, settings: &TextGenerationSettings) -> Result<GenerationConfig> {
        let config = self.writer.config(&settings.generation)?;
        match config.num_beams > 1 || config.num_return_sequences > 1 {
            true => {
                let message = "and `num_return_sequences` are 1 where a text is handed over as it comes";
                Err(Error::input("num_beams", message))
            }
            false => Ok(config),
        }
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
    type Input = Prompt;
    type Settings = TextGenerationSettings;
    type Output = Vec<Continued>;

    fn call(&self, inputs: &[Prompt], settings: &Self::Settings) -> Result<Vec<Vec<Continued>>> {
        let texts: Vec<&str> = inputs
            .iter()
            .filter_map(|input| if let Prompt::Text(text) = input { Some(&**text) } else { None })
            .collect();
        let mut written = match texts.is_empty() {
            true => Vec::new(),
            false => self.generate(&texts, settings)?,
        }
        .into_iter();
        let full = settings.return_full_text.unwrap_or(true);
        let mut result = |input: &Prompt| match input {
            Prompt::Text(_) => Ok(written.next().unwrap_or_default().into_iter().map(Continued::Text).collect()),
            Prompt::Chat(messages) => {
                let answers = self.chat(messages, settings)?.into_iter();
                Ok(answers
                    .map(|answer| match full {
                        true => Continued::Chat { generated_text: answered(messages, answer, settings) },
                        false => Continued::Text(Written { generated_text: answer }),
                    })
                    .collect())
            }
        };
        inputs.iter().map(&mut result).collect()
    }
}

/// Whether the last message is continued.
fn continues(messages: &[Message], settings: &TextGenerationSettings) -> bool {
    let own = || messages.last().is_some_and(|message| message.role() == "assistant");
    settings.continue_final_message.unwrap_or_else(own)
}

/// `messages` with the model's answer.
fn answered(messages: &[Message], answer: String, settings: &TextGenerationSettings) -> Vec<Message> {
    let mut messages = messages.to_vec();
    match messages.last_mut() {
        Some(last) if continues(std::slice::from_ref(last), settings) => {
            let content = last.text().unwrap_or_default().to_owned() + &answer;
            *last = last.clone().with("content", content);
        }
        _ => messages.push(Message::assistant(answer)),
    }
    messages
}

/// `settings` for a text that a template has made: it has its special tokens already, and only the answer is returned.
fn as_it_is(settings: &TextGenerationSettings) -> TextGenerationSettings {
    TextGenerationSettings {
        prefix: String::new(),
        add_special_tokens: Some(false),
        return_full_text: Some(false),
        ..settings.clone()
    }
}
