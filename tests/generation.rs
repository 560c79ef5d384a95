//! Generations give the ids that Python's give, and what depends on chance or the clock keeps its rules.
//!
//! `reference/generations.py` made the data.

mod support;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Value, json};
use support::{model, prompt, rows, tensor};
use tch::{Kind, Tensor};
use tch_transformers::generation::{GenerationConfig, GenerationOptions, Step, TokenTexts};
use tch_transformers::verify::{Case, cases_directory, discover};
use tch_transformers::{Error, Inputs, Model};

fn gpt2() -> Model {
    model("gpt2/text-generation")
}

fn config(json: Value) -> GenerationConfig {
    GenerationConfig::from_json(&json).unwrap()
}

#[test]
fn ids_equal_those_of_python_for_padded_prompts_under_every_setting() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/generations.json");
    let about: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for run in about["runs"].as_array().unwrap() {
        let model = model(run["case"].as_str().unwrap());
        let (ids, mask) = (tensor(&run["prompt"]), tensor(&run["mask"]));
        let inputs = Inputs::new().with("input_ids", ids.shallow_clone()).with("attention_mask", mask.shallow_clone());
        let config = config(run["settings"].clone());
        let negative = run.get("negative").map(|ids| {
            Inputs::new().with("input_ids", tensor(ids)).with("attention_mask", tensor(&run["negative_mask"]))
        });
        let generator = model.generator(&config);
        let generator = match &negative {
            Some(negative) => generator.negative_prompt(negative),
            None => generator,
        };
        let letters = TokenTexts::new((0..26u8).map(|token| (token.into(), char::from(b'a' + token).to_string())));
        let generator = if run["letters"] == true { generator.token_texts(&letters) } else { generator };
        let found = generator.run(&inputs).unwrap().ids;
        assert_eq!(rows(&found), rows(&tensor(&run["ids"])), "{}: {}", run["case"], run["settings"]);
    }
}

fn case(name: &str) -> Case {
    Case::open(&cases_directory().join(name)).unwrap()
}

/// What `tests/data/generations.json` says of every class that generates.
fn parity() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/generations.json");
    let about: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    about["parity"].as_array().unwrap().clone()
}

