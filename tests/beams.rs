//! Searches with beams, with and without groups or chance: what holds of them whatever Python does.
//!
//! `reference/diverse.py` made the data on groups; `tests/generation.rs` compares searches with those of Python.

mod support;

use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Value, json};
use support::{model, prompt, rows, tensor};
use tch::{Kind, Tensor};
use tch_transformers::generation::{Generated, GenerationConfig};
use tch_transformers::{Error, Inputs, Model};

fn config(json: Value) -> GenerationConfig {
    GenerationConfig::from_json(&json).unwrap()
}

fn run(model: &Model, inputs: &Inputs, settings: Value, seed: u64) -> Generated {
    model.generator(&config(settings)).seed(seed).run(inputs).unwrap()
}

fn scores(found: &Generated) -> Vec<f64> {
    Vec::try_from(found.scores.as_ref().unwrap().to_kind(Kind::Double)).unwrap()
}

/// Rows of 2 and of 4 tokens.
fn padded() -> Inputs {
    prompt(json!([[0, 0, 7, 4], [3, 5, 9, 2]])).with("attention_mask", tensor(&json!([[0, 0, 1, 1], [1, 1, 1, 1]])))
}

/// The logarithm of the probability of all tokens of `ids` after the first `prompt`, of which `real` are no padding.
fn logarithm(model: &Model, ids: &[i64], prompt: usize, real: usize) -> f64 {
    let ids = &ids[prompt - real..];
    let inputs = Inputs::new().with("input_ids", Tensor::from_slice(ids).unsqueeze(0));
    let logits = model.forward(&inputs).unwrap().get("logits").unwrap().select(0, 0).log_softmax(-1, Kind::Double);
    (real..ids.len()).map(|at| logits.double_value(&[at as i64 - 1, ids[at]])).sum()
}

#[test]
fn as_many_beams_as_texts_find_the_best() {
    let model = model("gpt2/text-generation");
    let inputs = prompt(json!([[3, 5, 9]]));
    let found = run(&model, &inputs, json!({"num_beams": 21, "max_new_tokens": 2, "num_return_sequences": 21}), 0);
    let mut all: Vec<(f64, [i64; 2])> = Vec::new();
    for first in 0..21 {
        all.extend((0..21).map(|next| (logarithm(&model, &[3, 5, 9, first, next], 3, 3), [first, next])));
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best: Vec<Vec<i64>> = all.iter().take(21).map(|(_, new)| [&[3, 5, 9], &new[..]].concat()).collect();
    assert_eq!(rows(&found.ids), best);
}

#[test]
fn scores_are_those_of_the_sequences() {
    let model = model("llama/text-generation");
    for settings in [
        json!({"num_beams": 4, "max_new_tokens": 6, "num_return_sequences": 4, "length_penalty": 1.3}),
        json!({"num_beams": 4, "max_new_tokens": 6, "num_return_sequences": 3, "do_sample": true, "top_k": 0}),
    ] {
        let found = run(&model, &padded(), settings.clone(), 5);
        let (ids, given) = (rows(&found.ids), scores(&found));
        let per_prompt = ids.len() / 2;
        for (index, (row, score)) in std::iter::zip(&ids, &given).enumerate() {
            let power = settings["length_penalty"].as_f64().unwrap_or(1.0);
            let real = if index < per_prompt { 2 } else { 4 };
            let expected = logarithm(&model, row, 4, real) / 6f64.powf(power);
            assert!((score - expected).abs() < 1e-4, "{settings}: row {index} has {score}, its tokens {expected}");
        }
        for of_prompt in given.chunks(per_prompt) {
            assert!(of_prompt.is_sorted_by(|a, b| a >= b), "{of_prompt:?}");
        }
        let mut different = ids.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), ids.len());
    }
}

#[test]
fn the_seed_decides_which_beams_are_drawn() {
    let model = model("gpt2/text-generation");
    let settings = json!({"num_beams": 3, "max_new_tokens": 8, "do_sample": true, "temperature": 2.5, "top_k": 0});
    let drawn = |inputs: &Inputs, seed| rows(&run(&model, inputs, settings.clone(), seed).ids);
    assert_eq!(drawn(&padded(), 1), drawn(&padded(), 1));
    assert_ne!(drawn(&padded(), 1), drawn(&padded(), 2));
    // A row draws what it draws alone.
    assert_eq!(drawn(&padded(), 1)[0][2..], drawn(&prompt(json!([[7, 4]])), 1)[0]);
    // Cold enough, the likeliest are drawn.
    let cold = json!({"num_beams": 3, "max_new_tokens": 1, "do_sample": true, "temperature": 1e-4, "top_k": 0});
    let greedy = json!({"num_beams": 3, "max_new_tokens": 1});
    assert_eq!(rows(&run(&model, &padded(), cold, 4).ids), rows(&run(&model, &padded(), greedy, 0).ids));
}

