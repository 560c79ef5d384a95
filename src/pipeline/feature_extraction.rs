use std::path::Path;

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::sentence::{self, Pooling, PoolingMode, SentenceModule};
use super::text::numbers;
use super::{Batch, Options, Text, TypedPipeline};
use crate::auto::{AutoConfig, AutoModel, AutoModelForTextEncoding, Checkpoint};
use crate::json::read_optional;
use crate::text::Tokenizer;
use crate::weights::LoadOptions;
use crate::{Error, Model, Outputs, Result};

/// Texts to vectors: a directory of `sentence-transformers`, or of any text model with a tokenizer.
///
/// With `modules.json` the directory says itself how the vectors of a text's tokens become one; without it, that is
/// their mean. [`FeatureExtraction::tokens`] gives the vectors of the tokens themselves.
#[derive(Debug)]
pub struct FeatureExtraction {
    text: Text,
    modules: Vec<SentenceModule>,
}

/// What Python's pipeline can be told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeatureExtractionSettings {
    /// Cut texts to the length that `tokenizer_config.json` allows, where the model has positions for more.
    pub truncation: bool,
}

/// `sentence_bert_config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TransformerConfig {
    max_seq_length: Option<usize>,
    do_lower_case: bool,
}

impl FeatureExtraction {
    /// As [`FeatureExtraction::from_pretrained`], from a directory.
    ///
    /// # Errors
    /// As [`FeatureExtraction::from_pretrained`].
    pub fn from_directory(directory: &Path, options: LoadOptions) -> Result<Self> {
        Self::from_pretrained(directory, &Options { load: options, ..Options::default() })
    }

    /// Loads a checkpoint: `config.json`, `model.safetensors` and `tokenizer.json`, and where they are there
    /// `tokenizer_config.json`, `sentence_bert_config.json` and `modules.json` with the modules it names.
    ///
    /// Tensors that belong to other classes, such as a language model's head, are passed over; see
    /// [`FeatureExtraction::unused`]. A pooler, whose output is not looked at, may be missing.
    ///
    /// # Errors
    /// A typed error for every file that is missing or damaged, a module that is not supported, and as
    /// [`auto::load`](crate::auto::load).
    pub fn from_pretrained(checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Self> {
        let directory = checkpoint.into().directory()?;
        let (place, modules) = match sentence::modules(&directory, options.load)? {
            Some((place, modules)) => (directory.join(place), modules),
            None => (directory, vec![SentenceModule::Pooling(Pooling(vec![PoolingMode::Mean]))]),
        };
        if !modules.iter().any(|module| matches!(module, SentenceModule::Pooling(_))) {
            return Err(Error::config("modules.json", "type", "lists no Pooling"));
        }
        let text = Text::without_pooler(&place, text_class(&place)?, options)?;
        let settings: TransformerConfig = read_optional(&place.join("sentence_bert_config.json"))?.unwrap_or_default();
        let text = text.with_tokenizer(|tokenizer| {
            let tokenizer = match settings.max_seq_length {
                Some(length) => tokenizer.with_max_length(length)?,
                None => tokenizer,
            };
            if settings.do_lower_case { tokenizer.lowercased() } else { Ok(tokenizer) }
        })?;
        Ok(Self { text, modules })
    }

    /// Tokenizer and model.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The model without the modules after it.
    pub fn model(&self) -> &Model {
        self.text.model()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        self.text.tokenizer()
    }

    /// Tensors of the checkpoint that the model's class does not have.
    pub fn unused(&self) -> &[String] {
        self.text.unused()
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
        let encodings = self.tokenizer().encode(texts)?;
        let rows = self.text.each(encodings, batch_size, |batch, outputs| self.pooled(batch, outputs))?;
        Ok(Tensor::stack(&rows, 0))
    }

    /// The last hidden state of each text's tokens, special ones included, `[tokens, hidden]` each, float32 on the CPU.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], and as [`Model::forward`].
    pub fn tokens(&self, texts: &[&str], settings: &FeatureExtractionSettings) -> Result<Vec<Tensor>> {
        let encodings = self.tokenizer().encode_cut(texts, self.text.truncation(settings.truncation))?;
        self.text.rows(encodings, &["last_hidden_state"], |encoding, rows| {
            Ok(self.text.tokens(encoding, &rows[0]).contiguous())
        })
    }

    /// One vector for each text of a batch.
    fn pooled(&self, batch: &Batch, outputs: &Outputs) -> Result<Vec<Tensor>> {
        let tokens = self.text.output(outputs, "last_hidden_state")?;
        let mask = batch.mask.to_device(tokens.device());
        let mut x = tokens.shallow_clone();
        for module in &self.modules {
            let _guard = tch::no_grad_guard();
            x = module.forward(&x, &mask)?;
        }
        Ok(x.to_device(Device::Cpu).to_kind(Kind::Float).unbind(0))
    }
}

impl TypedPipeline for FeatureExtraction {
    const TASK: &'static str = "feature-extraction";
    type Input = String;
    type Settings = FeatureExtractionSettings;
    /// `[1][tokens][hidden]`.
    type Output = [Vec<Vec<f32>>; 1];

    fn call(&self, inputs: &[String], settings: &Self::Settings) -> Result<Vec<Self::Output>> {
        let texts: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let vectors = |tokens: &Tensor| Ok([numbers(tokens)?]);
        self.tokens(&texts, settings)?.iter().map(vectors).collect()
    }
}

/// The class that reads text: of an encoder-decoder, the encoder alone where there is such a class.
fn text_class(directory: &Path) -> Result<&'static str> {
    let config = AutoConfig::from_pretrained(directory)?;
    let encoder =
        (config.entry().category == "encoder-decoder").then(|| AutoModelForTextEncoding::CLASS.class_of(&config));
    let class = encoder.and_then(Result::ok).map_or_else(|| AutoModel::CLASS.class_of(&config), Ok)?;
    Ok(class.name)
}

/// The cosine of the angle between any two rows of `vectors` (`[texts, width]`), `[texts, texts]`.
pub fn cosine_similarity(vectors: &Tensor) -> Tensor {
    let unit = sentence::normalize(vectors);
    unit.matmul(&unit.tr())
}
