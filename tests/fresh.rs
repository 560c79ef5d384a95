//! New parameters come about as in Python, where a checkpoint lacks them and where there is none.
//!
//! `reference/fresh.py` made the data: how the parameters of every class are drawn in Python, as far as they do not follow
//! the rule that most do.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::SQRT_2;
use std::fs;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tch_transformers::auto::{
    self, AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoModelForTokenClassification,
};
use tch_transformers::verify::cases_directory;
use tch_transformers::weights::{LoadOptions, TensorSource, safetensors};
use tch_transformers::{Error, Inputs, Model, config};

const DRAWS: u64 = 4;

fn new(seed: u64) -> LoadOptions {
    LoadOptions { allow_new_heads: true, seed, ..LoadOptions::default() }
}

fn number(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

/// What is wrong about `draws` of one parameter, in the terms of the file.
fn fault(draws: &[Tensor], about: &Value) -> Option<String> {
    let all = Tensor::stack(draws, 0).to_kind(Kind::Double);
    let far = |found: f64, wanted: f64, slack: f64| (found - wanted).abs() > slack;
    if let Some(value) = about.get("constant").and_then(Value::as_f64) {
        let off = number(&(&all - value).abs().max());
        return (off > 1e-5 * (1.0 + value.abs())).then(|| format!("not all are {value}"));
    }
    if let Some(fixed) = about.get("fixed") {
        let (mean, deviation) = (number(&all.mean(Kind::Double)), number(&draws[0].to_kind(Kind::Double).std(true)));
        let wrong = far(mean, fixed[0].as_f64()?, 1e-4) || far(deviation, fixed[1].as_f64()?, 1e-4);
        let changes = draws.iter().any(|draw| !draw.equal(&draws[0]));
        return (wrong || changes).then(|| format!("mean {mean}, deviation {deviation}, where Python has {fixed}"));
    }
    let (measured, count) = (about.get("normal").or(about.get("uniform"))?, about["count"].as_f64()?);
    let (wanted_mean, wanted) = (measured[0].as_f64()?, measured[1].as_f64()?);
    let values = match about.get("row").and_then(Value::as_i64) {
        None => all,
        Some(row) => {
            if number(&all.select(1, row).abs().max()) != 0.0 {
                return Some(format!("row {row} is not zero"));
            }
            let rows: Vec<i64> = (0..all.size()[1]).filter(|other| *other != row).collect();
            all.index_select(1, &Tensor::from_slice(&rows))
        }
    };
    if values.dim() == 3 && about.get("row").is_none() {
        let zero = values.abs().amax([0i64, 2].as_slice(), false).eq(0.0);
        if number(&zero.any().to_kind(Kind::Double)) != 0.0 {
            return Some("a row is zero".into());
        }
    }
    let (mean, deviation) = (number(&values.mean(Kind::Double)), number(&values.std(true)));
    // The error of a measured deviation is a part of one over the root of twice the count; both were measured.
    let parts = (0.5 / count + 0.5 / values.numel() as f64).sqrt();
    let wrong =
        far(deviation / wanted, 1.0, 0.01 + 6.0 * parts) || far(mean, wanted_mean, 6.0 * SQRT_2 * parts * wanted);
    wrong.then(|| format!("mean {mean:.4}, deviation {deviation:.4e}, where Python has {measured}"))
}

fn folded(name: &str) -> String {
    let segments = name.split('.').map(|segment| if segment.parse::<u32>().is_ok() { "*" } else { segment });
    segments.collect::<Vec<_>>().join(".")
}

/// The row that is about the parameter `name`: its own, that of all layers, or one that differs in what checkpoints put
/// before the names of a body.
fn key_of<'a>(name: &str, rows: &'a serde_json::Map<String, Value>) -> Option<&'a String> {
    let pattern = folded(name);
    let exact = |wanted: &str| rows.keys().find(|key| *key == wanted);
    let short = |name: &str| {
        let wrappers = ["model", "language_model", "text_model", "vision_model"];
        name.split('.').filter(|segment| !wrappers.contains(segment)).collect::<Vec<_>>().join(".")
    };
    let tail = |name: &str| name.split_once('.').map_or_else(String::new, |(_, tail)| tail.to_owned());
    let like = |wanted: &str| rows.keys().find(|key| short(key) == short(wanted));
    let names = [name.to_owned(), pattern.clone(), tail(name), tail(&pattern)];
    names.iter().find_map(|name| exact(name)).or_else(|| names.iter().find_map(|name| like(name)))
}

