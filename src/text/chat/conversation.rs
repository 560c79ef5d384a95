//! Messages as templates see them, and the one that the model continues.

use serde_json::{Map, Value};

use super::{ChatOptions, Message, python};
use crate::{Error, Result};

/// Names that messages have for what a model thought.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
/// Stands where the last message ends; its space tells whether the template keeps spaces there.
const MARK: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// The messages without what is null, and with a model's thoughts under the names that templates read.
pub(super) fn normalized(messages: &[Message]) -> Result<Vec<Map<String, Value>>> {
    if messages.is_empty() {
        return Err(Error::input("messages", "is empty; expected at least one message"));
    }
    Ok(messages.iter().map(|message| with_reasoning(without_nulls(message.fields()))).collect())
}

fn without_nulls(fields: &Map<String, Value>) -> Map<String, Value> {
    fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn with_reasoning(fields: Map<String, Value>) -> Map<String, Value> {
    let Some(reasoning) = REASONING.iter().find_map(|name| fields.get(*name)).cloned() else { return fields };
    let mut named = Map::new();
    named.insert("thinking".into(), reasoning.clone());
    named.extend(fields);
    named.insert("reasoning_content".into(), reasoning);
    named
}

/// The last message of a conversation whose end is marked.
pub(super) struct Continued {
    text: String,
}

impl Continued {
    /// Marks the end of the last message of `messages`, as the template `source` will see it.
    pub fn mark(messages: &mut [Map<String, Value>], source: &str, options: &ChatOptions) -> Result<Self> {
        let wrong = |message: String| Err(Error::input("continue_final_message", message));
        if options.add_generation_prompt {
            return wrong("does not go together with `add_generation_prompt`; set one of them".into());
        }
        let field = options.continued_field.as_deref().unwrap_or("content");
        let Some(last) = messages.last_mut() else { return wrong("is set, but there are no messages".into()) };
        let Some(value) = last.get(field).cloned() else {
            return wrong(format!("is set, but the last message has no `{field}` to continue"));
        };
        // A thought has several names; whichever the template reads counts.
        let names: Vec<&str> = match REASONING.contains(&field) {
            true => REASONING.into_iter().filter(|name| last.get(*name) == Some(&value)).collect(),
            false => vec![field],
        };
        if !names.iter().any(|name| source.contains(name)) {
            return wrong(format!("is set, but the template does not read `{field}`"));
        }
        match value {
            Value::String(text) => {
                for name in names {
                    last.insert(name.to_owned(), format!("{text}{MARK}").into());
                }
                Ok(Self { text })
            }
            Value::Array(mut parts) => {
                let text = parts.iter_mut().rev().find_map(|part| match part.get_mut("text") {
                    Some(Value::String(text)) => {
                        let plain = text.clone();
                        text.push_str(MARK);
                        Some(plain)
                    }
                    _ => None,
                });
                let Some(text) = text else {
                    return wrong(format!("is set, but no part of the last message's `{field}` is a text"));
                };
                last.insert(field.to_owned(), parts.into());
                Ok(Self { text })
            }
            _ => wrong(format!("is set, but `{field}` of the last message is neither a text nor a list of parts")),
        }
    }

    /// The text up to the mark.
    pub fn cut(&self, mut rendered: String) -> Result<String> {
        let at =
            rendered.rfind(MARK.trim_end()).filter(|_| rendered.contains(self.text.trim_matches(python::is_space)));
        let Some(at) = at else {
            let message = "is set, but the template does not write the last message, or not all of it";
            return Err(Error::input("continue_final_message", message));
        };
        // A template that trims the message has trimmed the mark.
        let keeps_spaces = rendered[at..].starts_with(MARK);
        rendered.truncate(at);
        if !keeps_spaces {
            rendered.truncate(rendered.trim_end_matches(python::is_space).len());
        }
        Ok(rendered)
    }
}
