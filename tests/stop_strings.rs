//! A string ends a row where Python's criterion ends it, whatever spells the tokens.
//!
//! `reference/stop_strings.py` made the data.

mod support;

use std::path::Path;
use std::str::FromStr;

use serde_json::{Value, json};
use support::{model, prompt, rows};
use tch_transformers::Error;
use tch_transformers::generation::{GenerationConfig, StopStrings, TokenTexts};
use tokenizers::Tokenizer;

#[test]
fn sequences_end_where_python_ends_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stop_strings.json");
    let about: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let texts: Vec<TokenTexts> = about["tokenizers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tokenizer| TokenTexts::of(&Tokenizer::from_str(&tokenizer.to_string()).unwrap()).unwrap())
        .collect();
    for case in about["cases"].as_array().unwrap() {
        let texts = &texts[case["tokenizer"].as_u64().unwrap() as usize];
        let strings: Vec<String> = serde_json::from_value(case["strings"].clone()).unwrap();
        let stops = StopStrings::new(texts, &strings);
        if case["refused"] == true {
            assert!(matches!(stops, Err(Error::Input { name, .. }) if name == "stop_strings"), "{strings:?}");
            continue;
        }
        let stops = stops.unwrap();
        let ids: Vec<Vec<i64>> = serde_json::from_value(case["ids"].clone()).unwrap();
        let found: String = ids.iter().map(|ids| if stops.completed_by(ids) { '1' } else { '0' }).collect();
        assert_eq!(found, case["stops"], "tokenizer {}: {strings:?}", case["tokenizer"]);
    }
}

/// Tokens of which the text is a letter each.
fn letters() -> TokenTexts {
    TokenTexts::new((0..26u8).map(|token| (i64::from(token), char::from(b'a' + token).to_string())))
}

fn text(ids: &[i64]) -> String {
    ids.iter().map(|token| char::from(b'a' + u8::try_from(*token).unwrap())).collect()
}

fn config(json: Value) -> GenerationConfig {
    GenerationConfig::from_json(&json).unwrap()
}

#[test]
fn rows_end_with_their_strings() {
    let model = model("gpt2/text-generation");
    let inputs = prompt(json!([[3, 5, 9, 3, 5], [11, 12, 13, 13, 13]]));
    let free = config(json!({"max_new_tokens": 9}));
    let whole = rows(&model.generate_with(&inputs, &free, 0).unwrap());
    // What the first row adds with its second and third token; it may begin with the prompt.
    let string = text(&whole[0][6..8]);
    let settings = |more: Value| {
        let mut all = json!({"max_new_tokens": 9, "stop_strings": string});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config(all)
    };
    let run = |config: &GenerationConfig| {
        let texts = letters();
        rows(&model.generator(config).token_texts(&texts).run(&inputs).unwrap().ids)
    };
    // Ends that never come fill up what a string has ended; without ends it goes on until the other row has ended.
    assert_eq!(run(&settings(json!({})))[0], whole[0]);
    let filled = run(&settings(json!({"eos_token_id": 25, "pad_token_id": 0})));
    assert_eq!(filled[0], [&whole[0][..8], &[0; 6]].concat());
    assert_eq!(filled[1], whole[1]);
    let one = prompt(json!([[3, 5, 9, 3, 5]]));
    let (texts, alone) = (letters(), settings(json!({})));
    let ended = model.generator(&alone).token_texts(&texts).run(&one).unwrap();
    assert_eq!(rows(&ended.ids), [&whole[0][..8]]);
    // Tokens that were proposed end it as those that were chosen one by one.
    let looked_up = GenerationConfig { prompt_lookup_num_tokens: Some(3), ..alone };
    let ended = model.generator(&looked_up).token_texts(&texts).run(&one).unwrap();
    assert_eq!(rows(&ended.ids), [&whole[0][..8]]);
}

#[test]
fn beams_end_with_strings() {
    let model = model("gpt2/text-generation");
    let inputs = prompt(json!([[3, 5, 9, 3, 5], [11, 12, 13, 13, 13]]));
    // A string of one letter is an end.
    for token in 2..9 {
        let ends = config(json!({"max_new_tokens": 5, "num_beams": 3, "eos_token_id": token, "pad_token_id": 1}));
        let strings = config(json!({"max_new_tokens": 5, "num_beams": 3, "stop_strings": text(&[token]),
                                    "eos_token_id": 25, "pad_token_id": 1}));
        let by_end = model.generator(&ends).run(&inputs).unwrap();
        let by_string = model.generator(&strings).token_texts(&letters()).run(&inputs).unwrap();
        assert_eq!(rows(&by_end.ids), rows(&by_string.ids));
        assert!(by_end.scores.unwrap().equal(&by_string.scores.unwrap()));
    }
}

#[test]
fn strings_need_the_texts_of_tokens() {
    let settings = config(json!({"stop_strings": ["\n", "x"]}));
    match model("gpt2/text-generation").generate_with(&prompt(json!([[3]])), &settings, 0) {
        Err(Error::Input { name, message }) => {
            assert_eq!(name, "stop_strings");
            assert!(message.contains("token_texts"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}
