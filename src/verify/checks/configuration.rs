use std::path::Path;

use serde_json::{Map, Value, json};

use crate::auto::{ConfigFns, Entry};
use crate::config::{IGNORED_EVERYWHERE, read_json};
use crate::verify::{Outcome, Status};
use crate::{Error, Result};

/// Defaults against Python's (`defaults.json`), field by field, and what happens to fields that are missing or wrong.
pub fn config(entry: &'static Entry, defaults: &Path) -> Result<Outcome> {
    if entry.of.is_some() && !defaults.exists() {
        return Outcome::skipped("a variant has its parent's configuration");
    }
    let python = read_json(defaults)?;
    let Value::Object(python) = python else { return Err(Error::case(defaults, "is not a JSON object")) };
    let failures = failures(&entry.config, &python)?;
    let status = if failures.is_empty() { Status::Passed } else { Status::Failed };
    Ok(Outcome::of(status, failures.join("\n")))
}

fn failures(config: &ConfigFns, python: &Map<String, Value>) -> Result<Vec<String>> {
    let ours = (config.parse)(&json!({}))?;
    let theirs = (config.parse)(&Value::Object(python.clone()))?;
    let mut failures = Vec::new();
    for field in config.fields.iter().filter(|field| !config.without.contains(field)) {
        let (ours, theirs) = (&ours[*field], &theirs[*field]);
        if ours != theirs {
            failures.push(format!("`{field}` is {ours} by default, Python's default is {theirs}"));
        }
        let spelled = |name: &str| python.contains_key(name);
        let alias = config.aliases.iter().any(|(alias, of)| of == field && spelled(alias));
        let known = alias || IGNORED_EVERYWHERE.contains(field) || config.undeclared.contains(field);
        if !spelled(field) && !known && !ours.is_null() {
            failures.push(format!("`{field}` is no field in Python"));
        }
    }
    for field in python.keys().map(String::as_str) {
        let alias = config.aliases.iter().any(|(alias, _)| *alias == field);
        if (!config.fields.contains(&field) || config.without.contains(&field))
            && !config.ignored.contains(&field)
            && !IGNORED_EVERYWHERE.contains(&field)
            && !alias
        {
            failures.push(format!("Python's field `{field}` is unknown"));
        }
    }
    failures.extend(python.keys().filter_map(|field| missing(config, python, field, &theirs)));
    failures.extend(python.iter().filter_map(|(field, value)| unsupported(config, field, value)));
    Ok(failures)
}

/// A field that `config.json` lacks takes its default.
fn missing(config: &ConfigFns, python: &Map<String, Value>, field: &str, expected: &Value) -> Option<String> {
    let mut fields = python.clone();
    fields.remove(field);
    match (config.parse)(&Value::Object(fields)) {
        Ok(parsed) if parsed == *expected => None,
        Ok(_) => Some(format!("without `{field}` the configuration is not the default one")),
        Err(error) => Some(format!("without `{field}`: {error}")),
    }
}

/// A value that no version of the field has is an error that names the field.
fn unsupported(config: &ConfigFns, field: &str, value: &Value) -> Option<String> {
    let typed = matches!(value, Value::Number(_) | Value::Bool(_) | Value::String(_));
    if !typed || !config.fields.contains(&field) || config.without.contains(&field) {
        return None;
    }
    let wrong = "no such value";
    match (config.parse)(&json!({ field: wrong })) {
        Err(Error::Config { field: named, .. }) if named.contains(field) => None,
        Err(error) => Some(format!("`{field}` set to {wrong:?} gives an error that does not name it: {error}")),
        Ok(_) => Some(format!("`{field}` set to {wrong:?} is accepted")),
    }
}
