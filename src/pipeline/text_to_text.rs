//! Texts of texts: encoder-decoders under the three names that their task has.
//!
//! `transformers` 5 has no pipelines for these; results have the shape of those of version 4.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::generating::Writer;
use super::{Options, Text, TypedPipeline};
use crate::auto::{AutoModelForSeq2SeqLM, Checkpoint};
use crate::{Error, Result};

/// A name of the task, and the field of a result.
pub trait Wording: std::fmt::Debug + Send + Sync + 'static {
    /// The task.
    const TASK: &'static str;
    /// The field that holds the text.
    const FIELD: &'static str;
    /// Under which `task_specific_params` of `config.json` may have settings for it.
    const SPECIFIC: &'static str;
}

macro_rules! wordings {
    ($($(#[$doc:meta])* $name:ident = $task:literal, $field:literal, $specific:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name;

            impl Wording for $name {
                const TASK: &'static str = $task;
                const FIELD: &'static str = $field;
                const SPECIFIC: &'static str = $specific;
            }
        )*
    };
}

wordings! {
    /// A text of a text, whatever the model was trained for.
    AnyText = "text2text-generation", "generated_text", "";
    /// A shorter text that says the same.
    Summary = "summarization", "summary_text", "summarization";
    /// The text in another language.
    InAnotherLanguage = "translation", "translation_text", "translation";
}

/// Texts to texts: see [`Text2TextGeneration`], [`Summarization`], [`Translation`].
#[derive(Debug)]
pub struct TextToText<W: Wording> {
    writer: Writer,
    wording: PhantomData<W>,
}

/// Texts to texts, whatever the model was trained for.
pub type Text2TextGeneration = TextToText<AnyText>;
/// Texts to summaries.
pub type Summarization = TextToText<Summary>;
/// Texts to translations.
pub type Translation = TextToText<InAnotherLanguage>;

/// The arguments of a call.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TextToTextSettings {
    /// Put before every text, in place of the `prefix` that `config.json` has.
    pub prefix: Option<String>,
    /// The language of the texts, as the tokenizer names it (`en_XX`, `eng_Latn`, `__en__` or `en`), for models of many.
    pub src_lang: Option<String>,
    /// The language that is written, likewise.
    pub tgt_lang: Option<String>,
    /// Cut texts to the length that `tokenizer_config.json` allows.
    pub truncation: bool,
    /// Where what is drawn begins.
    pub seed: u64,
    /// The settings of the generation, by their names in [`GenerationConfig`](crate::GenerationConfig), over those of the
    /// checkpoint.
    #[serde(flatten)]
    pub generation: Map<String, Value>,
}

/// A text that was written, under the name that its task has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenText {
    field: &'static str,
    /// The text.
    pub text: String,
}

impl Serialize for WrittenText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map([(self.field, &self.text)])
    }
}

impl<W: Wording> TextToText<W> {
    /// Loads a checkpoint.
    ///
    /// # Errors
    /// As [`Text::from_pretrained`], and [`Error::Config`] for settings in its files that are not supported.
    pub fn from_pretrained(checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Self> {
        let defaults = [("max_new_tokens".to_owned(), 256.into())].into_iter().collect();
        let writer = Writer::from_pretrained(AutoModelForSeq2SeqLM::CLASS, checkpoint, options, defaults)?;
        Ok(Self { writer, wording: PhantomData })
    }

    /// Tokenizer and model.
    pub fn text(&self) -> &Text {
        &self.writer.text
    }

    /// What is written for every text, as often as `num_return_sequences` says.
    ///
    /// # Errors
    /// [`Error::Input`] and [`Error::Config`] for a setting that does not fit, and as
    /// [`Model::generate_with`](crate::Model::generate_with).
    pub fn generate(&self, texts: &[&str], settings: &TextToTextSettings) -> Result<Vec<Vec<WrittenText>>> {
        let text = &self.writer.text;
        let tokenizer = text.tokenizer();
        let specific = self.specific(settings);
        let mut generation = specific.clone();
        let stored = generation.remove("prefix").or_else(|| text.model().config().get("prefix").cloned());
        generation.retain(|name, _| crate::GenerationConfig::has(name));
        generation.extend(settings.generation.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let Some(language) = &settings.tgt_lang {
            if let Some(id) = self.language(language) {
                generation.insert("forced_bos_token_id".into(), id.into());
            } else if specific.is_empty() {
                let message =
                    format!("`{language}` is no token of the tokenizer, and config.json knows no translation into it");
                return Err(Error::input("tgt_lang", message));
            }
        }
        let prefix = settings.prefix.as_deref().or_else(|| stored.as_ref()?.as_str()).unwrap_or_default();
        let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut encodings = tokenizer.encode_cut(&texts, text.truncation(settings.truncation))?;
        if let Some(id) = settings.src_lang.as_ref().and_then(|language| self.language(language)) {
            encodings = encodings.into_iter().map(|encoding| self.spoken(&encoding, id)).collect();
        }
        let config = self.writer.config(&generation)?;
        let rows = self.writer.write(encodings, &config, settings.seed, None)?;
        let decoded = |row: &Vec<i64>| Ok(WrittenText { field: W::FIELD, text: tokenizer.decode(row, true)? });
        rows.iter().map(|rows| rows.iter().map(decoded).collect()).collect()
    }

    /// The settings that `config.json` has for this task: `translation_en_to_de` for a translation from `en` to `de`.
    fn specific(&self, settings: &TextToTextSettings) -> Map<String, Value> {
        let all = self.writer.text.model().config().get("task_specific_params").and_then(Value::as_object);
        let name = match (&settings.src_lang, &settings.tgt_lang) {
            (Some(from), Some(to)) => format!("{}_{from}_to_{to}", W::SPECIFIC),
            _ => W::SPECIFIC.to_owned(),
        };
        all.and_then(|all| all.get(&name)?.as_object().cloned()).unwrap_or_default()
    }

    /// The token that stands for a language.
    fn language(&self, language: &str) -> Option<u32> {
        let inner = self.writer.text.tokenizer().inner();
        inner.token_to_id(&format!("__{language}__")).or_else(|| {
            let known = &self.writer.text.tokenizer().special_tokens().additional;
            known.iter().find(|token| token.content == language).map(|token| token.id)
        })
    }

    /// `encoding` with the token of its language replaced by `id`, where the tokenizer puts one.
    fn spoken(&self, encoding: &tokenizers::Encoding, id: u32) -> tokenizers::Encoding {
        let languages = &self.writer.text.tokenizer().special_tokens().additional;
        let is_language = |token: u32| languages.iter().any(|language| language.id == token);
        let specials = encoding.get_special_tokens_mask();
        let ids = std::iter::zip(encoding.get_ids(), specials);
        let ids = ids.map(|(token, special)| if *special == 1 && is_language(*token) { id } else { *token }).collect();
        tokenizers::Encoding::new(
            ids,
            encoding.get_type_ids().to_vec(),
            encoding.get_tokens().to_vec(),
            encoding.get_word_ids().to_vec(),
            encoding.get_offsets().to_vec(),
            specials.to_vec(),
            encoding.get_attention_mask().to_vec(),
            Vec::new(),
            Default::default(),
        )
    }
}

impl<W: Wording> TypedPipeline for TextToText<W> {
    const TASK: &'static str = W::TASK;
    type Input = String;
    type Settings = TextToTextSettings;
    type Output = Vec<WrittenText>;

    fn call(&self, inputs: &[String], settings: &Self::Settings) -> Result<Vec<Vec<WrittenText>>> {
        self.generate(&inputs.iter().map(String::as_str).collect::<Vec<_>>(), settings)
    }
}
