//! Models as users meet them: loaded weights behind a checked, panic-free boundary.

use std::fmt::Debug;
use std::path::Path;

use serde_json::Value;
use tch::{Device, Kind, Tensor};
use tch_transformers_native::Weight;

use crate::auto::Class;
use crate::config::ModelConfig;
use crate::error::catch;
use crate::inputs::{Argument, validate};
use crate::tasks::Task;
use crate::weights::{self, SaveOptions, State, Weights};
use crate::{Cache, CacheFormula, Inputs, Outputs, Result};

/// An architecture: a configuration, and heads for its tasks (see [`Head`]).
pub trait Architecture: 'static {
    /// What `config.json` says about it.
    type Config: ModelConfig;
}

/// The architecture has a class for the task `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no head for the task `{T}`",
    label = "the registry entry declares this task",
    note = "implement `Head<{T}>` for the architecture, or remove the task from the entry"
)]
pub trait Head<T: Task>: Architecture {
    /// Builds the class with the weights that `weights` leads to.
    fn load(config: &Self::Config, weights: &Weights) -> Result<Box<dyn Module>>;
}

/// A part of an architecture that is a model of its own.
pub trait Part: Architecture {
    /// Builds the part with the weights that `weights` leads to.
    fn load(config: &Self::Config, weights: &Weights) -> Result<Box<dyn Module>>;
}

/// One class of an architecture with its weights: what the library's models implement.
pub trait Module: Debug + Send + Sync {
    /// The arguments that [`Module::forward`] takes.
    fn arguments(&self) -> Vec<Argument>;

    /// One pass. With a cache, the inputs are the tokens after those that the cache has seen.
    fn forward(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Outputs>;

    /// How the class generates tokens, if it does.
    fn generation(&self) -> Option<Generation> {
        None
    }

    /// The vectors of token ids, `[…]` to `[…, hidden]`, where the class has such a table: what another model puts
    /// its own vectors between before it calls this one with `inputs_embeds`.
    fn embed(&self, _ids: &Tensor) -> Option<Tensor> {
        None
    }

    /// The table of token vectors itself, `[vocabulary, hidden]`, for heads that another model puts on this one.
    fn table(&self) -> Option<Weight> {
        None
    }

    /// Width of the hidden states that the class returns, where another model builds on them.
    fn width(&self) -> Option<i64> {
        None
    }

    /// Channels of the feature maps that the class returns, where it is a backbone.
    fn widths(&self) -> &[i64] {
        &[]
    }

    /// Length of an input beyond which what a cache holds of a shorter one no longer stands, so that generation starts
    /// it anew; frequencies that change with the length are a reason.
    fn renewed_beyond(&self) -> Option<i64> {
        None
    }

    /// How much the cache of a generation takes.
    fn cache_formula(&self) -> CacheFormula {
        CacheFormula::default()
    }

    /// Whether tokens of the prompt see those after them, so that generation passes it as a whole and by itself.
    fn reads_both_ways(&self) -> bool {
        false
    }
}

/// How a class generates tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The prompt is continued.
    DecoderOnly,
    /// The decoder starts from `start` and looks at what the encoder made of the input `encodes`.
    EncoderDecoder {
        /// The decoder's first token.
        start: i64,
        /// The encoder's main input (`input_ids`, `input_features`).
        encodes: &'static str,
    },
}

/// A loaded model.
///
/// Weights never change after loading, so a model is `Send + Sync` and can be shared by `Arc`.
#[derive(Debug)]
pub struct Model {
    class: &'static Class,
    config: Value,
    module: Box<dyn Module>,
    arguments: Vec<Argument>,
    state: State,
    device: Device,
    kind: Kind,
    trainable: bool,
}

impl Model {
    /// Puts a loaded module behind the boundary; see [`crate::auto`] for the ways to load one.
    pub(crate) fn new(
        class: &'static Class,
        config: Value,
        module: Box<dyn Module>,
        state: State,
        (device, kind, trainable): (Device, Kind, bool),
    ) -> Self {
        let arguments = module.arguments();
        Self { class, config, module, arguments, state, device, kind, trainable }
    }

