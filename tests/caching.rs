//! What a cache holds and how it holds it changes nothing about what is generated.

mod support;

use serde_json::{Value, json};
use support::{generating, model, prompt, rows};
use tch::{Kind, Tensor};
use tch_transformers::generation::GenerationConfig;
use tch_transformers::model::Generation;
use tch_transformers::{Cache, CacheKind, CacheSize, Error, Inputs, Model};

fn config(json: Value) -> GenerationConfig {
    GenerationConfig::from_json(&json).unwrap()
}

fn ids(model: &Model, inputs: &Inputs, settings: Value) -> Vec<Vec<i64>> {
    rows(&model.generate_with(inputs, &config(settings), 0).unwrap())
}

/// `prompt` of unequal rows, padded on the left.
fn padded() -> Inputs {
    prompt(json!([[0, 0, 7, 4, 9], [3, 5, 9, 3, 5], [0, 11, 12, 13, 8]]))
        .with("attention_mask", support::tensor(&json!([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]])))
}

/// Decoders whose layers see windows shorter than the text, all or some of them; others for comparison.
const PADDED: &[&str] = &[
    "mistral/text-generation",
    "gemma2/text-generation",
    "gemma3_text/text-generation",
    "cohere2/text-generation",
    "gpt_oss/text-generation",
    "exaone4/text-generation",
    "olmo3/text-generation",
    "qwen2/text-generation",
    "bloom/text-generation",
    "jamba/text-generation",
    "gpt2/text-generation",
];

#[test]
fn every_architecture_generates_the_same_whatever_its_cache() {
    let mut count = 0;
    for (name, model, inputs, new) in generating() {
        let new = new.min(4);
        let expected = ids(&model, &inputs, json!({"max_new_tokens": new}));
        for settings in [
            json!({"max_new_tokens": new, "cache_implementation": "static"}),
            json!({"max_new_tokens": new, "cache_implementation": "sliding_window", "max_cache_len": 30}),
            json!({"max_new_tokens": new, "use_cache": false}),
        ] {
            assert_eq!(ids(&model, &inputs, settings.clone()), expected, "{name}: {settings}");
        }
        count += 1;
    }
    assert!(count > 50, "{count} architectures");
}

#[test]
fn windows_shorter_than_padded_texts_keep_their_ids() {
    for name in PADDED {
        let model = model(name);
        let expected = ids(&model, &padded(), json!({"max_new_tokens": 18, "use_cache": false}));
        for settings in [
            json!({"max_new_tokens": 18}),
            json!({"max_new_tokens": 18, "cache_implementation": "static"}),
            json!({"max_new_tokens": 18, "prefill_chunk_size": 1}),
            json!({"max_new_tokens": 18, "prefill_chunk_size": 2}),
            json!({"max_new_tokens": 18, "prefill_chunk_size": 3, "cache_implementation": "static"}),
        ] {
            assert_eq!(ids(&model, &padded(), settings.clone()), expected, "{name}: {settings}");
        }
    }
}

#[test]
fn a_static_cache_refuses_what_it_was_not_made_for() {
    for name in ["gpt2/text-generation", "mistral/text-generation"] {
        let model = model(name);
        let mut cache = Cache::of_kind(CacheKind::Static(6));
        model.forward_cached(&prompt(json!([[3, 5, 9, 3]])), &mut cache).unwrap();
        let made = cache.bytes();
        model.forward_cached(&prompt(json!([[3, 5]])), &mut cache).unwrap();
        assert_eq!((cache.len(), cache.bytes()), (6, made), "{name}");
        match model.forward_cached(&prompt(json!([[3]])), &mut cache) {
            Err(Error::Input { name, message }) => {
                assert_eq!(name, "cache");
                assert!(message.contains("1 tokens after 6 exceed the 6"), "{message}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!((cache.len(), cache.bytes()), (6, made), "{name}");
    }
}

#[test]
fn caches_that_are_not_supported_are_refused_by_name() {
    for name in ["quantized", "offloaded", "offloaded_static", "paged", "other"] {
        match GenerationConfig::from_json(&json!({ "cache_implementation": name })) {
            Err(Error::Config { field, message, .. }) => {
                assert_eq!(field, "cache_implementation");
                assert!(message.contains(name) && message.contains("static"), "{message}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let wrong = json!({"prefill_chunk_size": 2, "use_cache": false, "max_new_tokens": 1});
    let refused = model("gpt2/text-generation").generate_with(&prompt(json!([[3]])), &config(wrong), 0);
    assert!(refused.unwrap_err().to_string().contains("prefill_chunk_size"));
}

/// `prompt` of a generating class, with the decoder's first token where the class needs one.
fn started(model: &Model, prompt: Inputs) -> Inputs {
    match model.generation() {
        Some(Generation::EncoderDecoder { start, encodes }) if prompt.get("decoder_input_ids").is_none() => {
            let rows = prompt.get(encodes).unwrap().size()[0];
            prompt.with("decoder_input_ids", Tensor::full([rows, 1], start, (Kind::Int64, tch::Device::Cpu)))
        }
        _ => prompt,
    }
}

#[test]
fn a_cache_takes_what_the_formula_says() {
    for (name, model, prompt, _) in generating() {
        let formula = model.cache_formula();
        assert!(!formula.layers.is_empty(), "{name}");
        let inputs = started(&model, prompt);
        for kind in [CacheKind::Static(24), CacheKind::Growing, CacheKind::Whole] {
            let mut cache = Cache::of_kind(kind);
            model.forward_cached(&inputs, &mut cache).unwrap();
            let ids =
                inputs.get(if inputs.get("decoder_input_ids").is_some() { "decoder_input_ids" } else { "input_ids" });
            let size = |tokens| CacheSize {
                rows: ids.unwrap().size()[0],
                tokens,
                source: cache.encoded.as_ref().map_or(0, |encoded| encoded.size()[1]),
                kind: Kind::Float,
            };
            match kind {
                CacheKind::Static(tokens) => assert_eq!(cache.bytes(), formula.bytes(size(tokens)), "{name}"),
                _ => {
                    let formula = if kind == CacheKind::Whole { formula.clone().whole() } else { formula.clone() };
                    let bounds = formula.bytes(size(cache.len()))..=formula.bytes(size(32.max(2 * cache.len())));
                    assert!(bounds.contains(&cache.bytes()), "{name}: {} in {bounds:?}", cache.bytes());
                }
            }
        }
    }
}

#[test]
fn the_formula_counts_layers_heads_and_windows() {
    let model = model("gemma2/text-generation");
    let of = |name: &str| model.config()[name].as_i64().unwrap();
    let (heads, width, window) = (of("num_key_value_heads"), of("head_dim"), of("sliding_window"));
    let size = CacheSize { rows: 3, tokens: 100, source: 0, kind: Kind::BFloat16 };
    let kept: i64 =
        layers(&model).iter().map(|kind| if kind == "full_attention" { 100 } else { window - 1 + 16 }).sum();
    assert_eq!(model.cache_formula().bytes(size) as i64, 2 * 2 * 3 * heads * width * kept);
}

fn layers(model: &Model) -> Vec<String> {
    serde_json::from_value(model.config()["layer_types"].clone()).unwrap()
}
