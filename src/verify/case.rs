//! Reading reference cases: folders with a configuration, weights, inputs, and the outputs that Python computed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use tch::Tensor;

use super::compare::trace_order;
use crate::error::catch;
use crate::generation::ids_name;
use crate::model::Generation;
use crate::weights::{TensorSource, is_float, safetensors::SafetensorsFile};
use crate::{Error, Inputs, Result, config};

/// The file that makes a folder a case.
const ABOUT: &str = "case.json";

/// Arguments that belong to the tokens of a forward pass, and not to a prompt.
pub(super) const TEXT: &[&str] = &[
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "mm_token_type_ids",
    "position_ids",
    "decoder_input_ids",
    "decoder_attention_mask",
    "mc_token_ids",
];

/// What `case.json` says.
#[derive(Debug, Clone, Deserialize)]
pub struct About {
    /// The architecture.
    #[serde(default)]
    pub model_type: Option<String>,
    /// The Hugging Face class.
    pub class: String,
    /// Seed of what was drawn for the case.
    #[serde(default)]
    pub seed: u64,
    /// Arguments of `forward` that are no tensors.
    #[serde(default)]
    pub python_inputs: Map<String, Value>,
    /// Python's float32 against its float64, largest absolute difference per output.
    #[serde(default)]
    pub noise: BTreeMap<String, f64>,
    /// Checkpoint names of the rows of the tensor `gradients`, where they are not those of all parameters.
    #[serde(default)]
    pub gradients: Option<Vec<String>>,
    /// Floating-point tensors of the checkpoint that are no parameters, batch statistics aside.
    #[serde(default)]
    pub gradients_without: Vec<String>,
    /// Python's noise on the tensor `gradients`, as a part of the largest norm in it.
    #[serde(default)]
    pub gradient_noise: Option<f64>,
    /// Tensors of the checkpoint that move no output.
    #[serde(default)]
    pub insensitive: Vec<String>,
}

/// A reference case.
#[derive(Debug)]
pub struct Case {
    /// Its folder.
    pub directory: PathBuf,
    /// `config.json`.
    pub config: Value,
    /// `case.json`.
    pub about: About,
    /// Arguments of `forward` that are tensors.
    pub inputs: BTreeMap<String, Tensor>,
    /// What `forward` returned in Python.
    pub outputs: BTreeMap<String, Tensor>,
    /// Per name in [`Case::gradient_names`]: the gradient's product with drawn values, and its norm; `[rows, 2]`.
    pub gradients: Option<Tensor>,
    /// The prompt of greedy decoding, and what came of it.
    pub decoding: Option<(Tensor, Tensor)>,
}

impl Case {
    /// Reads the case in `directory`; its weights are opened, and read when a model is built from them.
    ///
    /// # Errors
    /// [`Error::Case`] naming the file for everything that is missing, damaged or contradictory.
    pub fn open(directory: &Path) -> Result<Self> {
        let about_path = directory.join(ABOUT);
        let about = read_json(&about_path)?;
        let about: About = serde_path_to_error::deserialize(about)
            .map_err(|error| Error::case(&about_path, format!("`{}`: {}", error.path(), error.inner())))?;
        let mut config = read_json(&directory.join("config.json"))?;
        let Value::Object(fields) = &mut config else {
            return Err(Error::case(directory.join("config.json"), "is not a JSON object"));
        };
        if let Some(model_type) = &about.model_type {
            fields.entry("model_type").or_insert_with(|| model_type.as_str().into());
        }
        let path = directory.join("case.safetensors");
        let mut tensors = catch(|| SafetensorsFile::open(&path)?.tensors()).map_err(|error| damaged(&path, error))?;
        let gradients = tensors.remove("gradients");
        let (mut inputs, mut outputs) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in tensors {
            match name.split_once('.') {
                Some(("input", argument)) => inputs.insert(argument.to_owned(), tensor),
                Some(("output", output)) => outputs.insert(output.to_owned(), tensor),
                _ => return Err(Error::case(path, format!("tensor `{name}` is neither `input.…` nor `output.…`"))),
            };
        }
        if outputs.is_empty() {
            return Err(Error::case(path, "has no output to compare with"));
        }
        let decoding = match (inputs.remove("prompt_ids"), outputs.remove("generated_ids")) {
            (Some(prompt), Some(generated)) => Some((prompt, generated)),
            (None, None) => None,
            _ => return Err(Error::case(path, "`input.prompt_ids` and `output.generated_ids` only go together")),
        };
        let fits = |(prompt, generated): &(Tensor, Tensor)| {
            prompt.dim() == 2 && generated.dim() == 2 && prompt.size()[0] == generated.size()[0] && prompt.numel() > 0
        };
        if !decoding.as_ref().is_none_or(fits) {
            return Err(Error::case(path, "`input.prompt_ids` and `output.generated_ids` must be [batch, tokens]"));
        }
        let case = Self { directory: directory.into(), config, about, inputs, outputs, gradients, decoding };
        let names = case.gradient_names()?;
        let rows = names.len() as i64;
        if case.gradients.as_ref().is_some_and(|gradients| gradients.size() != [rows, 2]) {
            return Err(Error::case(path, format!("`gradients` must be [{rows}, 2], a row for each parameter")));
        }
        Ok(case)
    }

