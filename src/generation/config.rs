//! The settings of a generation under the names of `transformers`, read from a checkpoint's files.

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{AssistantSchedule, CacheImplementation};
use crate::{Error, Result, config};

/// What a file of settings has at most, in bytes: real ones have a few thousand, bad words included.
const LARGEST: u64 = 16 << 20;

/// How tokens are chosen and when a row ends.
///
/// Fields have the names, meanings and defaults of `GenerationConfig` in `transformers`; `None` is a setting that no
/// file makes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenerationConfig {
    /// Tokens of a row at most, prompt included, where `max_new_tokens` is not set.
    pub max_length: Option<usize>,
    /// Tokens to add at most. Where `max_length` is not set either: 20, or as many as the model has positions for.
    pub max_new_tokens: Option<usize>,
    /// Tokens that a row has before it may end, prompt included, where `min_new_tokens` is not set.
    pub min_length: usize,
    /// New tokens that a row has before it may end.
    pub min_new_tokens: Option<usize>,
    /// Seconds after which no further step begins.
    pub max_time: Option<f64>,
    /// Whether every step goes on from a cache; otherwise all tokens are passed again and again.
    pub use_cache: bool,
    /// The cache.
    pub cache_implementation: CacheImplementation,
    /// Tokens that a static cache is made for at least.
    pub max_cache_len: Option<usize>,
    /// Tokens of the prompt that are passed at once at most.
    pub prefill_chunk_size: Option<usize>,
    /// Tokens that an assistant proposes at once, at first. Python takes this and the next two from the settings of the
    /// assistant.
    pub num_assistant_tokens: usize,
    /// How that number changes.
    pub num_assistant_tokens_schedule: AssistantSchedule,
    /// The probability of a proposed token below which the assistant proposes no further one; 0 for any.
    pub assistant_confidence_threshold: f64,
    /// Tokens that are proposed at once from what stands in the text already.
    pub prompt_lookup_num_tokens: Option<usize>,
    /// The most tokens at the end of the text that are looked for in it; 2 where it is not set.
    pub max_matching_ngram_size: Option<usize>,
    /// Draws tokens from their probabilities; otherwise the likeliest one is taken.
    pub do_sample: bool,
    /// Beams; only 1 is supported.
    pub num_beams: usize,
    /// Continuations of every row of the prompt; more than one only with `do_sample`.
    pub num_return_sequences: usize,
    /// Divides the scores, with `do_sample`.
    pub temperature: f64,
    /// Tokens to draw from, with `do_sample`; 0 for all.
    pub top_k: i64,
    /// The probability that the tokens to draw from have together, with `do_sample`.
    pub top_p: f64,
    /// The probability that a token to draw from has, as a share of the likeliest one's, with `do_sample`.
    pub min_p: Option<f64>,
    /// The mass of the typical tokens to draw from, with `do_sample`.
    pub typical_p: f64,
    /// The probability that a token to draw from has, with `do_sample`; 0 for any.
    pub epsilon_cutoff: f64,
    /// As `epsilon_cutoff`, lower where the entropy is high; 0 for any.
    pub eta_cutoff: f64,
    /// Divides positive scores of tokens that have occurred, multiplies negative ones.
    pub repetition_penalty: f64,
    /// The length of sequences that occur once only; 0 for none.
    pub no_repeat_ngram_size: usize,
    /// Sequences that never occur.
    pub bad_words_ids: Option<Vec<Vec<i64>>>,
    /// Sequences whose last token is favoured or disfavoured, and by how much.
    pub sequence_bias: Option<Vec<(Vec<i64>, f64)>>,
    /// The token that follows a prompt of one token.
    pub forced_bos_token_id: Option<i64>,
    /// The token that is last where a row is as long as it may be; several to choose from, or none.
    #[serde(deserialize_with = "one_or_many")]
    pub forced_eos_token_id: Vec<i64>,
    /// Replaces scores that are no numbers, or infinite.
    pub remove_invalid_values: bool,
    /// New tokens after which the end becomes likelier, and the factor by which it does.
    pub exponential_decay_length_penalty: Option<(usize, f64)>,
    /// Tokens that never occur.
    pub suppress_tokens: Option<Vec<i64>>,
    /// Tokens that do not come first.
    pub begin_suppress_tokens: Option<Vec<i64>>,
    /// Turns scores into logarithms of probabilities, after everything else.
    pub renormalize_logits: bool,
    /// Tokens that end a row; one or several in a file.
    #[serde(deserialize_with = "one_or_many")]
    pub eos_token_id: Vec<i64>,
    /// What fills a row that has ended: the first end where it is not set.
    pub pad_token_id: Option<i64>,
    /// The token that begins a text.
    pub bos_token_id: Option<i64>,
    /// The token that an encoder-decoder's decoder starts from: the class's own where it is not set.
    pub decoder_start_token_id: Option<i64>,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_length: None,
            max_new_tokens: None,
            min_length: 0,
            min_new_tokens: None,
            max_time: None,
            use_cache: true,
            cache_implementation: CacheImplementation::Dynamic,
            max_cache_len: None,
            prefill_chunk_size: None,
            num_assistant_tokens: 20,
            num_assistant_tokens_schedule: AssistantSchedule::Constant,
            assistant_confidence_threshold: 0.4,
            prompt_lookup_num_tokens: None,
            max_matching_ngram_size: None,
            do_sample: false,
            num_beams: 1,
            num_return_sequences: 1,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            min_p: None,
            typical_p: 1.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            bad_words_ids: None,
            sequence_bias: None,
            forced_bos_token_id: None,
            forced_eos_token_id: Vec::new(),
            remove_invalid_values: false,
            exponential_decay_length_penalty: None,
            suppress_tokens: None,
            begin_suppress_tokens: None,
            renormalize_logits: false,
            eos_token_id: Vec::new(),
            pad_token_id: None,
            bos_token_id: None,
            decoder_start_token_id: None,
        }
    }
}

