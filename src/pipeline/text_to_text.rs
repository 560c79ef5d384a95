//! Texts of texts: encoder-decoders under the three names that their task has.
//!
//! `transformers` 5 has no pipelines for these; results have the shape of those of version 4.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokenizers::Encoding;

use super::generating::Writer;
use super::languages::Languages;
use super::{Options, Text, TypedPipeline};
use crate::auto::{AutoModelForSeq2SeqLM, Checkpoint};
use crate::{Error, GenerationConfig, Result};

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

    /// What `src_lang` and `tgt_lang` may be, where the tokenizer has tokens for languages.
    pub fn languages(&self) -> Vec<&str> {
        self.tokens().names().collect()
    }

    /// What is written for every text, as often as `num_return_sequences` says.
    ///
    /// Models of many languages begin what they write with the token of `tgt_lang`, and find that of `src_lang` with every
    /// text, where their tokenizer puts it; without `src_lang` it is the one that `tokenizer_config.json` names.
    ///
    /// # Errors
    /// [`Error::Input`] and [`Error::Config`] for a setting that does not fit, such as a language that the tokenizer does
    /// not know, and as [`Model::generate_with`](crate::Model::generate_with).
    pub fn generate(&self, texts: &[&str], settings: &TextToTextSettings) -> Result<Vec<Vec<WrittenText>>> {
        let tokenizer = self.writer.text.tokenizer();
        let decoded = |row: &Vec<i64>| Ok(WrittenText { field: W::FIELD, text: tokenizer.decode(row, true)? });
        let rows = self.ids(texts, settings)?;
        rows.iter().map(|rows| rows.iter().map(decoded).collect()).collect()
    }

    /// The tokens that are written for every text, without the start.
    fn ids(&self, texts: &[&str], settings: &TextToTextSettings) -> Result<Vec<Vec<Vec<i64>>>> {
        let specific = self.specific(settings);
        let mut generation = specific.clone();
        generation.retain(|name, _| GenerationConfig::has(name));
        generation.extend(settings.generation.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let Some(language) = &settings.tgt_lang {
            match self.tokens().token("tgt_lang", language)? {
                Some(id) => drop(generation.insert("forced_bos_token_id".into(), id.into())),
                None if specific.is_empty() => {
                    let message = "is no token of the tokenizer, and config.json knows no translation into it";
                    return Err(Error::input("tgt_lang", format!("`{language}` {message}")));
                }
                None => {}
            }
        }
        let config = self.writer.config(&generation)?;
        self.writer.write(self.encoded(texts, settings)?, &config, settings.seed, None)
    }

    /// The tokens of every text.
    fn encoded(&self, texts: &[&str], settings: &TextToTextSettings) -> Result<Vec<Encoding>> {
        let text = &self.writer.text;
        let specific = self.specific(settings);
        let stored = specific.get("prefix").or_else(|| text.model().config().get("prefix"));
        let prefix = settings.prefix.as_deref().or_else(|| stored?.as_str()).unwrap_or_default();
        let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encodings = text.tokenizer().encode_cut(&texts, text.truncation(settings.truncation))?;
        let languages = self.tokens();
        let source = settings.src_lang.as_ref().map(|language| languages.token("src_lang", language)).transpose()?;
        match source.flatten() {
            Some(id) => encodings.iter().map(|encoding| languages.spoken(encoding, id)).collect(),
            None => Ok(encodings),
        }
    }

    fn tokens(&self) -> Languages<'_> {
        Languages::of(self.writer.text.tokenizer())
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// One run of `reference/languages.py`.
    #[derive(Deserialize)]
    struct Run {
        checkpoint: String,
        src_lang: Option<String>,
        tgt_lang: Option<String>,
        /// What is different in `tokenizer_config.json`.
        tokenizer: Map<String, Value>,
        settings: Map<String, Value>,
        texts: Vec<Read>,
    }

    #[derive(Deserialize)]
    struct Read {
        text: String,
        read: Vec<u32>,
        ids: Vec<i64>,
        written: String,
    }

    fn data() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
    }

    /// The checkpoint `name` with `changes` of `tokenizer_config.json`.
    fn translation(name: &str, changes: Map<String, Value>) -> Translation {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(data().join("checkpoints").join(name)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        let path = folder.path().join("tokenizer_config.json");
        let mut config: Map<String, Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config.extend(changes);
        std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
        Translation::from_pretrained(folder.path(), &Options::default()).unwrap()
    }

    #[test]
    fn texts_are_read_and_written_in_the_languages_of_python() {
        let file: Value = serde_json::from_slice(&std::fs::read(data().join("languages.json")).unwrap()).unwrap();
        let runs: Vec<Run> = serde_json::from_value(file["runs"].clone()).unwrap();
        assert!(!runs.is_empty());
        for Run { checkpoint, src_lang, tgt_lang, tokenizer, settings, texts: expected } in runs {
            let about = format!("{checkpoint}, {src_lang:?} to {tgt_lang:?}");
            let pipeline = translation(&checkpoint, tokenizer);
            let settings = TextToTextSettings { src_lang, tgt_lang, generation: settings, ..Default::default() };
            let texts: Vec<&str> = expected.iter().map(|read| read.text.as_str()).collect();
            let read = pipeline.encoded(&texts, &settings).unwrap();
            let written = pipeline.generate(&texts, &settings).unwrap();
            // Alone, as Python has them; in a batch, shorter rows are filled up.
            for ((read, written), expected) in std::iter::zip(std::iter::zip(read, written), &expected) {
                assert_eq!(read.get_ids(), expected.read, "{about}");
                assert_eq!(written[0].text, expected.written, "{about}");
                let ids = pipeline.ids(&[&expected.text], &settings).unwrap();
                assert_eq!(ids, [[&expected.ids[..]]], "{about}: {}", expected.text);
            }
        }
    }

    #[test]
    fn languages_that_the_tokenizer_does_not_know_are_refused_by_name() {
        assert_eq!(translation("m2m100", Map::new()).languages(), ["de", "en", "fr", "ro", "zh"]);
        let refused = |name: &str, src: Option<&str>, tgt: Option<&str>| {
            let [src_lang, tgt_lang] = [src, tgt].map(|language| language.map(str::to_owned));
            let settings = TextToTextSettings { src_lang, tgt_lang, ..Default::default() };
            let error = translation(name, Map::new()).generate(&["ok"], &settings).unwrap_err();
            assert!(matches!(&error, Error::Input { .. }), "{error}");
            error.to_string()
        };
        for (name, src, tgt, told) in [
            ("mbart", Some("en"), Some("de_DE"), &["`src_lang`", "did you mean en_XX", "ar_AR, cs_CZ, de_DE"][..]),
            ("mbart", None, Some("de-DE"), &["`tgt_lang`", "did you mean de_DE"]),
            ("mbart", None, Some("<mask>"), &["`tgt_lang`", "zh_CN"]),
            ("mbart50", None, Some("slovene"), &["`tgt_lang`", "sl_SI"]),
            ("nllb", Some("eng_Latn"), Some("zho"), &["did you mean zho_Han"]),
            ("m2m100", Some("english"), None, &["`src_lang`", "did you mean en"]),
            ("m2m100", Some("en"), Some("xx"), &["`xx` is no language of the tokenizer; it knows de, en, fr, ro, zh"]),
            ("t5", Some("en"), Some("fr"), &["config.json knows no translation"]),
        ] {
            let error = refused(name, src, tgt);
            assert!(told.iter().all(|told| error.contains(told)), "{error}");
        }
    }
}
