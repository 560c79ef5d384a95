//! Methods of Python's texts, lists and dictionaries, where `minijinja_contrib` has none or other ones.

use minijinja::value::{Tuple, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::python::{is_line_break, is_space};

/// The widest text that a method fills up to, in characters.
const WIDEST: usize = 1 << 16;

/// Calls the method `name` of a value.
pub(super) fn call(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let found = match (value.as_str(), value.kind()) {
        (Some(text), _) => of_text(text, name, args)?,
        (None, ValueKind::Seq | ValueKind::Iterable) => of_list(value, name, args)?,
        (None, ValueKind::Map) if name == "copy" => Some(value.clone()),
        _ => None,
    };
    match found {
        Some(found) => Ok(found),
        None => unknown_method_callback(state, value, name, args),
    }
}

fn of_list(value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match name {
        "copy" => value.clone(),
        "count" => {
            let (wanted,): (&Value,) = from_args(args)?;
            value.try_iter()?.filter(|item| item == wanted).count().into()
        }
        "index" => {
            let (wanted,): (&Value,) = from_args(args)?;
            let index = value.try_iter()?.position(|item| item == *wanted);
            index.ok_or_else(|| invalid("list.index: the value is not in the list"))?.into()
        }
        _ => return Ok(None),
    }))
}

fn of_text(text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match name {
        "strip" | "lstrip" | "rstrip" => {
            let (cut,): (Option<&str>,) = from_args(args)?;
            let cut = |c: char| cut.map_or_else(|| is_space(c), |cut| cut.contains(c));
            let text = if name == "rstrip" { text } else { text.trim_start_matches(cut) };
            Value::from(if name == "lstrip" { text } else { text.trim_end_matches(cut) })
        }
        "split" | "rsplit" => split(text, name == "rsplit", args)?,
        "splitlines" => {
            let (keep_ends,): (Option<bool>,) = from_args(args)?;
            lines(text, keep_ends.unwrap_or(false)).into_iter().map(Value::from).collect()
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let is_last = name == "rpartition";
            let parts = match if is_last { text.rsplit_once(separator) } else { text.split_once(separator) } {
                _ if separator.is_empty() => return Err(invalid("partition: the separator is empty")),
                Some((before, after)) => [before, separator, after],
                None if is_last => ["", "", text],
                None => [text, "", ""],
            };
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => search(text, name, args)?,
        "title" => title(text).into(),
        "swapcase" => text.chars().map(swapped).collect::<String>().into(),
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let sign = usize::from(text.starts_with(['+', '-']));
            format!("{}{}{}", &text[..sign], fill(text, width, '0')?, &text[sign..]).into()
        }
        "ljust" | "rjust" | "center" => {
            let (width, filler): (usize, Option<char>) = from_args(args)?;
            let filler = filler.unwrap_or(' ');
            match name {
                "ljust" => format!("{text}{}", fill(text, width, filler)?).into(),
                "rjust" => format!("{}{text}", fill(text, width, filler)?).into(),
                _ => center(text, width, filler)?.into(),
            }
        }
        _ => return Ok(None),
    }))
}

fn split(text: &str, from_end: bool, args: &[Value]) -> Result<Value, Error> {
    let (separator, most, named): (Option<&str>, Option<i64>, minijinja::value::Kwargs) = from_args(args)?;
    let separator = separator.or(named.get("sep")?);
    let most = most.or(named.get("maxsplit")?).and_then(|most| usize::try_from(most).ok());
    named.assert_all_used()?;
    if separator == Some("") {
        return Err(invalid("split: the separator is empty"));
    }
    let mut parts: Vec<&str> = match (separator, most) {
        (Some(separator), None) => text.split(separator).collect(),
        (Some(separator), Some(most)) if from_end => text.rsplitn(most.saturating_add(1), separator).collect(),
        (Some(separator), Some(most)) => text.splitn(most.saturating_add(1), separator).collect(),
        (None, None) => text.split(is_space).filter(|part| !part.is_empty()).collect(),
        (None, Some(most)) => words(text, most, from_end),
    };
    if from_end && most.is_some() {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

/// The words of a text, `most` of them cut off from one end, then the rest as it is.
fn words(text: &str, most: usize, from_end: bool) -> Vec<&str> {
    let trimmed = |text: &'_ str| {
        if from_end { text.trim_end_matches(is_space) } else { text.trim_start_matches(is_space) }.len()
    };
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let length = trimmed(rest);
        rest = if from_end { &rest[..length] } else { &rest[rest.len() - length..] };
        if rest.is_empty() {
            return parts;
        }
        let found = if from_end { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(at) = found.filter(|_| parts.len() < most) else {
            parts.push(rest);
            return parts;
        };
        let width = rest[at..].chars().next().map_or(1, char::len_utf8);
        let (word, left) =
            if from_end { (&rest[at + width..], &rest[..at]) } else { (&rest[..at], &rest[at + width..]) };
        parts.push(word);
        rest = left;
    }
}

/// The lines of a text, with their breaks or without.
pub(super) fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_line_break).unwrap_or(rest.len());
        let width = match rest[end..].chars().next() {
            Some('\r') if rest[end + 1..].starts_with('\n') => 2,
            first => first.map_or(0, char::len_utf8),
        };
        lines.push(&rest[..if keep_ends { end + width } else { end }]);
        rest = &rest[end + width..];
    }
    lines
}

fn search(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let (wanted, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    let length = text.chars().count();
    let place = |index: i64| match usize::try_from(index) {
        Ok(index) => index.min(length),
        Err(_) => length.saturating_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let (start, end) = (start.map_or(0, place), end.map_or(length, place));
    let byte = |index: usize| text.char_indices().nth(index).map_or(text.len(), |(at, _)| at);
    let part = if start <= end { &text[byte(start)..byte(end)] } else { "" };
    if name == "count" {
        let count = if wanted.is_empty() { part.chars().count() + 1 } else { part.matches(wanted).count() };
        return Ok(count.into());
    }
    let found = if name.starts_with('r') { part.rfind(wanted) } else { part.find(wanted) };
    match found.map(|at| start + part[..at].chars().count()) {
        Some(index) => Ok(index.into()),
        None if name.ends_with("index") => Err(invalid(format!("{name}: the text does not have {wanted:?}"))),
        None => Ok((-1).into()),
    }
}

/// Every word begins with a capital; words are what letters stand in without anything between.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut is_inside = false;
    for c in text.chars() {
        if is_inside {
            titled.extend(c.to_lowercase())
        } else {
            titled.extend(c.to_uppercase())
        }
        is_inside = c.is_lowercase() || c.is_uppercase();
    }
    titled
}

fn swapped(c: char) -> String {
    if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
}

/// A text in the middle of `width` characters.
pub(super) fn center(text: &str, width: usize, filler: char) -> Result<String, Error> {
    let filler = fill(text, width, filler)?;
    let missing = filler.chars().count();
    // An odd one goes before the text where the width is odd too.
    let before: String = filler.chars().take(missing / 2 + (missing & width & 1)).collect();
    Ok(format!("{before}{text}{}", &filler[before.len()..]))
}

/// What a text lacks to `width` characters.
fn fill(text: &str, width: usize, filler: char) -> Result<String, Error> {
    if width > WIDEST {
        return Err(invalid(format!("a width of {width} characters; at most {WIDEST} are filled up")));
    }
    Ok(std::iter::repeat_n(filler, width.saturating_sub(text.chars().count())).collect())
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
