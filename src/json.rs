//! JSON files into types, with errors that name the file and the field.

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The most bytes of a file: some name every tensor of a model.
const MOST_BYTES: u64 = 256 << 20;

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
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| Error::io(path, error))?,
    };
    let wrong = |message: String| Error::Json { path: path.into(), message };
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| Error::io(path, error))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(wrong(format!("more than {MOST_BYTES} bytes")));
    }
    let json = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    deserialize(path, json).map(Some)
}

/// Turns the JSON of a file into `T`.
pub(crate) fn deserialize<T: DeserializeOwned>(path: &Path, json: Value) -> Result<T> {
    serde_path_to_error::deserialize(json)
        .map_err(|error| Error::Json { path: path.into(), message: format!("`{}`: {}", error.path(), error.inner()) })
}
