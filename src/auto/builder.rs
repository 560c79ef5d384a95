use std::path::PathBuf;

use tch::Device;

use super::load::load_class;
use super::{AutoClass, AutoConfig, Checkpoint};
use crate::hub::Hub;
use crate::weights::{Dtype, LoadOptions, LoadReport, TensorSource};
use crate::{Model, Result};

/// A checkpoint that is about to be loaded, and how.
///
/// Unless it is told otherwise: in the checkpoint's own kind, on the CPU, without gradients; a tensor that is missing,
/// unused or of another shape is an error.
///
/// ```no_run
/// use tch_transformers::auto::AutoModelForCausalLM;
///
/// let model = AutoModelForCausalLM::builder("checkpoint").dtype(tch::Kind::BFloat16).allow_unused(true).load()?;
/// # Ok::<(), tch_transformers::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is loaded until `load` is called"]
pub struct Pretrained {
    auto: AutoClass,
    class: Option<String>,
    checkpoint: Checkpoint,
    options: LoadOptions,
}

impl Pretrained {
    pub(super) fn new(auto: AutoClass, checkpoint: Checkpoint) -> Self {
        let options = LoadOptions { kind: Dtype::Auto.kind(), ..LoadOptions::default() };
        Self { auto, class: None, checkpoint, options }
    }

    /// The class of that name instead of the one that the Auto class stands for, such as `GPT2DoubleHeadsModel`.
    pub fn class(self, name: impl Into<String>) -> Self {
        Self { class: Some(name.into()), ..self }
    }

    /// The files are in the folder `subfolder` of the checkpoint.
    pub fn subfolder(self, subfolder: impl Into<PathBuf>) -> Self {
        Self { checkpoint: self.checkpoint.subfolder(subfolder), ..self }
    }

    /// The branch, tag or commit of a repository on the hub; `main` unless it is set.
    pub fn revision(self, revision: impl Into<String>) -> Self {
        Self { checkpoint: self.checkpoint.revision(revision), ..self }
    }

    /// How the hub is reached; as the environment says unless it is set.
    pub fn hub(self, hub: Hub) -> Self {
        Self { checkpoint: self.checkpoint.hub(hub), ..self }
    }

    /// The floating-point kind: [`Dtype::Auto`], the checkpoint's own, or one that all parameters are brought to.
    pub fn dtype(mut self, dtype: impl Into<Dtype>) -> Self {
        self.options.kind = dtype.into().kind();
        self
    }

    /// The device that holds the parameters.
    pub fn device(mut self, device: Device) -> Self {
        self.options.device = device;
        self
    }

    /// Whether gradients flow into the parameters.
    pub fn trainable(mut self, trainable: bool) -> Self {
        self.options.trainable = trainable;
        self
    }

    /// Whether tensors that the class has no use for are passed over, such as the head of another class.
    pub fn allow_unused(mut self, allow: bool) -> Self {
        self.options.allow_unused = allow;
        self
    }

    /// Whether parameters that the checkpoint lacks are drawn anew, as Python initialises them: a head for another task.
    pub fn allow_new_heads(mut self, allow: bool) -> Self {
        self.options.allow_new_heads = allow;
        self
    }

    /// Whether parameters that the checkpoint has in another shape are drawn anew: a head for other labels.
    pub fn ignore_mismatched_sizes(mut self, ignore: bool) -> Self {
        self.options.ignore_mismatched_sizes = ignore;
        self
    }

    /// What new parameters are drawn from; the same seed gives the same values.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// All options of loading at once.
    pub fn options(self, options: LoadOptions) -> Self {
        Self { options, ..self }
    }

    /// Loads the model.
    ///
    /// # Errors
    /// As [`AutoConfig::from_pretrained`] for the configuration,
    /// [`Error::NoClassForTask`](crate::Error::NoClassForTask) when the architecture has no such class,
    /// [`Error::Weights`](crate::Error::Weights) when the weights do not fit, and
    /// [`Error::WeightsFile`](crate::Error::WeightsFile) when they cannot be read.
    pub fn load(self) -> Result<Model> {
        self.load_with_report().map(|(model, _)| model)
    }

    /// Loads the model, and tells what became of every tensor.
    ///
    /// # Errors
    /// As [`Pretrained::load`].
    pub fn load_with_report(self) -> Result<(Model, LoadReport)> {
        let directory = self.checkpoint.directory()?;
        let config = AutoConfig::from_pretrained(&directory)?;
        let class = match &self.class {
            Some(name) => config.entry().class(name)?,
            None => self.auto.class_of(&config)?,
        };
        load_class(class, config.json().clone(), TensorSource::open(&directory)?, self.options)
    }
}