/// The rule that most parameters follow.
fn regular(name: &str, dimensions: usize, deviation: f64) -> Value {
    match name.rsplit('.').next() {
        Some("bias" | "running_mean") => json!({ "constant": 0.0 }),
        _ if dimensions < 2 => json!({ "constant": 1.0 }),
        _ => json!({ "normal": [0.0, deviation], "count": 1e9 }),
    }
}

/// Whether a model does without the parameter where a checkpoint lacks it: sinusoids, summands that are 0.
fn computed(name: &str) -> bool {
    name == "final_logits_bias" || name.ends_with("coder.embed_positions.weight")
}

#[test]
fn every_parameter_of_every_class_is_drawn_as_in_python() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fresh.json")).unwrap();
    let python: Value = serde_json::from_str(&text).unwrap();
    let (mut faults, mut compared, mut unmatched) = (Vec::new(), 0, BTreeSet::new());
    tch::set_num_threads(1);
    for (case, about) in python["cases"].as_object().unwrap() {
        let folder = cases_directory().join(case);
        let config = config::read_json(&folder.join("config.json")).unwrap();
        let class = config::read_json(&folder.join("case.json")).unwrap()["class"].as_str().unwrap().to_owned();
        let draws: Vec<BTreeMap<String, Tensor>> = (0..DRAWS)
            .map(|seed| {
                let nothing = TensorSource::Memory(BTreeMap::new());
                auto::load(config.clone(), &class, nothing, new(seed)).unwrap().state().tensors()
            })
            .collect();
        let (irregular, std) = (about["irregular"].as_object().unwrap(), about["std"].as_f64().unwrap());
        let mut seen = BTreeSet::new();
        for (name, tensor) in &draws[0] {
            let row = key_of(name, irregular);
            let mut wanted = regular(name, tensor.dim(), std);
            match row.map(|key| &irregular[key]) {
                Some(Value::Object(about)) if about.contains_key("row") => {
                    wanted.as_object_mut().unwrap().extend(about.clone());
                }
                Some(about) => wanted = about.clone(),
                None => {}
            }
            seen.extend(row.cloned());
            let values: Vec<_> = draws.iter().map(|draw| draw[name].shallow_clone()).collect();
            faults.extend(fault(&values, &wanted).map(|fault| format!("{case}: {name}: {fault}")));
            compared += 1;
        }
        let names = irregular.keys().filter(|name| !seen.contains(*name));
        unmatched.extend(names.filter(|name| !computed(name)).map(|name| format!("{case}: {name}")));
    }
    assert!(faults.is_empty(), "{} of {compared}:\n{}", faults.len(), faults.join("\n"));
    assert!(compared > 15_000 && unmatched.is_empty(), "{compared} parameters; not asked for: {unmatched:?}");
}

fn head(model: &Model, name: &str) -> Tensor {
    model.state().tensor(name).unwrap()
}