    /// The same model with another module in place of its own, for tests that watch what is passed.
    #[cfg(test)]
    pub(crate) fn with_module(self, wrap: impl FnOnce(Box<dyn Module>) -> Box<dyn Module>) -> Self {
        Self { module: wrap(self.module), ..self }
    }

    /// The Hugging Face class that this model is.
    pub fn class(&self) -> &'static str {
        self.class.name
    }

    /// The parsed `config.json`.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The arguments that the forward pass takes.
    pub fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    /// The parameters under the names of the checkpoint.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The device of the parameters.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The floating-point kind of the parameters.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The module itself, without validation of inputs; see [`Module`].
    pub fn module(&self) -> &dyn Module {
        &*self.module
    }

    /// How much the cache of a generation takes; nothing for a class that does not generate.
    pub fn cache_formula(&self) -> CacheFormula {
        self.generation().map_or_else(CacheFormula::default, |_| self.module.cache_formula())
    }

    /// How this class generates tokens, if it does.
    pub fn generation(&self) -> Option<Generation> {
        self.module.generation()
    }

    /// One forward pass.
    ///
    /// Tensors on another device are brought to the model's, floating-point ones to its kind.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for an argument that does not fit, [`Error::Libtorch`](crate::Error::Libtorch)
    /// when libtorch fails.
    pub fn forward(&self, inputs: &Inputs) -> Result<Outputs> {
        self.step(inputs, None)
    }

    /// One forward pass over the tokens that follow those in `cache`.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn forward_cached(&self, inputs: &Inputs, cache: &mut Cache) -> Result<Outputs> {
        self.step(inputs, Some(cache))
    }

    fn step(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Outputs> {
        catch(|| {
            let mut inputs = inputs.to(self.device, self.kind);
            validate(&self.arguments, &inputs)?;
            for flag in ["output_hidden_states", "output_attentions"] {
                let wanted = self.config.get(flag).and_then(Value::as_bool).unwrap_or(false);
                if wanted && inputs.flag(flag).is_none() {
                    inputs = inputs.with_flag(flag, true);
                }
            }
            if self.trainable {
                return self.module.forward(&inputs, cache);
            }
            // A guard, for gradients to be recorded again when libtorch fails.
            let _guard = tch::no_grad_guard();
            self.module.forward(&inputs, cache)
        })
    }

    /// Writes `config.json` and `model.safetensors` into `directory`, as `save_pretrained` does: several files with an
    /// index where the model is larger than 50 GB.
    ///
    /// # Errors
    /// As [`Model::save_with`].
    pub fn save(&self, directory: &Path) -> Result<()> {
        self.save_with(directory, SaveOptions::default())
    }

    /// As [`Model::save`], in files as `options` says.
    ///
    /// The new checkpoint takes the place of the old one as a whole, weights and `config.json`. A crash or a loss of power at
    /// any moment leaves one of the two: this library then loads that one, and nothing of the other; the next saving into the
    /// folder removes what was left over. Other programs, which do not look into the folder `.saved` that files are moved from:
    ///
    /// - Where `config.json` stays as it is, as in training, they find the old or the new checkpoint likewise.
    /// - Where it changes, they find one of the two, or, after a crash between two renamings, no `config.json`, which is the
    ///   first file that they read: never one with the weights of the other. Saving again puts everything in its place.
    ///
    /// That holds for file systems that rename in one step and keep the order of what they were told to write, as those on
    /// disks do. A program that reads while another saves, some files before and some after, is not kept from that; mapped
    /// files that are replaced stay as they were. Savings into one folder wait for each other where the system can lock
    /// folders. Files of other names, such as those of a tokenizer, stay as they are.
    ///
    /// # Errors
    /// When the directory cannot be written, or the size of a file makes more files than are read again. The old checkpoint
    /// is then the one that is there, unless the new weights were in their place already and only what is left to be done
    /// failed, such as the removal of old files.
    pub fn save_with(&self, directory: &Path, options: SaveOptions) -> Result<()> {
        let mut config = self.config.clone();
        if let Value::Object(fields) = &mut config {
            fields.insert("architectures".into(), vec![self.class.name].into());
        }
        catch(|| weights::save(directory, &self.state, &config, options))
    }
}
