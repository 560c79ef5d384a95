//! The roster, and loading by what `config.json` says.

use std::path::Path;

use serde_json::Value;
use tch::Kind;

use crate::config::{self, ModelConfig};
use crate::error::catch;
use crate::model::{Architecture, Head, Model, Module, Part as PartOf};
use crate::tasks::Task;
use crate::weights::{LoadOptions, LoadReport, TensorSource, Weights};
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
    let owns =
        |entry: &&Entry| entry.model_type == model_type || entry.parts.iter().any(|part| part.model_type == model_type);
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

/// Loads `class` of the architecture that `config` names, with tensors from `source`.
///
/// # Errors
/// A typed error for every way in which the configuration or the weights do not fit; see [`Error`]. Tensors that
/// nothing asks for are an error too, unless `options` says otherwise.
pub fn load(config: Value, class: &str, source: TensorSource, options: LoadOptions) -> Result<Model> {
    load_with_report(config, class, source, options).map(|(model, _)| model)
}

/// As [`load`], with what became of every tensor: applied, converted, passed over, and with
/// [`LoadOptions::allow_unused`] unused.
///
/// # Errors
/// As [`load`]: tensors that are missing, mis-shaped or damaged are in the report of [`Error::Weights`].
pub fn load_with_report(
    config: Value,
    class: &str,
    source: TensorSource,
    options: LoadOptions,
) -> Result<(Model, LoadReport)> {
    let class = entry(config::model_type(&config)?)?.class(class)?;
    catch(|| {
        let weights = Weights::new(source, options);
        let module = (class.load)(&config, &weights)?;
        let (report, state) = weights.finish_with_report();
        if !(report.fit.is_clean() || options.allow_unused && report.fit.is_usable()) {
            return Err(Error::Weights(Box::new(report.fit)));
        }
        let kind = options.kind.or_else(|| state.kind()).unwrap_or(Kind::Float);
        let model = Model::new(class, config, module, state, (options.device, kind, options.trainable));
        Ok((model, report))
    })
}

/// Loads `class` from the folder of a checkpoint: `config.json` and its weights, as [`TensorSource::open`] finds them.
///
/// # Errors
/// As [`load`], and when a file is missing or damaged.
pub fn from_directory(directory: &Path, class: &str, options: LoadOptions) -> Result<Model> {
    from_directory_with_report(directory, class, options).map(|(model, _)| model)
}

/// As [`from_directory`], with what became of every tensor; see [`load_with_report`].
///
/// # Errors
/// As [`from_directory`].
pub fn from_directory_with_report(directory: &Path, class: &str, options: LoadOptions) -> Result<(Model, LoadReport)> {
    let config = config::read_json(&directory.join("config.json"))?;
    load_with_report(config, class, TensorSource::open(directory)?, options)
}

/// Builds the model that `config` (the configuration of a part, with its `model_type`) names, for `task`, as a part
/// of another model: any architecture of the roster can take the place.
///
/// # Errors
/// When the roster has no such architecture, or not for `task`.
pub fn part(config: &Value, task: &str, weights: &Weights) -> Result<Box<dyn Module>> {
    let model_type = config::model_type(config)?;
    let entry = entry(model_type)?;
    let own = entry.parts.iter().find(|part| part.model_type == model_type).map(|part| &part.class);
    let class = own.or_else(|| entry.class_for(task)).ok_or_else(|| {
        Error::config(model_type, "model_type", format!("the architecture has no class for the task `{task}`"))
    })?;
    (class.load)(config, weights)
}

/// All entries, sorted by `model_type`.
pub fn roster() -> &'static [Entry] {
    ROSTER
}

static ROSTER: &[Entry] = include!(concat!(env!("OUT_DIR"), "/roster.rs"));
