//! Filters, tests and functions of Jinja where those of `minijinja` are missing or do something else.

use minijinja::value::{Kwargs, Rest, StringInput, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value, functions};
use minijinja_contrib::globals;

use super::{json, methods, python};

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("string", |value: &Value| python::display(value));
    environment.add_filter("trim", trim);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("indent", indent);
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
    environment.add_filter("wordcount", wordcount);
    environment.add_filter("center", |value: StringInput<'_>, width: Option<usize>| {
        methods::center(value.as_str(), width.unwrap_or(80), ' ')
    });
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment.add_function("dict", dict);
    environment.add_function("namespace", namespace);
    environment.add_function("cycler", |items: Rest<Value>| globals::cycler(items.0));
    environment.add_function("joiner", globals::joiner);
}

fn is_iterable(value: &Value) -> bool {
    !value.is_none() && (value.as_str().is_some() || value.try_iter().is_ok())
}

/// What can be counted and looked up in; what only comes one after another cannot.
fn is_sequence(value: &Value) -> bool {
    is_iterable(value) && (value.kind() != ValueKind::Iterable || value.len().is_some())
}

fn trim(value: StringInput<'_>, cut: Option<&str>, named: Kwargs) -> Result<Value, Error> {
    let cut = cut.or(named.get("chars")?);
    named.assert_all_used()?;
    let is_cut = |c: char| cut.map_or_else(|| python::is_space(c), |cut| cut.contains(c));
    Ok(value.as_str().trim_matches(is_cut).into())
}

/// What is no number becomes the default, 0.
fn int(
    state: &mut State<'_, '_>,
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    named: Kwargs,
) -> Result<Value, Error> {
    let default = either(default, &named, "default")?.unwrap_or_else(|| 0.into());
    let base = base.or(named.get("base")?);
    named.assert_all_used()?;
    let text = value.as_str().map(|text| Value::from(text.trim_matches(python::is_space)));
    let none = Kwargs::from_iter([] as [(&str, Value); 0]);
    minijinja::filters::int(state, text.as_ref().unwrap_or(value), Some(default), base, none)
}

/// What is no number becomes the default, 0.0.
fn float(value: &Value, default: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let default = either(default, &named, "default")?.unwrap_or_else(|| 0.0.into());
    named.assert_all_used()?;
    let number = match value.as_str() {
        Some(text) => text.trim_matches(python::is_space).parse().ok(),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(number.map_or(default, Value::from))
}

/// The other value where there is none, and with `boolean` where there is nothing in it.
fn default(value: &Value, other: Option<Value>, boolean: Option<bool>, named: Kwargs) -> Result<Value, Error> {
    let other = either(other, &named, "default_value")?.unwrap_or_else(|| "".into());
    let boolean = boolean.or(named.get("boolean")?).unwrap_or(false);
    named.assert_all_used()?;
    Ok(if value.is_undefined() || boolean && !value.is_true() { other } else { value.clone() })
}

/// Indents lines by so many spaces, or by a text; the first line with `first`, empty ones with `blank`.
fn indent(
    value: StringInput<'_>,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    named: Kwargs,
) -> Result<String, Error> {
    let width = either(width, &named, "width")?.unwrap_or_else(|| 4.into());
    let first = first.or(named.get("first")?).unwrap_or(false);
    let blank = blank.or(named.get("blank")?).unwrap_or(false);
    named.assert_all_used()?;
    let unit = json::indentation(&width)?;
    // A break at the end makes one more line.
    let text = format!("{}\n", value.as_str());
    let mut indented = String::with_capacity(text.len());
    for (index, line) in methods::lines(&text, false).into_iter().enumerate() {
        let counts = if index == 0 { first } else { blank || !line.is_empty() };
        indented.push_str(if index == 0 { "" } else { "\n" });
        indented.push_str(if counts { &unit } else { "" });
        indented.push_str(line);
    }
    Ok(indented)
}

fn escape(value: &Value) -> Value {
    if value.is_safe() {
        return value.clone();
    }
    let mut escaped = String::new();
    for c in python::display(value).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&#39;"),
            '"' => escaped.push_str("&#34;"),
            c => escaped.push(c),
        }
    }
    Value::from_safe_string(escaped)
}

fn wordcount(value: StringInput<'_>) -> usize {
    value.as_str().split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).count()
}

/// A dictionary from another one or from pairs, and from what has names.
fn dict(from: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let from = match from {
        Some(pairs) if matches!(pairs.kind(), ValueKind::Seq | ValueKind::Iterable) => {
            let pair = |pair: Value| match pair.len() {
                Some(2) => Ok((pair.get_item_by_index(0)?.to_string(), pair.get_item_by_index(1)?)),
                _ => Err(Error::new(ErrorKind::InvalidOperation, "dict: expected pairs of a key and a value")),
            };
            Some(pairs.try_iter()?.map(pair).collect::<Result<Kwargs, _>>()?.into())
        }
        from => from,
    };
    functions::dict(from, named)
}

fn namespace(from: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    functions::namespace(Some(dict(from, named)?.into()))
}

/// An argument by position or by name.
fn either(given: Option<Value>, named: &Kwargs, name: &str) -> Result<Option<Value>, Error> {
    match given {
        Some(given) => Ok(Some(given)),
        None => named.get(name),
    }
}
