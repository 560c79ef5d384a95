//! Tokens that are proposed and then checked are those that a model chooses by itself.
//!
//! `reference/assisted.py` made the data.

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Value, json};
use support::{model, prompt, rows, tensor};
use tch::Tensor;
use tch_transformers::generation::{Assistance, GenerationConfig};
use tch_transformers::{Error, Inputs, Model};

const PROMPT: [i64; 7] = [3, 5, 9, 3, 5, 7, 4];

fn config(json: Value) -> GenerationConfig {
    GenerationConfig::from_json(&json).unwrap()
}

#[test]
fn ids_equal_those_of_python_with_the_same_help() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/assisted.json");
    let about: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for run in about["runs"].as_array().unwrap() {
        let target = model(run["case"].as_str().unwrap());
        let assistant = run["assistant"].as_str().map(model);
        let settings = config(run["settings"].clone());
        let generator = target.generator(&settings);
        let generator = match &assistant {
            Some(assistant) => generator.assistant(assistant),
            None => generator,
        };
        let found = generator.run(&Inputs::new().with("input_ids", tensor(&run["prompt"]))).unwrap();
        assert_eq!(rows(&found.ids), rows(&tensor(&run["ids"])), "{}: {}", run["case"], run["settings"]);
        let help = found.assistance.unwrap();
        let new = run["ids"][0].as_array().unwrap().len() as i64
            - if run["case"].as_str().unwrap().contains("text2text") { 1 } else { 7 };
        // Every pass adds one token of its own.
        assert_eq!((help.passes + help.accepted) as i64, new, "{help:?}");
        assert!(help.accepted <= help.proposed);
        if run["case"] == run["assistant"] && run["settings"]["assistant_confidence_threshold"] == json!(0.0) {
            assert_eq!(help.accepted, help.proposed, "{help:?}");
        }
    }
}

#[test]
fn a_model_that_assists_itself_is_always_right() {
    let settings = json!({"max_new_tokens": 16, "num_assistant_tokens": 4, "assistant_confidence_threshold": 0.0});
    let help = |schedule: &str| {
        let mut settings = settings.clone();
        settings["num_assistant_tokens_schedule"] = schedule.into();
        let (settings, gemma) = (config(settings), model("gemma2/text-generation"));
        gemma.generator(&settings).assistant(&gemma).run(&prompt(json!([PROMPT]))).unwrap().assistance.unwrap()
    };
    // The prompt gives a token, each of three further passes five.
    assert_eq!(help("constant"), Assistance { passes: 4, proposed: 12, accepted: 12, next: 4 });
    // Four and then six are proposed, and then as many as there is room for.
    assert_eq!(help("heuristic"), Assistance { passes: 4, proposed: 12, accepted: 12, next: 10 });
}