/// Fields of [`GenerationConfig`], as files spell them.
const FIELDS: &[&str] = &[
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "max_time",
    "use_cache",
    "cache_implementation",
    "max_cache_len",
    "prefill_chunk_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
    "do_sample",
    "num_beams",
    "num_return_sequences",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "sequence_bias",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "renormalize_logits",
    "eos_token_id",
    "pad_token_id",
    "bos_token_id",
    "decoder_start_token_id",
];

/// Settings that change what is generated and are not supported, with the number that switches each off.
const UNSUPPORTED: &[(&str, Option<f64>)] = &[
    ("constraints", None),
    ("force_words_ids", None),
    ("penalty_alpha", Some(0.0)),
    ("dola_layers", None),
    ("num_beam_groups", Some(1.0)),
    ("diversity_penalty", Some(0.0)),
    ("top_h", None),
    ("encoder_repetition_penalty", Some(1.0)),
    ("encoder_no_repeat_ngram_size", Some(0.0)),
    ("guidance_scale", Some(1.0)),
    ("watermarking_config", None),
    ("stop_strings", None),
    ("token_healing", None),
    ("assistant_early_exit", None),
    ("assistant_ensemble_weight", None),
    ("speculation_type", None),
    ("use_mtp", None),
];

impl GenerationConfig {
    /// Reads `generation_config.json` of a checkpoint's folder, or what an older checkpoint's `config.json` says of
    /// generation where there is no such file.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Json`] for a file that cannot be read, [`Error::Config`] for a setting of the wrong
    /// type, or one that is not supported.
    pub fn from_directory(directory: &Path) -> Result<Self> {
        let own = directory.join("generation_config.json");
        if own.is_file() {
            Self::from_json(&read(&own)?)
        } else {
            Self::from_model_config(&read(&directory.join("config.json"))?)
        }
    }

    /// Reads the contents of a `generation_config.json`; keys that are not known change nothing, `null` sets nothing.
    ///
    /// # Errors
    /// As [`GenerationConfig::from_directory`].
    pub fn from_json(json: &Value) -> Result<Self> {
        Self::from_fields(set_fields(json)?)
    }

    /// Reads what the contents of a `config.json` say of generation, or say in the part that describes the decoder.
    ///
    /// # Errors
    /// As [`GenerationConfig::from_directory`].
    pub fn from_model_config(json: &Value) -> Result<Self> {
        let mut fields = set_fields(json)?;
        if fields.get("force_bos_token_to_be_generated").and_then(Value::as_bool) == Some(true) {
            let first = fields.get("bos_token_id").cloned();
            fields.extend(first.map(|token| ("forced_bos_token_id".to_owned(), token)));
        }
        let part = ["decoder", "generator", "text_config"].iter().find_map(|name| fields.get(*name)).cloned();
        if let Some(Value::Object(part)) = part {
            for (name, value) in part {
                let counts = FIELDS.contains(&name.as_str()) || UNSUPPORTED.iter().any(|(other, _)| *other == name);
                if counts && !value.is_null() {
                    fields.entry(name).or_insert(value);
                }
            }
        }
        Self::from_fields(fields)
    }

    /// Refuses what no decoding loop of this version does.
    pub(super) fn check(&self) -> Result<()> {
        let (beams, sequences) = (self.num_beams, self.num_return_sequences);
        if beams != 1 {
            return Err(Error::input("num_beams", format!("is {beams}; beam search is not supported, set it to 1")));
        }
        match sequences {
            0 => Err(Error::input("num_return_sequences", "is 0, expected at least 1")),
            1 => Ok(()),
            _ if self.do_sample => Ok(()),
            _ => {
                Err(Error::input("num_return_sequences", format!("is {sequences}; without `do_sample` all are equal")))
            }
        }
    }