#[test]
fn groups_avoid_each_other_as_published() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/diverse.json");
    let about: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for row in about["runs"].as_array().unwrap() {
        let model = model(row["case"].as_str().unwrap());
        let inputs = row["inputs"].as_object().unwrap().iter();
        let inputs = inputs.fold(Inputs::new(), |inputs, (name, ids)| inputs.with(name, tensor(ids)));
        let settings = &row["settings"];
        let found = run(&model, &inputs, settings.clone(), 0);
        let pad = settings["pad_token_id"].as_i64().unwrap_or(0);
        let expected: Vec<Vec<i64>> = serde_json::from_value(row["tokens"].clone()).unwrap();
        let given: Vec<f64> = serde_json::from_value(row["scores"].clone()).unwrap();
        let longest = expected.iter().map(Vec::len).max().unwrap();
        assert_eq!(found.ids.size(), [expected.len() as i64, 5 + longest as i64], "{settings}");
        let found_scores = scores(&found);
        for (row, ids) in rows(&found.ids).iter().enumerate() {
            let mut wanted = expected[row].clone();
            wanted.resize(longest, pad);
            assert_eq!(ids[5..], wanted, "{settings}: row {row}");
            assert!((found_scores[row] - given[row]).abs() < 1e-4, "{settings}: row {row}");
        }
    }
}

#[test]
fn a_large_penalty_makes_all_groups_differ_from_the_first_token_on() {
    let model = model("gpt2/text-generation");
    let settings = json!({"num_beams": 4, "num_beam_groups": 4, "diversity_penalty": 100.0, "max_new_tokens": 3,
                          "num_return_sequences": 4});
    let found = rows(&run(&model, &prompt(json!([[3, 5, 9]])), settings, 0).ids);
    for step in 3..6 {
        let mut tokens: Vec<i64> = found.iter().map(|row| row[step]).collect();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), 4, "{found:?}");
    }
}

#[test]
fn a_search_goes_on_from_a_prefix_and_leaves_one() {
    let model = model("gpt2/text-generation");
    let settings = config(json!({"num_beams": 3, "max_new_tokens": 5, "num_return_sequences": 2}));
    let whole = model.generator(&settings).run(&padded()).unwrap();
    let prefix = model.prefill(&padded()).unwrap();
    let after = model.generator(&settings).prefix(&prefix).run(&Inputs::new()).unwrap();
    assert_eq!(rows(&after.ids), rows(&whole.ids));
    // What a search leaves is its prompt.
    assert_eq!((whole.prefix.len(), whole.prefix.rows()), (4, 2));
    let again = model.generator(&settings).prefix(&whole.prefix).run(&Inputs::new()).unwrap();
    assert_eq!(rows(&again.ids), rows(&whole.ids));
}

#[test]
fn caches_change_nothing_about_a_search() {
    // Windows shorter than the text, a recurrent state, an encoder.
    for name in ["gemma2/text-generation", "mistral/text-generation", "mamba/text-generation", "jamba/text-generation"]
    {
        let model = model(name);
        let settings = |more: Value| {
            let mut all = json!({"num_beams": 3, "max_new_tokens": 9, "num_return_sequences": 3});
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let expected = rows(&run(&model, &padded(), settings(json!({"use_cache": false})), 0).ids);
        for more in [json!({}), json!({"cache_implementation": "static"}), json!({"prefill_chunk_size": 3})] {
            assert_eq!(rows(&run(&model, &padded(), settings(more.clone()), 0).ids), expected, "{name}: {more}");
        }
    }
}

#[test]
fn time_ends_a_search_after_a_whole_step() {
    let settings = json!({"num_beams": 3, "max_new_tokens": 15, "max_time": 0.0});
    assert_eq!(run(&model("gpt2/text-generation"), &prompt(json!([[3, 5]])), settings, 0).ids.size(), [1, 3]);
}

#[test]
fn steps_of_a_search_are_not_handed_over() {
    let (model, settings) = (model("gpt2/text-generation"), config(json!({"num_beams": 2})));
    let mut on_step = |_: &_| ControlFlow::Continue(());
    match model.generate_streaming(&prompt(json!([[3]])), &settings, 0, &mut on_step) {
        Err(Error::Input { name, .. }) => assert_eq!(name, "num_beams"),
        other => panic!("{other:?}"),
    }
}