    /// Checkpoint names of the rows of [`Case::gradients`]: those listed, or else all floating-point tensors of the
    /// weights, sorted, without [`About::gradients_without`] and the statistics of batch norms.
    ///
    /// # Errors
    /// [`Error::Case`] when the weights cannot be opened, or do not have a name that is to be left out.
    pub fn gradient_names(&self) -> Result<Vec<String>> {
        let source = self.source()?;
        if let Some(listed) = &self.about.gradients {
            return Ok(listed.clone());
        }
        let without = &self.about.gradients_without;
        if let Some(unknown) = without.iter().find(|name| source.kind(name).is_none()) {
            let message = format!("`gradients_without` names `{unknown}`, which is not among the weights");
            return Err(Error::case(self.directory.join(ABOUT), message));
        }
        let statistics = |name: &str| matches!(name.rsplit('.').next(), Some("running_mean" | "running_var"));
        let mut names = source.names();
        names.retain(|name| source.kind(name).is_some_and(is_float) && !without.contains(name) && !statistics(name));
        Ok(names)
    }

    /// Opens the weights.
    ///
    /// # Errors
    /// [`Error::Case`] naming the file.
    pub fn source(&self) -> Result<TensorSource> {
        catch(|| TensorSource::open(&self.directory)).map_err(|error| damaged(&self.directory, error))
    }

    /// Name of the folder.
    pub fn name(&self) -> String {
        self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The architecture.
    ///
    /// # Errors
    /// When neither file says it.
    pub fn model_type(&self) -> Result<&str> {
        config::model_type(&self.config)
            .map_err(|_| Error::case(self.directory.join("config.json"), "has no `model_type`, nor has case.json"))
    }

    /// The arguments of the forward pass, with the intermediates asked for that the case has.
    pub fn inputs(&self) -> Inputs {
        let tensors = self.inputs.iter().map(|(name, tensor)| (name, tensor.shallow_clone()));
        let mut inputs = tensors.fold(Inputs::new(), |inputs, (name, tensor)| inputs.with(name, tensor));
        for (name, value) in &self.about.python_inputs {
            if !value.is_null() {
                inputs = inputs.with_flag(name, value.clone());
            }
        }
        for (flag, list) in [("output_hidden_states", "hidden_states"), ("output_attentions", "attentions")] {
            let wanted = |name: &String| name.rsplit_once('.').is_some_and(|(path, _)| path.ends_with(list));
            // Fused attention in Python has no weights to return; asked for them, it computes as it does without.
            let has = self.traced().any(wanted);
            if has && inputs.flag(flag).is_none() || !has && flag == "output_attentions" {
                inputs = inputs.with_flag(flag, has);
            }
        }
        inputs
    }

    /// What a class that generates as `generation` says was given for [`Case::decoding`], and how many tokens it added.
    pub fn prompt(&self, generation: Generation) -> Option<(Inputs, usize)> {
        let (prompt, generated) = self.decoding.as_ref()?;
        let encodes_text = matches!(generation, Generation::EncoderDecoder { encodes: "input_ids", .. });
        let name = if encodes_text { "input_ids" } else { ids_name(generation) };
        let given = if encodes_text { 1 } else { prompt.size()[1] };
        let others = self.inputs.iter().filter(|(name, _)| !TEXT.contains(&name.as_str()));
        let inputs = others.fold(Inputs::new(), |inputs, (name, tensor)| inputs.with(name, tensor.shallow_clone()));
        let new = usize::try_from(generated.size()[1] - given).unwrap_or(0);
        Some((inputs.with(name, prompt.shallow_clone()), new))
    }

    /// Names of the recorded intermediates.
    pub fn traced(&self) -> impl Iterator<Item = &String> {
        self.outputs.keys().filter(|name| trace_order(name).is_some())
    }
}

fn read_json(path: &Path) -> Result<Value> {
    config::read_json(path).map_err(|error| damaged(path, error))
}

/// The error of a file of a case, whatever it was that stumbled over it.
fn damaged(at: &Path, error: Error) -> Error {
    match error {
        Error::Io { path, cause } => Error::Case { path, message: cause.to_string() },
        Error::Json { path, message } => Error::Case { path, message: format!("not valid JSON: {message}") },
        Error::WeightsFile { path, message } => Error::Case { path, message },
        other => Error::case(at, other.to_string()),
    }
}

/// The folders of all cases below `root`, itself included, sorted. A loop of symbolic links is walked once.
///
/// # Errors
/// [`Error::Io`] when `root` cannot be read.
pub fn discover(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        if !seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
            continue;
        }
        match std::fs::read_dir(&folder) {
            Ok(entries) => {
                open.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
                if folder.join(ABOUT).symlink_metadata().is_ok() {
                    found.push(folder);
                }
            }
            Err(error) if folder == root => return Err(Error::io(root, error)),
            // Opening it as a case says why it cannot be read.
            Err(_) => found.push(folder),
        }
    }
    found.sort();
    Ok(found)
}