    fn from_fields(mut fields: Map<String, Value>) -> Result<Self> {
        for (name, neutral) in UNSUPPORTED {
            let off = |value: &Value| value == &Value::Bool(false) || neutral.is_some() && value.as_f64() == *neutral;
            if fields.get(*name).is_some_and(|value| !off(value)) {
                let message = "is not supported by this version; leave it out of the file, or set it to null";
                return Err(Error::config("generation", *name, message));
            }
        }
        fields.retain(|name, _| FIELDS.contains(&name.as_str()));
        config::parse("generation", fields)
    }
}

/// The fields of an object that have a value.
fn set_fields(json: &Value) -> Result<Map<String, Value>> {
    match json {
        Value::Object(fields) => {
            Ok(fields.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect())
        }
        _ => Err(Error::config("generation", "generation_config.json", "is not a JSON object")),
    }
}

fn read(path: &Path) -> Result<Value> {
    let size = std::fs::metadata(path).map_err(|error| Error::io(path, error))?.len();
    if size > LARGEST {
        let message = format!("has {size} bytes, more than the {LARGEST} that settings may have");
        return Err(Error::Json { path: path.into(), message });
    }
    config::read_json(path)
}

/// A number, or a list of numbers.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a token or a list of tokens")]
    enum Tokens {
        One(i64),
        Many(Vec<i64>),
    }
    Ok(match Tokens::deserialize(from)? {
        Tokens::One(token) => vec![token],
        Tokens::Many(tokens) => tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_null_and_unknown_settings_are_defaults() {
        let json = json!({"top_k": null, "_from_model_config": true, "my_own": [1], "transformers_version": "5.23.0"});
        assert_eq!(GenerationConfig::from_json(&json).unwrap(), GenerationConfig::default());
        for field in FIELDS {
            // Every name stands for a field, of which none is a table.
            let error = GenerationConfig::from_json(&json!({ *field: {} })).unwrap_err();
            assert!(matches!(&error, Error::Config { field: at, .. } if at == field), "{field}: {error}");
        }
    }

    #[test]
    fn ends_are_one_token_or_several() {
        let ends = |value: Value| GenerationConfig::from_json(&json!({ "eos_token_id": value })).unwrap().eos_token_id;
        assert_eq!(ends(json!(7)), [7]);
        assert_eq!(ends(json!([7, 9])), [7, 9]);
    }

    #[test]
    fn modes_that_are_not_supported_are_refused_by_name() {
        for (name, neutral) in UNSUPPORTED {
            let error = GenerationConfig::from_json(&json!({ *name: ["x"] })).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            if let Some(neutral) = neutral {
                assert!(GenerationConfig::from_json(&json!({ *name: neutral })).is_ok(), "{name}");
            }
        }
        assert!(GenerationConfig::from_json(&json!([1])).is_err());
        assert!(GenerationConfig::from_json(&json!({"max_length": -1})).is_err());
        assert!(GenerationConfig::from_json(&json!({"top_p": "x"})).is_err());
    }

    #[test]
    fn an_older_configuration_says_it_of_the_model_or_of_its_decoder() {
        let json = json!({
            "model_type": "bart", "num_beams": 4, "bos_token_id": 3, "force_bos_token_to_be_generated": true,
            "decoder": {"num_beams": 2, "eos_token_id": 5, "hidden_size": 12}, "text_config": {"pad_token_id": 1},
        });
        let read = GenerationConfig::from_model_config(&json).unwrap();
        let wanted = GenerationConfig {
            num_beams: 4,
            bos_token_id: Some(3),
            forced_bos_token_id: Some(3),
            eos_token_id: vec![5],
            ..Default::default()
        };
        assert_eq!(read, wanted);
    }

    #[test]
    fn a_folder_without_its_own_file_is_read_from_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(GenerationConfig::from_directory(folder.path()), Err(Error::Io { .. })));
        std::fs::write(folder.path().join("config.json"), r#"{"eos_token_id": 4}"#).unwrap();
        assert_eq!(GenerationConfig::from_directory(folder.path()).unwrap().eos_token_id, [4]);
        let own = folder.path().join("generation_config.json");
        std::fs::write(&own, r#"{"do_sample": true}"#).unwrap();
        let wanted = GenerationConfig { do_sample: true, ..Default::default() };
        assert_eq!(GenerationConfig::from_directory(folder.path()).unwrap(), wanted);
        std::fs::write(&own, " ".repeat(LARGEST as usize + 1)).unwrap();
        assert!(matches!(GenerationConfig::from_directory(folder.path()), Err(Error::Json { .. })));
    }
}