#[test]
fn a_new_head_is_drawn_from_the_seed_and_reported() {
    let place = cases_directory().join("bert/fill-mask");
    let builder = || AutoModelForSequenceClassification::builder(&place).allow_unused(true);
    let Err(Error::Weights(report)) = builder().load() else { panic!("loaded") };
    assert!(report.missing.iter().any(|(name, _)| name == "classifier.weight"), "{report}");
    let (model, report) = builder().allow_new_heads(true).seed(5).load_with_report().unwrap();
    assert_eq!(
        report.fresh,
        ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"]
    );
    assert!(report.fit.is_usable() && report.to_string().contains("new          classifier.weight"), "{report}");
    let again = builder().allow_new_heads(true).seed(5).load().unwrap();
    let other = builder().allow_new_heads(true).seed(6).load().unwrap();
    assert!(head(&model, "classifier.weight").equal(&head(&again, "classifier.weight")));
    assert!(!head(&model, "classifier.weight").equal(&head(&other, "classifier.weight")));
    // What the checkpoint has is untouched, and the padding vector with it.
    let stored = TensorSource::open(&place).unwrap().into_memory().unwrap();
    let name = "bert.embeddings.word_embeddings.weight";
    assert!(head(&model, name).equal(&stored[name]));
}

#[test]
fn a_head_of_another_shape_is_replaced_where_that_is_allowed() {
    let place = cases_directory().join("bert/token-classification");
    let folder = tempfile::tempdir().unwrap();
    let mut changed = config::read_json(&place.join("config.json")).unwrap();
    let labels: serde_json::Map<String, Value> = (0..7).map(|at| (at.to_string(), format!("L{at}").into())).collect();
    changed["id2label"] = labels.into();
    fs::write(folder.path().join("config.json"), changed.to_string()).unwrap();
    let tensors = TensorSource::open(&place).unwrap().into_memory().unwrap();
    safetensors::write(&folder.path().join("model.safetensors"), &tensors).unwrap();
    let builder = || AutoModelForTokenClassification::builder(folder.path());
    let Err(Error::Weights(report)) = builder().allow_new_heads(true).load() else { panic!("loaded") };
    assert_eq!(report.mis_shaped.len(), 2);
    let (model, report) = builder().ignore_mismatched_sizes(true).load_with_report().unwrap();
    assert_eq!(
        report.replaced.iter().map(|(name, ..)| &name[..]).collect::<Vec<_>>(),
        ["classifier.bias", "classifier.weight"]
    );
    assert!(report.fresh.is_empty() && report.passed_over.is_empty(), "{report}");
    assert_eq!(head(&model, "classifier.weight").size()[0], 7);
}

#[test]
fn a_checkpoint_of_another_model_is_refused_however_much_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(cases_directory().join("bert/fill-mask/config.json"), folder.path().join("config.json")).unwrap();
    let other = TensorSource::open(&cases_directory().join("gpt2/text-generation")).unwrap().into_memory().unwrap();
    safetensors::write(&folder.path().join("model.safetensors"), &other).unwrap();
    let builder = AutoModelForSequenceClassification::builder(folder.path()).allow_unused(true).allow_new_heads(true);
    let Err(Error::Weights(report)) = builder.load() else { panic!("loaded") };
    assert!(!report.missing.is_empty() && !report.unused.is_empty());
}

#[test]
fn a_model_from_a_configuration_computes_trains_and_is_saved() {
    let config = AutoConfig::from_pretrained(cases_directory().join("llama/text-generation")).unwrap();
    let model = AutoModelForCausalLM::from_config(&config, LoadOptions { trainable: true, ..new(1) }).unwrap();
    let ids = Tensor::from_slice(&[3i64, 5, 9]).unsqueeze(0);
    let logits = model.forward(&Inputs::new().with("input_ids", ids)).unwrap().take("logits").unwrap();
    logits.sum(Kind::Float).backward();
    assert!(!model.state().gradients().is_empty());
    let half =
        AutoModelForCausalLM::from_config(&config, LoadOptions { kind: Some(Kind::BFloat16), ..new(1) }).unwrap();
    assert_eq!((half.kind(), half.device()), (Kind::BFloat16, Device::Cpu));
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let again = AutoModelForCausalLM::from_pretrained(folder.path()).unwrap();
    for (name, tensor) in model.state().tensors() {
        assert!(head(&again, &name).equal(&tensor), "{name}");
    }
}
