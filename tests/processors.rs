//! Every logits processor gives, number for number, what Python's gives for the same scores.
//!
//! `reference/processors.py` made the data.

use std::path::Path;

use serde_json::Value;
use tch::{Kind, Tensor};
use tch_transformers::generation::GenerationConfig;
use tch_transformers::generation::processors::{
    EncoderNoRepeatNGram, EncoderRepetitionPenalty, EpsilonCutoff, EtaCutoff, ExponentialDecay, ForcedBos, ForcedEos,
    LogitsProcessor, LogitsProcessors, MinP, NoRepeatNGram, Prompt, RepetitionPenalty, SequenceBias, Temperature, TopH,
    TopK, TopP, TypicalP,
};
use tch_transformers::weights::safetensors::SafetensorsFile;

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

#[test]
fn scores_equal_those_of_python() {
    let tensors = SafetensorsFile::open(&data("processors.safetensors")).unwrap().tensors().unwrap();
    let about: Value = serde_json::from_str(&std::fs::read_to_string(data("processors.json")).unwrap()).unwrap();
    let max_length = about["max_length"].as_u64().unwrap() as usize;
    let mut unequal = Vec::new();
    for (number, case) in about["cases"].as_array().unwrap().iter().enumerate() {
        let config = GenerationConfig::from_json(&case["settings"]).unwrap();
        let ids = tensors["ids"].narrow(1, 0, case["tokens"].as_i64().unwrap());
        let tokens = case["prompt"].as_u64().unwrap() as usize;
        let prompt = Prompt { tokens, max_length, mask: None, source: Some(&tensors["source"]) };
        let scores = &tensors[case["scores"].as_str().unwrap()];
        let before = scores.copy();
        let processors = LogitsProcessors::of(&config, prompt).unwrap();
        assert!(!processors.is_empty(), "{}", case["settings"]);
        let found = numbers(&processors.process(&ids, scores).unwrap());
        let wanted = numbers(&tensors[&format!("{number:02}")]);
        let equal = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
        if found.len() != wanted.len() || !std::iter::zip(&found, &wanted).all(equal) {
            unequal.push(format!("{}:\n{found:?}\nPython\n{wanted:?}", case["settings"]));
        }
        assert_eq!(numbers(scores).len(), numbers(&before).len());
        assert!(std::iter::zip(&numbers(scores), &numbers(&before)).all(equal), "the given scores have changed");
    }
    assert!(unequal.is_empty(), "{}", unequal.join("\n"));
}

#[test]
fn padding_is_no_repetition() {
    let ids = Tensor::from_slice(&[0i64, 0, 2, 0, 1, 2]).view([2, 3]);
    let mask = Tensor::from_slice(&[0i64, 0, 1, 1, 1, 1]).view([2, 3]);
    let scores = Tensor::ones([2, 4], (Kind::Float, tch::Device::Cpu));
    let penalty = RepetitionPenalty::new(2.0).unwrap().without_padding(&mask);
    let found = numbers(&penalty.process(&ids, &scores).unwrap());
    assert_eq!(found, [1.0, 1.0, 0.5, 1.0, 0.5, 0.5, 0.5, 1.0]);
}

#[test]
fn settings_outside_their_range_are_refused_by_name() {
    let source = Tensor::zeros([1, 2], (Kind::Int64, tch::Device::Cpu));
    let refused = [
        ("temperature", Temperature::new(0.0).err()),
        ("temperature", Temperature::new(f64::NAN).err()),
        ("top_k", TopK::new(0).err()),
        ("top_p", TopP::new(1.5).err()),
        ("min_p", MinP::new(-0.1).err()),
        ("typical_p", TypicalP::new(1.0).err()),
        ("epsilon_cutoff", EpsilonCutoff::new(0.0).err()),
        ("eta_cutoff", EtaCutoff::new(1.0).err()),
        ("repetition_penalty", RepetitionPenalty::new(0.0).err()),
        ("no_repeat_ngram_size", NoRepeatNGram::new(0).err()),
        ("encoder_repetition_penalty", EncoderRepetitionPenalty::new(-1.0, &source).err()),
        ("encoder_no_repeat_ngram_size", EncoderNoRepeatNGram::new(0, &source).err()),
        ("top_h", TopH::new(0.0).err()),
        ("sequence_bias", SequenceBias::new(&[]).err()),
        ("sequence_bias", SequenceBias::new(&[(vec![-1], 1.0)]).err()),
        ("bad_words_ids", SequenceBias::bad_words(&[], &[]).err()),
        ("exponential_decay_length_penalty", ExponentialDecay::new(1, 1.5, Vec::new()).err()),
    ];
    for (name, error) in refused {
        let error = error.unwrap_or_else(|| panic!("{name} is taken")).to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_row_of_the_source_belongs_to_all_rows_of_its_prompt() {
    let source = Tensor::from_slice(&[0i64, 1, 2, 3]).view([2, 2]);
    let ids = Tensor::from_slice(&[0i64, 2, 0, 2]).view([4, 1]);
    let scores = Tensor::ones([4, 5], (Kind::Float, tch::Device::Cpu));
    let found = EncoderNoRepeatNGram::new(2, &source).unwrap().process(&ids, &scores).unwrap();
    let removed: Vec<Vec<bool>> = Vec::try_from(found.isinf()).unwrap();
    let at = |token: usize| (0..5).map(|other| other == token).collect::<Vec<bool>>();
    assert_eq!(removed, [at(1), at(9), at(9), at(3)]);
    let none = GenerationConfig { encoder_repetition_penalty: 1.5, ..Default::default() };
    let prompt = Prompt { tokens: 1, max_length: 3, mask: None, source: None };
    assert!(LogitsProcessors::of(&none, prompt).unwrap_err().to_string().contains("encoder_repetition_penalty"));
}

#[test]
fn tokens_outside_the_vocabulary_are_refused_by_name() {
    let scores = Tensor::zeros([1, 4], (Kind::Float, tch::Device::Cpu));
    let ids = Tensor::from_slice(&[1i64]).view([1, 1]);
    let refused: [(&str, Box<dyn LogitsProcessor>); 3] = [
        ("forced_bos_token_id", Box::new(ForcedBos(4))),
        ("forced_eos_token_id", Box::new(ForcedEos { max_length: 2, tokens: vec![-1] })),
        ("bad_words_ids", Box::new(SequenceBias::bad_words(&[vec![4]], &[]).unwrap())),
    ];
    for (name, processor) in refused {
        let error = processor.process(&ids, &scores).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