#[test]
fn padding_prefixes_and_callbacks_go_with_assistance() {
    let (gpt2, llama) = (model("gpt2/text-generation"), model("llama/text-generation"));
    let settings = config(json!({"max_new_tokens": 12, "assistant_confidence_threshold": 0.0}));
    let padded = prompt(json!([[0, 0, 7, 4, 9]])).with("attention_mask", tensor(&json!([[0, 0, 1, 1, 1]])));
    let expected = rows(&gpt2.generate_with(&padded, &settings, 0).unwrap());
    let mut steps = Vec::new();
    let mut keep = |step: &tch_transformers::generation::Step| {
        steps.push((step.index, step.tokens[0]));
        ControlFlow::Continue(())
    };
    let found = gpt2.generator(&settings).assistant(&llama).on_step(&mut keep).run(&padded).unwrap();
    assert_eq!(rows(&found.ids), expected);
    assert_eq!(steps, expected[0][5..].iter().copied().enumerate().collect::<Vec<_>>());
    // A step that breaks is the last, whatever was found with it.
    let short = GenerationConfig { num_assistant_tokens: 6, ..settings.clone() };
    let mut stop = |step: &tch_transformers::generation::Step| match step.index {
        3 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let part = gpt2.generator(&short).assistant(&gpt2).on_step(&mut stop).run(&padded).unwrap();
    assert_eq!(rows(&part.ids), [&expected[0][..9]]);
    let rest = gpt2.generator(&short).prefix(&part.prefix).assistant(&llama).run(&Inputs::new()).unwrap();
    assert_eq!(rows(&rest.ids)[0][..17], expected[0]);
}

/// Pearson's statistic of the pairs of tokens that `draw` adds to a prompt, against probabilities of the model.
fn chi_square(draw: impl Fn(u64) -> Vec<i64>, expected: &BTreeMap<(i64, i64), f64>, runs: u64) -> (f64, usize) {
    let mut counts: BTreeMap<(i64, i64), f64> = BTreeMap::new();
    for seed in 0..runs {
        let new = draw(seed);
        *counts.entry((new[0], new[1])).or_default() += 1.0;
    }
    // Rare pairs together, so that every cell is expected five times at least.
    let (mut statistic, mut cells) = (0.0, 0);
    let mut rest = (0.0, 0.0);
    for (pair, probability) in expected {
        let (count, expected) = (counts.remove(pair).unwrap_or(0.0), probability * runs as f64);
        if expected < 5.0 {
            rest = (rest.0 + count, rest.1 + expected);
        } else {
            statistic += (count - expected).powi(2) / expected;
            cells += 1;
        }
    }
    assert!(counts.is_empty(), "drawn without probability: {counts:?}");
    (statistic + (rest.0 - rest.1).powi(2) / f64::max(rest.1, 1e-9), cells)
}

/// The probabilities of the two tokens after the prompt.
fn pairs(target: &Model, settings: &GenerationConfig) -> BTreeMap<(i64, i64), f64> {
    let next = |ids: &[i64]| {
        let ids = Tensor::from_slice(ids).unsqueeze(0);
        let logits = target.forward(&Inputs::new().with("input_ids", ids)).unwrap().take("logits");
        let scores = logits.unwrap().select(1, -1) / settings.temperature;
        Vec::<f64>::try_from(scores.softmax(-1, tch::Kind::Double).view(-1)).unwrap()
    };
    let first = next(&PROMPT);
    let all = first.iter().enumerate().flat_map(|(a, p)| {
        let second = next(&[&PROMPT[..], &[a as i64]].concat());
        second.into_iter().enumerate().map(move |(b, q)| ((a as i64, b as i64), p * q)).collect::<Vec<_>>()
    });
    all.collect()
}

#[test]
fn sampling_with_help_draws_from_the_models_own_distribution() {
    let (target, assistant) = (model("llama/text-generation"), model("gpt2/text-generation"));
    let settings = config(json!({
        "do_sample": true, "top_k": 0, "temperature": 0.5, "max_new_tokens": 3, "num_assistant_tokens": 2,
        "assistant_confidence_threshold": 0.0,
    }));
    let expected = pairs(&target, &settings);
    let prefix = target.generator(&settings).assistant(&assistant).prefill(&prompt(json!([PROMPT[..6]]))).unwrap();
    let accepted = std::cell::Cell::new((0, 0));
    let draw = |seed| {
        let generator = target.generator(&settings).seed(seed).prefix(&prefix).assistant(&assistant);
        let found = generator.run(&prompt(json!([PROMPT]))).unwrap();
        let help = found.assistance.unwrap();
        accepted.set((accepted.get().0 + help.accepted, accepted.get().1 + help.proposed));
        rows(&found.ids)[0][7..].to_vec()
    };
    let (statistic, cells) = chi_square(draw, &expected, 250);
    // Of `cells` degrees of freedom the statistic is above this in one of 1000 runs, and these runs are always the same.
    let bound = cells as f64 + 3.1 * (2.0 * cells as f64).sqrt() + 6.0;
    assert!(cells > 4 && statistic < bound, "{statistic} of {cells} cells");
    let (accepted, proposed) = accepted.get();
    assert!(accepted * 20 > proposed && accepted < proposed, "{accepted} of {proposed}");
}

#[test]
fn looking_up_draws_what_is_drawn_without() {
    let gpt2 = model("gpt2/text-generation");
    let plain = json!({"do_sample": true, "temperature": 0.3, "max_new_tokens": 14});
    let mut looking = plain.clone();
    looking["prompt_lookup_num_tokens"] = 3.into();
    looking["max_matching_ngram_size"] = 1.into();
    let (plain, looking) = (config(plain), config(looking));
    let mut accepted = 0;
    for seed in 0..12 {
        let expected = rows(&gpt2.generate_with(&prompt(json!([PROMPT])), &plain, seed).unwrap());
        let found = gpt2.generator(&looking).seed(seed).run(&prompt(json!([PROMPT]))).unwrap();
        assert_eq!(rows(&found.ids), expected);
        accepted += found.assistance.unwrap().accepted;
    }
    assert!(accepted > 10, "{accepted}");
}

#[test]
fn what_cannot_be_assisted_is_refused_by_name() {
    let gpt2 = model("gpt2/text-generation");
    let (mamba, jamba, t5) =
        (model("mamba/text-generation"), model("jamba/text-generation"), model("t5/text2text-generation"));
    let small = model("olmo/variant-a");
    let one = prompt(json!([PROMPT]));
    let two = prompt(json!([PROMPT, PROMPT]));
    let few = json!({"max_new_tokens": 4});
    let refused: &[(&str, &str, &Model, &Model, &Inputs, Value)] = &[
        ("assistant", "recurrent", &gpt2, &jamba, &one, few.clone()),
        ("input_ids", "recurrent", &mamba, &gpt2, &one, few.clone()),
        ("assistant", "one row", &gpt2, &gpt2, &two, few.clone()),
        ("assistant", "does not generate as", &gpt2, &t5, &one, few.clone()),
        ("assistant", "vocabulary", &gpt2, &small, &one, few.clone()),
        ("assistant", "dynamic cache", &gpt2, &gpt2, &one, json!({"cache_implementation": "static"})),
        ("assistant", "dynamic cache", &gpt2, &gpt2, &one, json!({"use_cache": false})),
        ("num_assistant_tokens", "at least 1", &gpt2, &gpt2, &one, json!({"num_assistant_tokens": 0})),
        ("prompt_lookup_num_tokens", "at least 1", &gpt2, &gpt2, &one, json!({"prompt_lookup_num_tokens": 0})),
        (
            "max_matching_ngram_size",
            "at least 1",
            &gpt2,
            &gpt2,
            &one,
            json!({"prompt_lookup_num_tokens": 2, "max_matching_ngram_size": 0}),
        ),
    ];
    for (name, why, target, assistant, inputs, settings) in refused {
        match target.generator(&config(settings.clone())).assistant(assistant).run(inputs) {
            Err(Error::Input { name: at, message }) => assert!(at == *name && message.contains(why), "{at}: {message}"),
            other => panic!("{name}, {why}: {other:?}"),
        }
    }
    let wrong = GenerationConfig::from_json(&json!({"num_assistant_tokens_schedule": "cosine"})).unwrap_err();
    assert!(wrong.to_string().contains("num_assistant_tokens_schedule"), "{wrong}");
}
