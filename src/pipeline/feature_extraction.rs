use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::sentence::{self, Pooling, PoolingMode, SentenceModule};
use crate::error::catch;
use crate::inputs::Dim;
use crate::json::read_optional;
use crate::text::Tokenizer;
use crate::weights::{LoadOptions, TensorSource};
use crate::{Error, Model, Result, auto, config};

/// Texts to vectors: a directory of `sentence-transformers`, or of any text model with a tokenizer.
///
/// With `modules.json` the directory says itself how the vectors of a text's tokens become one; without it, that is
/// their mean.
#[derive(Debug)]
pub struct FeatureExtraction {
    tokenizer: Tokenizer,
    model: Model,
    modules: Vec<SentenceModule>,
    unused: Vec<String>,
}

/// `sentence_bert_config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TransformerConfig {
    max_seq_length: Option<usize>,
    do_lower_case: bool,
}

impl FeatureExtraction {
    /// Loads the directory: `config.json`, `model.safetensors` and `tokenizer.json`, and where they are there
    /// `tokenizer_config.json`, `sentence_bert_config.json` and `modules.json` with the modules it names.
    ///
    /// Tensors that belong to other classes, such as a language model's head, are passed over; see
    /// [`FeatureExtraction::unused`].
    ///
    /// # Errors
    /// A typed error for every file that is missing or damaged, a module that is not supported, and as
    /// [`auto::load`](crate::auto::load).
    pub fn from_directory(directory: &Path, options: LoadOptions) -> Result<Self> {
        let (place, modules) = match sentence::modules(directory, options)? {
            Some((place, modules)) => (directory.join(place), modules),
            None => (PathBuf::from(directory), vec![SentenceModule::Pooling(Pooling(vec![PoolingMode::Mean]))]),
        };
        if !modules.iter().any(|module| matches!(module, SentenceModule::Pooling(_))) {
            return Err(Error::config("modules.json", "type", "lists no Pooling"));
        }
        let model = auto::from_directory(&place, text_class(&place)?, LoadOptions { allow_unused: true, ..options })?;
        let state: BTreeSet<&str> = model.state().names().collect();
        let stored = TensorSource::open(&place)?.names();
        let unused: Vec<_> = stored.into_iter().filter(|name| !state.contains(name.as_str())).collect();
        if !unused.is_empty() {
            tracing::info!(class = model.class(), ?unused, "the checkpoint has tensors that the class does not");
        }
        let settings: TransformerConfig = read_optional(&place.join("sentence_bert_config.json"))?.unwrap_or_default();
        let mut tokenizer = Tokenizer::from_directory(&place)?;
        if let Some(length) = settings.max_seq_length {
            tokenizer = tokenizer.with_max_length(length)?;
        }
        if let Some(limit) = token_limit(&model)? {
            tokenizer = tokenizer.limited_to(limit)?;
        }
        if settings.do_lower_case {
            tokenizer = tokenizer.lowercased()?;
        }
        Ok(Self { tokenizer, model, modules, unused })
    }

    /// The model without the modules after it.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Tensors of the checkpoint that the model's class does not have.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// One vector per text, `[texts, width]`, float32 on the CPU, in the order of `texts`.
    ///
    /// Passes hold `batch_size` texts of similar length, padded to the longest of them. A text that is too long is cut;
    /// see [`Tokenizer::max_length`].
    ///
    /// # Errors
    /// [`Error::Input`] for no texts or a `batch_size` of 0, [`Error::Tokenizer`], and as [`Model::forward`].
    pub fn embed(&self, texts: &[&str], batch_size: usize) -> Result<Tensor> {
        if texts.is_empty() {
            return Err(Error::input("texts", "is empty; expected at least one"));
        }
        if batch_size == 0 {
            return Err(Error::input("batch_size", "is 0; expected at least 1"));
        }
        let mut encodings: Vec<_> = self.tokenizer.encode(texts)?.into_iter().enumerate().collect();
        encodings.sort_by_key(|(_, encoding)| std::cmp::Reverse(encoding.len()));
        let mut rows: Vec<Option<Tensor>> = texts.iter().map(|_| None).collect();
        for batch in encodings.chunks(batch_size) {
            let vectors = self.pass(batch.iter().map(|(_, encoding)| encoding.clone()).collect())?;
            for (row, (index, _)) in batch.iter().enumerate() {
                rows[*index] = Some(vectors.get(row as i64));
            }
        }
        Ok(Tensor::stack(&rows.into_iter().flatten().collect::<Vec<_>>(), 0))
    }

    fn pass(&self, encodings: Vec<tokenizers::Encoding>) -> Result<Tensor> {
        let mut inputs = self.tokenizer.batch(encodings)?;
        let takes = |name: &str| self.model.arguments().iter().any(|argument| argument.name == name);
        for name in ["attention_mask", "token_type_ids"] {
            if !takes(name) {
                inputs.remove(name);
            }
        }
        let outputs = self.model.forward(&inputs)?;
        let tokens = outputs.get("last_hidden_state").ok_or_else(|| {
            let message = format!("`{}` returns no `last_hidden_state` to take vectors from", self.model.class());
            Error::input("model", message)
        })?;
        catch(|| {
            let mask = match inputs.get("attention_mask") {
                Some(mask) => mask.to_device(tokens.device()),
                None => Tensor::ones(&tokens.size()[..2], (Kind::Int64, tokens.device())),
            };
            let mut x = tokens.shallow_clone();
            for module in &self.modules {
                let _guard = tch::no_grad_guard();
                x = module.forward(&x, &mask)?;
            }
            Ok(x.to_device(Device::Cpu).to_kind(Kind::Float))
        })
    }
}

/// The class that reads text: of an encoder-decoder, the encoder alone where there is such a class.
fn text_class(directory: &Path) -> Result<&'static str> {
    let config = config::read_json(&directory.join("config.json"))?;
    let model_type = config::model_type(&config)?;
    let entry = auto::entry(model_type)?;
    let encoder = entry.class_for("text-encoding").filter(|_| entry.category == "encoder-decoder");
    let class = encoder.or_else(|| entry.class_for("feature-extraction"));
    class.map(|class| class.name).ok_or_else(|| {
        Error::config(model_type, "model_type", "the architecture has no class for the task `feature-extraction`")
    })
}

/// The most tokens that the model takes.
fn token_limit(model: &Model) -> Result<Option<usize>> {
    let ids = model.arguments().iter().find(|argument| argument.name == "input_ids").ok_or_else(|| {
        Error::input("input_ids", format!("is not an argument of `{}`, which reads no text", model.class()))
    })?;
    Ok(ids.shape.iter().find_map(|dim| match dim {
        Dim::AtMost(_, limit) => usize::try_from(*limit).ok(),
        _ => None,
    }))
}

/// The cosine of the angle between any two rows of `vectors` (`[texts, width]`), `[texts, texts]`.
pub fn cosine_similarity(vectors: &Tensor) -> Tensor {
    let unit = sentence::normalize(vectors);
    unit.matmul(&unit.tr())
}
