use serde_json::{Map, Value};
use tch::Kind;

use super::{Checkpoint, ConfigFns, Entry, Part, entry};
use crate::weights::{config_file, kind_in_config};
use crate::{Error, Result, config};

/// The configuration of a model of any architecture: a `config.json` that was read, checked and filled up.
#[derive(Debug, Clone)]
pub struct AutoConfig {
    entry: &'static Entry,
    part: Option<&'static Part>,
    json: Value,
    fields: Map<String, Value>,
}

impl AutoConfig {
    /// Reads `config.json` of a checkpoint.
    ///
    /// # Errors
    /// As [`Checkpoint::directory`] and [`AutoConfig::from_json`]; [`Error::Io`] and [`Error::Json`] for a file that is
    /// not there or is no JSON.
    pub fn from_pretrained(checkpoint: impl Into<Checkpoint>) -> Result<Self> {
        Self::from_json(config::read_json(&config_file(&checkpoint.into().directory()?))?)
    }

    /// Reads a parsed `config.json`; what it does not say takes the defaults of Python.
    ///
    /// # Errors
    /// [`Error::UnknownModelType`] for an architecture that is not in the roster, [`Error::Config`] for a field that is
    /// missing or has a value that is not supported.
    pub fn from_json(json: Value) -> Result<Self> {
        let model_type = config::model_type(&json)?;
        let entry = entry(model_type)?;
        let part = entry.part(model_type);
        match (functions(entry, part).parse)(&json)? {
            Value::Object(fields) => Ok(Self { entry, part, json, fields }),
            _ => Err(Error::config(model_type, "config.json", "is not a JSON object")),
        }
    }

    /// The name of the architecture, or of the part of one.
    pub fn model_type(&self) -> &'static str {
        self.part.map_or(self.entry.model_type, |part| part.model_type)
    }

    /// The architecture's entry in the roster.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// The part of the architecture that it configures, where it is not the whole.
    pub fn part(&self) -> Option<&'static Part> {
        self.part
    }

    /// Names of the fields, which of them have no effect, and their other spellings.
    pub fn functions(&self) -> &'static ConfigFns {
        functions(self.entry, self.part)
    }

    /// Every field that the architecture reads, with its value.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The value of a field, or of one that the architecture does not read and `config.json` has.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).or_else(|| self.json.get(field))
    }

    /// `config.json` as it was read.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The classes that the checkpoint was saved from, as `architectures` names them.
    pub fn architectures(&self) -> impl Iterator<Item = &str> {
        self.json.get("architectures").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// The kind that the weights are said to be in: `dtype`, or `torch_dtype` as older files call it.
    ///
    /// # Errors
    /// [`Error::Config`] when it is no floating-point kind.
    pub fn dtype(&self) -> Result<Option<Kind>> {
        kind_in_config(self.model_type(), &self.json)
    }
}

fn functions(entry: &'static Entry, part: Option<&'static Part>) -> &'static ConfigFns {
    part.map_or(&entry.config, |part| &part.config)
}
