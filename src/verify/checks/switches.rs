use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::auto::{self, Entry};
use crate::config::{model_type, read_json};
use crate::verify::{Outcome, Status, cases_of};
use crate::{Error, Result};

/// How many configurations besides the first an architecture is proven with at least.
const VARIANTS: usize = 2;

/// Every field of the configuration takes two values at least among the cases, so that none of them is without effect
/// unnoticed. A switch whose other value is refused, and what the entry calls fixed, need not.
pub fn switches(entry: &'static Entry, home: &Path) -> Result<Outcome> {
    if entry.of.is_some() {
        return Outcome::skipped("a variant has its parent's configuration");
    }
    let root = home.parent().unwrap_or(home);
    let mut configs = Vec::new();
    for case in cases_of(entry, root) {
        let json = read_json(&case.join("config.json"))?;
        if model_type(&json)? == entry.model_type {
            configs.push((entry.config.parse)(&json)?);
        }
    }
    let Some(first) = configs.first() else { return Err(Error::case(home, "has no case of the whole architecture")) };
    let refused = |field: &str, value: &Value| match value {
        Value::Bool(value) => {
            let mut flipped = first.clone();
            flipped[field] = Value::Bool(!value);
            matches!((entry.config.parse)(&flipped), Err(Error::Config { field: named, .. }) if named.contains(field))
        }
        _ => false,
    };
    let mut values = BTreeMap::new();
    configs.iter().for_each(|config| collect(entry, "", config, &mut values));
    let mut failures = Vec::new();
    let different: BTreeSet<String> = configs.iter().map(Value::to_string).collect();
    if different.len() <= VARIANTS {
        failures.push(format!("{} configurations among the cases; {VARIANTS} variants are needed", different.len()));
    }
    for (field, values) in &values {
        let only = values.iter().next().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let fixed = entry.fixed.iter().any(|(name, _)| name == field);
        match values.len() {
            1 if !fixed && !refused(field, &only) => failures.push(format!("`{field}` is {only} in all cases")),
            2.. if fixed => failures.push(format!("`{field}` is called fixed, and takes {} values", values.len())),
            _ => {}
        }
    }
    let unknown = entry.fixed.iter().filter(|(name, _)| !values.contains_key(*name));
    failures.extend(unknown.map(|(name, _)| format!("`{name}` is called fixed, and is no field")));
    let status = if failures.is_empty() { Status::Passed } else { Status::Failed };
    Ok(Outcome::of(status, failures.join("\n")))
}

/// Adds the values of all fields of `config` to `values`, those of its parts by dotted names: the ones that are
/// architectures with cases of their own are left to them; ids of tokens are no switches, nor is what Python's class
/// lacks.
fn collect(entry: &Entry, path: &str, config: &Value, values: &mut BTreeMap<String, BTreeSet<String>>) {
    let Value::Object(fields) = config else { return };
    for (name, value) in fields {
        let field = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let token = ["_token_id", "_token_ids", "_token_index"].iter().any(|end| name.ends_with(end));
        let absent = path.is_empty() && entry.config.without.contains(&name.as_str());
        if token || absent || matches!(name.as_str(), "num_labels" | "model_type") {
            continue;
        }
        match value.get("model_type").and_then(Value::as_str) {
            Some(part) => {
                let elsewhere = auto::entry(part).is_ok_and(|other| other.model_type != entry.model_type);
                match elsewhere {
                    true => drop(values.entry(field).or_default().insert(Value::from(part).to_string())),
                    false => collect(entry, &field, value, values),
                }
            }
            None if name.ends_with("_config") && value.is_object() => collect(entry, &field, value, values),
            None => drop(values.entry(field).or_default().insert(value.to_string())),
        }
    }
}
