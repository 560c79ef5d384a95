//! Chat templates: conversations to the text that a model was trained on, as `transformers` renders them.

mod clock;
mod conversation;
mod dialect;
mod engine;
mod error;
mod files;
mod filters;
mod json;
mod message;
mod methods;
mod python;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::{Error, Result};
use conversation::Continued;
use engine::Engine;
pub use error::ChatTemplateError;
pub use message::Message;

/// The name of a template that is not chosen by name.
const DEFAULT: &str = "default";
/// Steps of a template at most: ten thousand messages take about three million.
const STEPS: u64 = 10_000_000;
/// Bytes that a template writes at most.
const BYTES: usize = 64 << 20;

/// The chat template of a checkpoint, or its several named ones.
///
/// Templates are those of Jinja as `transformers` sets it up: blocks leave no line of their own behind, loops have
/// `break` and `continue`, `tojson` escapes no HTML, values print as in Python, `raise_exception` and `strftime_now`
/// are there, and so are the tokens with a role, `tools` and `documents`. What Jinja's sandbox forbids, such as
/// changing a list, is an error here too.
///
/// What templates of models do not use is not all there: formatting by `%`, a plus before a number, `varargs` of macros
/// and the filter `truncate` are errors. A comparison of values of different types and a loop over `none`, which are
/// errors in Python, are none here; and `x.items` without a call is the field of that name, not the method.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    sources: Arc<BTreeMap<String, String>>,
    special_tokens: Map<String, Value>,
    engine: Engine,
}

/// What a conversation is rendered with, besides its messages.
#[derive(Debug, Clone, Default)]
pub struct ChatOptions {
    /// Ends the text where the model's answer begins.
    pub add_generation_prompt: bool,
    /// Ends the text with the last message, open, for the model to continue it.
    pub continue_final_message: bool,
    /// The field of the last message to continue where it is not `content`, such as `reasoning_content`.
    pub continued_field: Option<String>,
    /// What the model may call, as JSON schemas.
    pub tools: Option<Vec<Value>>,
    /// What the model may look things up in, mostly with `title` and `text`.
    pub documents: Option<Vec<Map<String, Value>>>,
    /// The name of the template; where it is not given, `tool_use` with tools, and `default` otherwise.
    pub template: Option<String>,
    /// Further variables of the template, such as `enable_thinking`; they go before tokens of the same name.
    pub variables: Map<String, Value>,
    /// The time for templates that write the date; now where it is not given.
    pub time: Option<SystemTime>,
}

impl ChatOptions {
    /// For a text that the model answers to.
    pub fn answering() -> Self {
        Self { add_generation_prompt: true, ..Self::default() }
    }

    /// For a text that ends with the last message, for the model to continue it.
    pub fn continuing() -> Self {
        Self { continue_final_message: true, ..Self::default() }
    }

    /// Sets a variable of the template.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
}

impl ChatTemplate {
    /// A template from its source, which may not write special tokens before [`ChatTemplate::with_special_tokens`].
    ///
    /// # Errors
    /// [`ChatTemplateError::TooLarge`]. Mistakes in the source show when it renders.
    pub fn new(source: impl Into<String>) -> Result<Self> {
        Self::named([(DEFAULT.to_owned(), source.into())])
    }

    /// Several templates with their names; the one called `default` is taken where none is chosen.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`].
    pub fn named(sources: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let sources: Arc<BTreeMap<_, _>> = Arc::new(sources.into_iter().collect());
        for (name, source) in sources.iter() {
            files::check_size(name, source.len() as u64)?;
        }
        let engine = Engine::new(Arc::clone(&sources), STEPS, BYTES).map_err(Error::ChatTemplate)?;
        Ok(Self { sources, special_tokens: Map::new(), engine })
    }

    /// The templates of a checkpoint's directory: `chat_template.jinja` and `additional_chat_templates/*.jinja`, or
    /// `chat_template` in `tokenizer_config.json`, which also names the special tokens.
    ///
    /// # Errors
    /// [`ChatTemplateError::Missing`] where there is none, [`ChatTemplateError::TooLarge`], and
    /// [`Error::Io`] or [`Error::Json`] for a file that cannot be read.
    pub fn from_directory(directory: &Path) -> Result<Self> {
        let special_tokens = files::special_tokens(directory)?;
        Ok(Self { special_tokens, ..Self::named(files::templates(directory)?)? })
    }

    /// Tokens that the templates may write by their role (`bos_token`, `eos_token`, …).
    pub fn with_special_tokens(self, special_tokens: Map<String, Value>) -> Self {
        Self { special_tokens, ..self }
    }

    /// Lets a template take `steps` steps and write `bytes` bytes at most, in place of ten million and 64 MiB.
    ///
    /// # Errors
    /// None with limits that are at least 1.
    pub fn limited_to(self, steps: u64, bytes: usize) -> Result<Self> {
        Ok(Self { engine: Engine::new(Arc::clone(&self.sources), steps, bytes).map_err(Error::ChatTemplate)?, ..self })
    }

    /// The names of the templates.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }

    /// The source of the template that is taken with `options`.
    ///
    /// # Errors
    /// [`ChatTemplateError::UnknownName`].
    pub fn source(&self, options: &ChatOptions) -> Result<&str> {
        Ok(self.choose(options)?.1)
    }

    /// The text of a conversation.
    ///
    /// Fields of messages that are null count as missing. What a model thought may be called `reasoning_content`,
    /// `thinking` or `reasoning`; the template finds it under the first two names.
    ///
    /// # Errors
    /// [`Error::Input`] for a conversation without messages or one that cannot be continued, and
    /// [`Error::ChatTemplate`] for what the template says or does.
    pub fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        let (name, source) = self.choose(options)?;
        let mut messages = conversation::normalized(messages)?;
        let continued = match options.continue_final_message {
            true => Some(Continued::mark(&mut messages, source, options)?),
            false => None,
        };
        let mut variables = self.special_tokens.clone();
        variables.extend(options.variables.clone());
        variables.insert("messages".into(), messages.into());
        variables.insert("tools".into(), options.tools.clone().into());
        variables.insert("documents".into(), options.documents.clone().into());
        variables.insert("add_generation_prompt".into(), options.add_generation_prompt.into());
        let now = options.time.unwrap_or_else(SystemTime::now);
        let text = self.engine.render(name, &variables, now).map_err(Error::ChatTemplate)?;
        match continued {
            Some(continued) => continued.cut(text),
            None => Ok(text),
        }
    }

    fn choose(&self, options: &ChatOptions) -> Result<(&str, &str)> {
        let wanted = match &options.template {
            Some(name) => name,
            None if options.tools.is_some() && self.sources.contains_key("tool_use") => "tool_use",
            None => DEFAULT,
        };
        match self.sources.get_key_value(wanted) {
            Some((name, source)) => Ok((name, source)),
            None => {
                let names = self.sources.keys().cloned().collect();
                Err(Error::ChatTemplate(ChatTemplateError::UnknownName { wanted: wanted.to_owned(), names }))
            }
        }
    }
}
