//! Settings of a generation out of a checkpoint's files.

use std::path::Path;

use serde_json::{Map, Value};

use super::GenerationConfig;
use crate::weights::config_file;
use crate::{Error, Result, config};

/// What a file of settings has at most, in bytes: real ones have a few thousand, bad words included.
const LARGEST: u64 = 16 << 20;

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
    "num_beam_groups",
    "diversity_penalty",
    "length_penalty",
    "early_stopping",
    "num_return_sequences",
    "temperature",
    "top_h",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "guidance_scale",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size",
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
    "stop_strings",
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
    ("watermarking_config", None),
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
        Self::from_fields(Self::settings_of(directory)?)
    }

    /// The settings that the files of a checkpoint make, by name, for others to be put over them; [`Self::from_json`]
    /// reads the result.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Json`] for a file that cannot be read.
    pub fn settings_of(directory: &Path) -> Result<Map<String, Value>> {
        let own = directory.join("generation_config.json");
        let mut settings = match own.is_file() {
            true => set_fields(&read(&own)?)?,
            false => model_fields(&read(&config_file(directory))?)?,
        };
        settings.retain(|name, _| Self::has(name));
        Ok(settings)
    }

    /// Whether a generation has a setting of that name, supported here or not.
    pub fn has(name: &str) -> bool {
        FIELDS.contains(&name) || UNSUPPORTED.iter().any(|(other, _)| *other == name)
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
        Self::from_fields(model_fields(json)?)
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

/// What the contents of a `config.json` say of generation, or say in the part that describes the decoder.
fn model_fields(json: &Value) -> Result<Map<String, Value>> {
    let mut fields = set_fields(json)?;
    if fields.get("force_bos_token_to_be_generated").and_then(Value::as_bool) == Some(true) {
        let first = fields.get("bos_token_id").cloned();
        fields.extend(first.map(|token| ("forced_bos_token_id".to_owned(), token)));
    }
    let part = ["decoder", "generator", "text_config"].iter().find_map(|name| fields.get(*name)).cloned();
    if let Some(Value::Object(part)) = part {
        for (name, value) in part {
            if GenerationConfig::has(&name) && !value.is_null() {
                fields.entry(name).or_insert(value);
            }
        }
    }
    Ok(fields)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::EarlyStopping;
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
    fn stop_strings_are_one_or_several() {
        let read = |value: Value| GenerationConfig::from_json(&json!({ "stop_strings": value })).unwrap().stop_strings;
        assert_eq!(read(json!("\n")), ["\n"]);
        assert_eq!(read(json!(["a", "b"])), ["a", "b"]);
    }

    #[test]
    fn a_search_stops_early_by_a_switch_or_never() {
        let read = |value: Value| GenerationConfig::from_json(&json!({ "early_stopping": value }));
        for (value, meaning) in [
            (json!(true), EarlyStopping::Full),
            (json!(false), EarlyStopping::Satisfied),
            (json!("never"), EarlyStopping::Never),
            (Value::Null, EarlyStopping::Satisfied),
        ] {
            assert_eq!(read(value).unwrap().early_stopping, meaning);
        }
        for wrong in [json!("always"), json!(1)] {
            let message = read(wrong).unwrap_err().to_string();
            assert!(message.contains("early_stopping") && message.contains("never"), "{message}");
        }
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
