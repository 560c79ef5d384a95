use std::path::Path;

use serde_json::Value;

use super::init::inits;
use super::{Class, entry};
use crate::config;
use crate::error::catch;
use crate::model::{Model, Module};
use crate::tasks::{FeatureExtraction, Task};
use crate::weights::{LoadOptions, LoadReport, TensorSource, Weights, config_file, kind_in_config};
use crate::{Error, Result};

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
    load_class(class, config, source, options)
}

/// As [`load_with_report`], for a class that has been found.
pub(super) fn load_class(
    class: &'static Class,
    config: Value,
    source: TensorSource,
    options: LoadOptions,
) -> Result<(Model, LoadReport)> {
    let model_type = config::model_type(&config)?;
    let inits = inits(model_type, &config);
    let kind = match options.kind {
        Some(kind) => kind,
        None => kind_in_config(model_type, &config)?.unwrap_or_else(|| source.own_kind()),
    };
    let options = LoadOptions { kind: Some(kind), ..options };
    catch(|| {
        let bare = source.is_empty();
        let weights = Weights::new(source, options).drawn_as(inits);
        let module = (class.load)(&config, &weights)?;
        let expected = weights.expected();
        let (mut report, state) = weights.finish_with_report();
        if !bare && report.applied.is_empty() && !report.fresh.is_empty() {
            // Nothing of the checkpoint fits: it is one of another model, and nobody wants all of it new.
            report.fit.missing = expected.into_iter().collect();
            return Err(Error::Weights(Box::new(report.fit)));
        }
        if !(report.fit.is_clean() || options.allow_unused && report.fit.is_usable()) {
            return Err(Error::Weights(Box::new(report.fit)));
        }
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
    let config = config::read_json(&config_file(directory))?;
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
    let own = entry.part(model_type).map(|part| &part.class);
    let class = own.or_else(|| entry.class_for(task)).ok_or_else(|| {
        Error::config(model_type, "model_type", format!("the architecture has no class for the task `{task}`"))
    })?;
    let weights = weights.drawn_as(inits(model_type, config));
    let body = class.tasks.is_empty() || class.tasks.contains(&FeatureExtraction::TAG);
    (class.load)(config, &if body { weights.as_part() } else { weights })
}
