//! The language of templates: `minijinja` with what `transformers` gives templates, spelt as Python does.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};
use serde_json::Map;

use super::{ChatTemplateError, clock, dialect, filters, methods, python};

/// Templates by name, compiled when they are first needed, and what they may cost.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    environment: Environment<'static>,
    steps: u64,
    bytes: usize,
}

/// The most levels of calls, loops and conditions in one another.
const MOST_NESTED: usize = 300;

/// What `raise_exception` was called with.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl Engine {
    pub fn new(sources: Arc<BTreeMap<String, String>>, steps: u64, bytes: usize) -> Result<Self, ChatTemplateError> {
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let mut environment = Environment::new();
        environment.set_debug(false);
        environment.set_syntax(syntax.map_err(|error| explain(super::DEFAULT, steps, &error))?);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(steps));
        // A macro counts ten times. The limit of `minijinja` exhausts the stack of a thread of 2 MB.
        environment.set_recursion_limit(MOST_NESTED);
        environment.set_unknown_method_callback(methods::call);
        environment.set_formatter(print);
        environment.set_loader(move |name| Ok(sources.get(name).map(|source| dialect::translate(source))));
        filters::add(&mut environment);
        environment.add_function("raise_exception", raise);
        Ok(Self { environment, steps, bytes })
    }

    /// Renders the template `name`, at the time `now`.
    pub fn render(
        &self,
        name: &str,
        variables: &Map<String, serde_json::Value>,
        now: SystemTime,
    ) -> Result<String, ChatTemplateError> {
        let failed = |error: &Error| explain(name, self.steps, error);
        let mut text = Limited { bytes: Vec::new(), most: self.bytes, is_full: false };
        let template = self.environment.get_template(name).map_err(|error| failed(&error))?;
        let variables = minijinja::context! {
            strftime_now => Value::from_function(move |format: &str| clock::strftime(now, format)),
            ..Value::from(Serde(variables))
        };
        let rendered = template.render_captured_to(variables, &mut text).map(|_| ());
        if text.is_full {
            return Err(ChatTemplateError::TooLong(self.bytes));
        }
        rendered.map_err(|error| failed(&error))?;
        // All of it was written as text.
        Ok(String::from_utf8_lossy(&text.bytes).into_owned())
    }
}

/// The error of the template `name` in the terms of this library.
fn explain(name: &str, steps: u64, error: &Error) -> ChatTemplateError {
    let mut cause = Some(error as &(dyn std::error::Error + 'static));
    let mut messages = Vec::new();
    while let Some(inner) = cause {
        if let Some(Raised(message)) = inner.downcast_ref() {
            return ChatTemplateError::Refused(message.clone());
        }
        if let Some(inner) = inner.downcast_ref::<Error>() {
            if inner.kind() == ErrorKind::OutOfFuel {
                return ChatTemplateError::Endless(steps);
            }
            messages.push(match inner.detail() {
                Some(detail) => detail.to_owned(),
                None => inner.kind().to_string(),
            });
        }
        cause = inner.source();
    }
    let (name, line) = (error.name().unwrap_or(name).to_owned(), error.line().unwrap_or(0));
    let message = messages.join(": ");
    match error.kind() {
        ErrorKind::SyntaxError => ChatTemplateError::Syntax { name, line, message },
        _ => ChatTemplateError::Failed { name, line, message },
    }
}
/// Where text is written to until there is too much of it.
struct Limited {
    bytes: Vec<u8>,
    most: usize,
    is_full: bool,
}

impl Write for Limited {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.is_full |= self.bytes.len().saturating_add(piece.len()) > self.most;
        if self.is_full {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn print(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text)?,
        None => out.write_str(&python::display(value))?,
    }
    Ok(())
}

fn raise(message: Option<Value>) -> Result<Value, Error> {
    let message = message.as_ref().map(python::display).unwrap_or_default();
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}
