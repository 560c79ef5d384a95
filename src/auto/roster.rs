use serde_json::Value;

use crate::config::ModelConfig;
use crate::model::{Architecture, Head, Module, Part as PartOf};
use crate::tasks::Task;
use crate::weights::Weights;
use crate::{Error, Result};

/// One architecture of the roster.
#[derive(Debug)]
pub struct Entry {
    /// `model_type` in `config.json` (a variant's own name where `of` is set).
    pub model_type: &'static str,
    /// The category.
    pub category: &'static str,
    /// A second category it also belongs to.
    pub alt_category: Option<&'static str>,
    /// One line about it.
    pub summary: &'static str,
    /// A typical checkpoint on the hub.
    pub checkpoint: &'static str,
    /// The architecture whose code a variant uses.
    pub of: Option<&'static str>,
    /// The architectures it was derived from.
    pub derives_from: &'static [&'static str],
    /// The version of `transformers` it is proven against.
    pub transformers: &'static str,
    /// Its configuration.
    pub config: ConfigFns,
    /// Its classes.
    pub classes: &'static [Class],
    /// Its parts that are models of their own.
    pub parts: &'static [Part],
    /// Names of its reference cases.
    pub cases: &'static [&'static str],
    /// Checks that do not apply, `check` or `check.case`, with the reason.
    pub skip: &'static [(&'static str, &'static str)],
    /// Fields of the configuration that have one value in all cases, with the reason.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Checks whose tolerance is loosened.
    pub tolerances: &'static [Tolerance],
    /// The entry's file.
    pub source: &'static str,
}

/// A Hugging Face class of an architecture.
#[derive(Debug)]
pub struct Class {
    /// The class name.
    pub name: &'static str,
    /// The tasks it serves.
    pub tasks: &'static [&'static str],
    /// Builds it from a parsed `config.json` and weights.
    pub load: Load,
}

/// A part of an architecture with a `model_type` of its own.
#[derive(Debug)]
pub struct Part {
    /// Its `model_type`.
    pub model_type: &'static str,
    /// Its configuration.
    pub config: ConfigFns,
    /// Its class.
    pub class: Class,
}

/// A loosened tolerance.
#[derive(Debug)]
pub struct Tolerance {
    /// The check, or `check.output`.
    pub check: &'static str,
    /// What the tolerance is multiplied by.
    pub factor: f64,
    /// Why.
    pub reason: &'static str,
}

/// Builds a module from a parsed `config.json` and weights.
pub type Load = fn(&Value, &Weights) -> Result<Box<dyn Module>>;

/// The [`Load`] of the class that architecture `A` has for task `T`.
pub fn load_head<A: Head<T>, T: Task>(json: &Value, weights: &Weights) -> Result<Box<dyn Module>> {
    <A as Head<T>>::load(&A::Config::from_json(json)?, weights)
}

/// The [`Load`] of the part `A`.
pub fn load_part<A: PartOf>(json: &Value, weights: &Weights) -> Result<Box<dyn Module>> {
    <A as PartOf>::load(&A::Config::from_json(json)?, weights)
}

/// An architecture's configuration where its type is not known.
#[derive(Debug)]
pub struct ConfigFns {
    /// Reads a `config.json`, and gives back every field with its value.
    pub parse: fn(&Value) -> Result<Value>,
    /// Fields that the architecture reads.
    pub fields: &'static [&'static str],
    /// Fields that change nothing about the numbers.
    pub ignored: &'static [&'static str],
    /// `(other spelling, field)`.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Those of `fields` that Python's class lacks, and nothing reads.
    pub without: &'static [&'static str],
    /// Those of `fields` that Python's class does not declare, and reads all the same.
    pub undeclared: &'static [&'static str],
}

/// The [`ConfigFns`] of architecture `A`.
pub const fn config_of<A: Architecture>() -> ConfigFns {
    ConfigFns {
        parse: parse_config::<A::Config>,
        fields: A::Config::FIELDS,
        ignored: A::Config::IGNORED,
        aliases: A::Config::ALIASES,
        without: A::Config::WITHOUT,
        undeclared: A::Config::UNDECLARED,
    }
}

fn parse_config<C: ModelConfig>(json: &Value) -> Result<Value> {
    let invalid = |error: serde_json::Error| Error::config(C::MODEL_TYPE, "config.json", error.to_string());
    serde_json::to_value(C::from_json(json)?).map_err(invalid)
}

/// The entry of `model_type`, a variant's or a part's included.
///
/// # Errors
/// [`Error::UnknownModelType`] with the nearest names.
pub fn entry(model_type: &str) -> Result<&'static Entry> {
    let owns = |entry: &&Entry| entry.model_type == model_type || entry.part(model_type).is_some();
    roster().iter().find(owns).ok_or_else(|| Error::UnknownModelType {
        name: model_type.to_owned(),
        nearest: nearest(model_type, roster().iter().map(|entry| entry.model_type)),
    })
}

impl Entry {
    /// All classes, those of parts included.
    pub fn all_classes(&self) -> impl Iterator<Item = &'static Class> {
        self.classes.iter().chain(self.parts.iter().map(|part| &part.class))
    }

    /// The class `name`.
    ///
    /// # Errors
    /// [`Error::UnknownClass`] with the nearest names.
    pub fn class(&self, name: &str) -> Result<&'static Class> {
        self.all_classes().find(|class| class.name == name).ok_or_else(|| Error::UnknownClass {
            name: name.to_owned(),
            nearest: nearest(name, self.all_classes().map(|class| class.name)),
        })
    }

    /// The part whose `model_type` is `name`.
    pub fn part(&self, name: &str) -> Option<&'static Part> {
        self.parts.iter().find(|part| part.model_type == name)
    }

    /// The class that serves `task`.
    pub fn class_for(&self, task: &str) -> Option<&'static Class> {
        self.classes.iter().find(|class| class.tasks.contains(&task))
    }
}

/// Up to three of `names` that resemble `name`, the closest first.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<_> = names.map(|known| (strsim::jaro_winkler(name, known), known)).collect();
    scored.retain(|(score, _)| *score > 0.75);
    scored.sort_by(|left, right| right.0.total_cmp(&left.0));
    scored.dedup();
    scored.into_iter().take(3).map(|(_, known)| known.to_owned()).collect()
}

/// All entries, sorted by `model_type`.
pub fn roster() -> &'static [Entry] {
    ROSTER
}

static ROSTER: &[Entry] = include!(concat!(env!("OUT_DIR"), "/roster.rs"));
