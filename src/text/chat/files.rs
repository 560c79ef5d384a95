//! Where a checkpoint's directory keeps its templates and the tokens that they write.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ChatTemplateError, DEFAULT};
use crate::json::read_optional;
use crate::{Error, Result};

/// The size of the largest template that is read, in bytes: real ones have some ten thousand.
pub(super) const LARGEST: u64 = 1 << 20;

/// The roles of tokens that templates know, under the names that they have in files and templates.
const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stored {
    One(String),
    Named(Vec<Named>),
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    template: String,
}

/// The templates of a directory by name: those in files of their own, or those in `tokenizer_config.json`.
pub(super) fn templates(directory: &Path) -> Result<BTreeMap<String, String>> {
    let mut templates = BTreeMap::new();
    if let Some(source) = read(&directory.join("chat_template.jinja"), DEFAULT)? {
        templates.insert(DEFAULT.to_owned(), source);
    }
    let further = directory.join("additional_chat_templates");
    let listed = match std::fs::read_dir(&further) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        listed => Some(listed.map_err(|error| Error::io(&further, error))?),
    };
    for entry in listed.into_iter().flatten() {
        let path = entry.map_err(|error| Error::io(&further, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".jinja"));
        if let Some(name) = name
            && let Some(source) = read(&path, name)?
        {
            templates.insert(name.to_owned(), source);
        }
    }
    if templates.is_empty() {
        let config = config(directory)?;
        match config.get("chat_template").filter(|stored| !stored.is_null()) {
            None => {}
            Some(stored) => match Stored::deserialize(stored) {
                Ok(Stored::One(source)) => templates.extend([(DEFAULT.to_owned(), source)]),
                Ok(Stored::Named(named)) => templates.extend(named.into_iter().map(|one| (one.name, one.template))),
                Err(_) => {
                    let message = "`chat_template`: expected a text, or a list of objects with `name` and `template`";
                    let path = directory.join("tokenizer_config.json");
                    return Err(Error::Json { path, message: message.into() });
                }
            },
        }
    }
    if templates.is_empty() {
        return Err(Error::ChatTemplate(ChatTemplateError::Missing { directory: directory.into() }));
    }
    Ok(templates)
}

/// The tokens that templates write, by role.
pub(super) fn special_tokens(directory: &Path) -> Result<Map<String, Value>> {
    let mut config = config(directory)?;
    // Where the list of tokens is not in it, an older file knows better.
    if !config.contains_key("added_tokens_decoder") {
        let older: Option<Map<String, Value>> = read_optional(&directory.join("special_tokens_map.json"))?;
        config.extend(older.unwrap_or_default());
    }
    let token = |name: &str| {
        let stored = config.get(name)?;
        let content = stored.as_str().or_else(|| stored.get("content")?.as_str())?;
        Some((name.to_owned(), content.into()))
    };
    Ok(ROLES.into_iter().filter_map(token).collect())
}

fn config(directory: &Path) -> Result<Map<String, Value>> {
    Ok(read_optional(&directory.join("tokenizer_config.json"))?.unwrap_or_default())
}

/// The text of a file that is not too large; `None` where there is no such file.
fn read(path: &Path, name: &str) -> Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| Error::io(path, error))?,
    };
    let size = file.metadata().map_err(|error| Error::io(path, error))?.len();
    check_size(name, size)?;
    let mut source = String::new();
    file.take(LARGEST).read_to_string(&mut source).map_err(|error| Error::io(path, error))?;
    Ok(Some(source))
}

/// Refuses a template that is larger than any real one.
pub(super) fn check_size(name: &str, size: u64) -> Result<()> {
    match size > LARGEST {
        true => Err(Error::ChatTemplate(ChatTemplateError::TooLarge { name: name.to_owned(), size, most: LARGEST })),
        false => Ok(()),
    }
}
