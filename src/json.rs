//! JSON files into types, with errors that name the file and the field.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::files::optional_text;
use crate::{Error, Result};

/// Reads a JSON file with an object into `T`; `None` where there is no such file.
pub(crate) fn read_optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    // By way of a map, since serde takes a list for a struct too.
    parse::<Map<String, Value>>(path)?.map(|fields| deserialize(path, Value::Object(fields))).transpose()
}

/// As [`read_optional`], for a file that must be there.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    read_optional(path)?.ok_or_else(|| Error::io(path, std::io::ErrorKind::NotFound.into()))
}

/// Reads any JSON file into `T`; `None` where there is no such file.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = optional_text(path)? else { return Ok(None) };
    let wrong = |error: serde_json::Error| Error::Json { path: path.into(), message: error.to_string() };
    let json = serde_json::from_str(&text).map_err(wrong)?;
    deserialize(path, json).map(Some)
}

/// Turns the JSON of a file into `T`.
pub(crate) fn deserialize<T: DeserializeOwned>(path: &Path, json: Value) -> Result<T> {
    serde_path_to_error::deserialize(json)
        .map_err(|error| Error::Json { path: path.into(), message: format!("`{}`: {}", error.path(), error.inner()) })
}