#[test]
fn every_architecture_generates_as_python_does() {
    let mut wrong = Vec::new();
    for row in parity() {
        let name = row["case"].as_str().unwrap();
        let model = model(name);
        let case = case(name);
        let beside = row["beside"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let beside = beside.fold(Inputs::new(), |inputs, name| inputs.with_opt(name, case.inputs().get(name)));
        let inputs = row["inputs"].as_object().unwrap().iter();
        let inputs = inputs.fold(beside, |inputs, (name, ids)| inputs.with(name, tensor(ids)));
        for kind in ["greedy", "beams"] {
            let config = config(row[kind]["settings"].clone());
            let found = match model.generator(&config).run(&inputs) {
                Ok(found) => found,
                Err(error) => {
                    wrong.push(format!("{name}, {kind}: {error}"));
                    continue;
                }
            };
            let (ids, expected) = (rows(&found.ids), rows(&tensor(&row[kind]["ids"])));
            if ids != expected {
                wrong.push(format!("{name}, {kind}: {}\n  {ids:?}\n  Python {expected:?}", row[kind]["settings"]));
            } else if let Some(scores) = found.scores {
                let scores = Vec::<f64>::try_from(scores.to_kind(Kind::Double)).unwrap();
                let expected: Vec<f64> = serde_json::from_value(row[kind]["scores"].clone()).unwrap();
                if !std::iter::zip(&scores, &expected).all(|(a, b)| (a - b).abs() < 5e-5 * (1.0 + b.abs())) {
                    wrong.push(format!("{name}, {kind}: scores {scores:?}\n  Python {expected:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_class_that_generates_is_left_out() {
    let key = |case: &Case| (case.about.model_type.clone(), case.about.class.clone());
    let mut compared: BTreeSet<_> = parity().iter().map(|row| key(&case(row["case"].as_str().unwrap()))).collect();
    assert!(compared.len() > 80, "{}", compared.len());
    for folder in discover(&cases_directory()).unwrap() {
        let name = folder.display().to_string();
        if compared.insert(key(&case(&name))) {
            assert!(model(&name).generation().is_none(), "{name} generates, and is not compared with Python");
        }
    }
}

#[test]
fn a_padded_row_draws_what_it_draws_alone() {
    let (model, settings) = (gpt2(), config(json!({"do_sample": true, "max_new_tokens": 9, "temperature": 1.5})));
    let padded = prompt(json!([[0, 0, 7, 4], [3, 5, 9, 2]]))
        .with("attention_mask", tensor(&json!([[0, 0, 1, 1], [1, 1, 1, 1]])));
    let among = rows(&model.generate_with(&padded, &settings, 11).unwrap());
    let alone = rows(&model.generate_with(&prompt(json!([[7, 4]])), &settings, 11).unwrap());
    assert_eq!(among[0][2..], alone[0]);
}

#[test]
fn the_seed_decides_what_is_drawn() {
    let model = gpt2();
    let settings = config(json!({"do_sample": true, "max_new_tokens": 12, "temperature": 3.0}));
    let drawn = |seed| rows(&model.generate_with(&prompt(json!([[3, 5], [7, 4]])), &settings, seed).unwrap());
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    // With nothing to choose from, drawing takes the likeliest token.
    let narrow = GenerationConfig { top_k: 1, ..settings };
    let options = GenerationOptions { max_new_tokens: 12, ..Default::default() };
    let greedy = model.generate(&prompt(json!([[3, 5], [7, 4]])), &options).unwrap();
    let drawn = model.generate_with(&prompt(json!([[3, 5], [7, 4]])), &narrow, 3).unwrap();
    assert_eq!(rows(&drawn), rows(&greedy));
}

#[test]
fn several_sequences_stand_side_by_side_for_each_prompt() {
    let settings = config(json!({"do_sample": true, "max_new_tokens": 8, "num_return_sequences": 3, "top_k": 0}));
    let padded = json!([[0, 5], [7, 4]]);
    let inputs = prompt(padded.clone()).with("attention_mask", tensor(&json!([[0, 1], [1, 1]])));
    let found = rows(&gpt2().generate_with(&inputs, &settings, 1).unwrap());
    assert_eq!(found.iter().map(|row| &row[..2]).collect::<Vec<_>>(), [[0, 5], [0, 5], [0, 5], [7, 4], [7, 4], [7, 4]]);
    assert!(found[0] != found[1] && found[1] != found[2]);
    let translated = model("t5/text2text-generation").generate_with(&prompt(padded), &settings, 1).unwrap();
    assert_eq!(translated.size(), [6, 9]);
}

#[test]
fn every_step_is_handed_over_and_may_be_the_last() {
    let model = gpt2();
    let inputs = prompt(json!([[3, 5, 9, 3, 5], [11, 12, 13, 13, 13]]));
    let settings = config(json!({"max_new_tokens": 7, "eos_token_id": [2], "pad_token_id": 0}));
    let mut steps: Vec<Step> = Vec::new();
    let mut keep = |step: &Step| {
        steps.push(step.clone());
        ControlFlow::Continue(())
    };
    let whole = rows(&model.generate_streaming(&inputs, &settings, 0, &mut keep).unwrap());
    assert_eq!(steps.len(), 7);
    for (index, step) in steps.iter().enumerate() {
        assert_eq!((step.index, step.tokens.clone()), (index, vec![whole[0][5 + index], whole[1][5 + index]]));
        // The first row ends with its first token.
        assert_eq!(step.ended, [true, false]);
    }
    assert_eq!(whole[0][5..], [2, 0, 0, 0, 0, 0, 0]);
    let mut stop = |step: &Step| if step.index == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let part = rows(&model.generate_streaming(&inputs, &settings, 0, &mut stop).unwrap());
    assert_eq!(part, [&whole[0][..8], &whole[1][..8]]);
}

#[test]
fn time_ends_a_generation_after_a_whole_step() {
    let settings = config(json!({"max_new_tokens": 15, "max_time": 0.0}));
    let found = gpt2().generate_with(&prompt(json!([[3, 5]])), &settings, 0).unwrap();
    assert_eq!(found.size(), [1, 3]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let (gpt2, t5) = (gpt2(), model("t5/text2text-generation"));
    let refused = [
        ("num_beams", json!({"num_beams": 0})),
        ("num_beam_groups", json!({"num_beams": 4, "num_beam_groups": 3, "diversity_penalty": 1.0})),
        ("num_beam_groups", json!({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0, "do_sample": true})),
        ("diversity_penalty", json!({"num_beams": 4, "num_beam_groups": 2})),
        ("diversity_penalty", json!({"num_beams": 4, "diversity_penalty": 0.5})),
        ("num_return_sequences", json!({"num_beams": 3, "num_return_sequences": 4})),
        ("stop_strings", json!({"stop_strings": "x"})),
        ("guidance_scale", json!({"guidance_scale": 2.0, "num_beams": 2})),
        ("guidance_scale", json!({"guidance_scale": 2.0, "prompt_lookup_num_tokens": 2})),
        ("prompt_lookup_num_tokens", json!({"num_beams": 2, "prompt_lookup_num_tokens": 3})),
        ("num_return_sequences", json!({"num_return_sequences": 2})),
        ("num_return_sequences", json!({"num_return_sequences": 0})),
        ("max_length", json!({"max_length": 2})),
        ("max_length", json!({"max_length": 26})),
        ("max_new_tokens", json!({"max_new_tokens": 24})),
        ("max_time", json!({"max_time": -1.0})),
        ("top_k", json!({"do_sample": true, "top_k": -1})),
        ("top_p", json!({"do_sample": true, "top_p": -0.1})),
        ("forced_bos_token_id", json!({"forced_bos_token_id": 99, "max_length": 3})),
        ("scores", json!({"do_sample": true, "suppress_tokens": (0..21).collect::<Vec<_>>()})),
        ("decoder_start_token_id", json!({"decoder_start_token_id": 99})),
    ];
    for (name, settings) in refused {
        let text = if name == "forced_bos_token_id" { json!([[3]]) } else { json!([[3, 5]]) };
        let subject = if name == "decoder_start_token_id" { &t5 } else { &gpt2 };
        match subject.generate_with(&prompt(text), &config(settings.clone()), 0) {
            Err(Error::Input { name: at, message }) => {
                assert!(at == name || name == "decoder_start_token_id", "{settings}: {at}: {message}");
            }
            other => panic!("{settings}: {other:?}"),
        }
    }
}

#[test]
fn a_negative_prompt_fits_the_prompt() {
    let (model, text) = (gpt2(), prompt(json!([[3, 5], [7, 4]])));
    let (one, two) = (prompt(json!([[3]])), prompt(json!([[3], [2]])));
    let run = |settings: Value, negative: &Inputs| {
        let config = config(settings);
        model.generator(&config).seed(3).negative_prompt(negative).run(&text).map(|found| rows(&found.ids))
    };
    for (name, settings, negative) in
        [("negative_prompt", json!({"guidance_scale": 2.0}), &one), ("guidance_scale", json!({}), &two)]
    {
        assert!(matches!(run(settings, negative), Err(Error::Input { name: at, .. }) if at == name));
    }
    let several = json!({"guidance_scale": 2.0, "do_sample": true, "num_return_sequences": 3, "max_new_tokens": 4});
    assert_eq!(run(several, &two).unwrap().len(), 6);
    let t5 = self::model("t5/text2text-generation");
    let refused = t5.generate_with(&text, &config(json!({"guidance_scale": 2.0})), 0).unwrap_err().to_string();
    assert!(refused.contains("guidance_scale"), "{refused}");
}

#[test]
fn a_failed_generation_leaves_gradients_as_they_were() {
    let settings = config(json!({"do_sample": true, "suppress_tokens": (0..21).collect::<Vec<_>>()}));
    assert!(gpt2().generate_with(&prompt(json!([[3, 5]])), &settings, 0).is_err());
    let weight = Tensor::ones([2], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    assert!((weight * 2).requires_grad());
}
