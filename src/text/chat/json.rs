//! JSON as Python's `json.dumps` spells it.

use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::python;

/// How deep values nest before they are refused.
const DEEPEST: usize = 200;

/// The filter `tojson`, with the arguments that `transformers` gives it.
pub(super) fn tojson(
    value: &Value,
    ensure_ascii: Option<bool>,
    indent: Option<Value>,
    separators: Option<Vec<String>>,
    named: Kwargs,
) -> Result<String, Error> {
    let ensure_ascii = match ensure_ascii {
        Some(ensure_ascii) => ensure_ascii,
        None => named.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    let sort_keys = named.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let indent = match indent {
        Some(indent) => Some(indent),
        None => named.get::<Option<Value>>("indent")?,
    };
    let separators = match separators {
        Some(separators) => Some(separators),
        None => named.get::<Option<Vec<String>>>("separators")?,
    };
    named.assert_all_used()?;

    let indent = indent
        .filter(|indent| !indent.is_none() && !indent.is_undefined())
        .map(|indent| indentation(&indent))
        .transpose()?;
    let (item, key) = match separators.as_deref() {
        None => (if indent.is_some() { "," } else { ", " }, ": "),
        Some([item, key]) => (item.as_str(), key.as_str()),
        Some(_) => return Err(invalid("separators: expected two, between items and after keys")),
    };
    let mut writer = Writer { text: String::new(), ensure_ascii, sort_keys, indent, item, key };
    writer.value(value, 0)?;
    Ok(writer.text)
}

/// What one level is indented by: so many spaces, or a text.
pub(super) fn indentation(indent: &Value) -> Result<String, Error> {
    match (indent.as_str(), i64::try_from(indent.clone())) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Ok(spaces)) if spaces <= 1 << 10 => Ok(" ".repeat(usize::try_from(spaces).unwrap_or(0))),
        _ => Err(invalid("indent: expected a number of spaces or a text")),
    }
}

struct Writer<'a> {
    text: String,
    ensure_ascii: bool,
    sort_keys: bool,
    indent: Option<String>,
    item: &'a str,
    key: &'a str,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(invalid("nested too deeply for JSON"));
        }
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self.text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.text.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth)?,
            ValueKind::Map => self.object(value, depth)?,
            kind => return Err(invalid(format!("a value of type {kind} cannot be written as JSON"))),
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.text.push('[');
        let mut is_empty = true;
        for item in value.try_iter()? {
            self.before(std::mem::take(&mut is_empty), depth);
            self.value(&item, depth + 1)?;
        }
        self.after(is_empty, depth);
        self.text.push(']');
        Ok(())
    }

    fn object(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        self.text.push('{');
        let mut is_empty = true;
        for key in keys {
            self.before(std::mem::take(&mut is_empty), depth);
            match key.kind() {
                ValueKind::String => self.string(key.as_str().unwrap_or_default()),
                ValueKind::None => self.text.push_str("\"null\""),
                ValueKind::Bool => self.text.push_str(if key.is_true() { "\"true\"" } else { "\"false\"" }),
                ValueKind::Number => {
                    let _ = write!(self.text, "\"{}\"", number(&key));
                }
                kind => return Err(invalid(format!("a key of type {kind} cannot be written as JSON"))),
            }
            self.text.push_str(self.key);
            self.value(&value.get_item(&key)?, depth + 1)?;
        }
        self.after(is_empty, depth);
        self.text.push('}');
        Ok(())
    }

    /// What stands before an item.
    fn before(&mut self, is_first: bool, depth: usize) {
        if !is_first {
            self.text.push_str(self.item);
        }
        self.line(depth + 1);
    }

    /// What stands before the closing bracket.
    fn after(&mut self, is_empty: bool, depth: usize) {
        if !is_empty {
            self.line(depth);
        }
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.text.push('\n');
            (0..depth).for_each(|_| self.text.push_str(indent));
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                c if c < ' ' || self.ensure_ascii && !(' '..='~').contains(&c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

/// Numbers are as Python prints them, but for those that are none.
fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if value.is_integer() || float.is_finite() => python::display(value),
        Ok(float) if float.is_nan() => "NaN".to_owned(),
        Ok(float) if float < 0.0 => "-Infinity".to_owned(),
        Ok(_) => "Infinity".to_owned(),
        Err(_) => value.to_string(),
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
