//! The Auto classes: which class they stand for, and loading through them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tch_transformers::auto::{
    self, AUTO_CLASSES, AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForImageClassification,
    AutoModelForMaskedLM, AutoModelForSequenceClassification, Checkpoint,
};
use tch_transformers::verify::cases_directory;
use tch_transformers::weights::{Dtype, TensorSource, safetensors};
use tch_transformers::{Error, config};

fn case(name: &str) -> PathBuf {
    cases_directory().join(name)
}

/// A folder with the configuration of a case, changed, and its tensors, changed.
fn checkpoint(name: &str, fields: Value, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), name, fields, change);
    folder
}

fn write(folder: &Path, name: &str, fields: Value, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
    let mut config = config::read_json(&case(name).join("config.json")).unwrap();
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut tensors = TensorSource::open(&case(name)).unwrap().into_memory().unwrap();
    change(&mut tensors);
    safetensors::write(&folder.join("model.safetensors"), &tensors).unwrap();
}

#[test]
fn every_auto_class_stands_for_the_class_that_python_takes() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/auto_classes.json")).unwrap();
    let python: Value = serde_json::from_str(&text).unwrap();
    let (mut compared, mut beyond) = (0, Vec::new());
    for (name, rows) in python["classes"].as_object().unwrap() {
        for entry in auto::roster() {
            let parts = entry.parts.iter().map(|part| part.model_type);
            for model_type in std::iter::once(entry.model_type).chain(parts) {
                // Python can have a class that the roster has not.
                let wanted = rows.get(model_type).and_then(Value::as_str).filter(|class| entry.class(class).is_ok());
                let Some(auto) = AUTO_CLASSES.iter().find(|auto| auto.name == name) else {
                    assert_eq!(wanted, None, "there is no {name}");
                    continue;
                };
                let config = AutoConfig::from_json(json!({ "model_type": model_type })).unwrap();
                let found = auto.class_of(&config).map(|class| class.name);
                match (wanted, found) {
                    (Some(wanted), found) if entry.model_type == model_type || name == "AutoModel" => {
                        assert_eq!(found.unwrap(), wanted, "{name} of {model_type}");
                        compared += 1;
                    }
                    (None, Ok(class)) => {
                        // Those that stand for more than Python lists.
                        let more =
                            ["AutoModelForPreTraining", "AutoModelForTextEncoding", "AutoModelForMaskedImageModeling"];
                        if !more.contains(&name.as_str()) && config.part().is_none() {
                            beyond.push(format!("{name} of {model_type}: {class}"));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(compared > 400 && beyond.is_empty(), "{compared}, and where Python has none: {beyond:?}");
}

#[test]
fn a_class_that_the_configuration_names_is_taken_where_there_are_several() {
    let class = |architectures: Value| {
        let config = AutoConfig::from_json(json!({ "model_type": "deit", "architectures": architectures })).unwrap();
        AutoModelForImageClassification::CLASS.class_of(&config).unwrap().name
    };
    assert_eq!(class(json!(["DeiTForImageClassificationWithTeacher"])), "DeiTForImageClassificationWithTeacher");
    assert_eq!(class(json!(["DeiTModel"])), "DeiTForImageClassification");
    assert_eq!(class(Value::Null), "DeiTForImageClassification");
}

#[test]
fn a_task_that_an_architecture_has_no_class_for_is_told_with_those_that_it_has() {
    let error = AutoModelForMaskedLM::from_pretrained(case("llama/text-generation")).unwrap_err();
    let Error::NoClassForTask { asked, model_type, available, .. } = &error else { panic!("{error}") };
    assert_eq!((*asked, &model_type[..]), ("AutoModelForMaskedLM", "llama"));
    assert!(available.contains(&("text-generation", "LlamaForCausalLM")));
    assert!(error.to_string().contains("no class for fill-mask; it has feature-extraction (LlamaModel)"), "{error}");
}

#[test]
fn folders_are_loaded_by_task_and_by_name() {
    let place = case("gpt2/text-generation");
    assert_eq!(AutoModelForCausalLM::from_pretrained(&place).unwrap().class(), "GPT2LMHeadModel");
    let place = place.to_str().unwrap();
    assert_eq!(AutoModelForCausalLM::from_pretrained(place).unwrap().kind(), Kind::Float);
    let parent = Checkpoint::new(case("gpt2")).subfolder("text-classification");
    assert_eq!(
        AutoModelForSequenceClassification::from_pretrained(parent).unwrap().class(),
        "GPT2ForSequenceClassification"
    );
    let heads =
        AutoModel::builder(case("gpt2")).subfolder("double-heads").class("GPT2DoubleHeadsModel").load().unwrap();
    assert_eq!(heads.class(), "GPT2DoubleHeadsModel");
    let part = AutoModel::builder(case("clip")).subfolder("clip_vision_model").load().unwrap();
    assert_eq!(part.class(), "CLIPVisionModel");
    // Neither a folder nor a name that the hub could have.
    assert!(matches!(AutoModel::from_pretrained(case("nowhere")), Err(Error::Hub(_))));
}

#[test]
fn loading_is_strict_unless_told_otherwise() {
    let place = case("bert/fill-mask");
    let Err(Error::Weights(report)) = AutoModel::from_pretrained(&place) else { panic!("loaded") };
    assert!(report.unused.iter().all(|name| name.starts_with("cls.")) && !report.unused.is_empty(), "{report}");
    let (model, report) = AutoModel::builder(&place).class("BertForMaskedLM").load_with_report().unwrap();
    assert!(report.fit.is_clean() && model.class() == "BertForMaskedLM");
}

#[test]
fn a_configuration_has_all_fields_with_their_values() {
    let config = AutoConfig::from_pretrained(case("bert/fill-mask")).unwrap();
    assert_eq!(config.model_type(), "bert");
    assert_eq!(config.fields()["hidden_size"], 12);
    assert_eq!(config.architectures().collect::<Vec<_>>(), ["BertForMaskedLM"]);
    let part = AutoConfig::from_json(json!({ "model_type": "clip_vision_model" })).unwrap();
    assert_eq!((part.model_type(), part.entry().model_type), ("clip_vision_model", "clip"));
    assert_eq!(part.get("patch_size"), Some(&json!(32)));
    let wrong = AutoConfig::from_json(json!({ "model_type": "bert", "hidden_size": 0 })).unwrap_err();
    assert!(matches!(&wrong, Error::Config { field, .. } if field == "hidden_size"), "{wrong}");
    assert!(matches!(AutoConfig::from_json(json!({})), Err(Error::Config { .. })));
    assert!(matches!(AutoConfig::from_json(json!({ "model_type": "brt" })), Err(Error::UnknownModelType { .. })));
}

#[test]
fn the_kind_is_that_of_the_configuration_then_of_the_weights_unless_one_is_asked_for() {
    let half = |tensors: &mut BTreeMap<String, Tensor>| {
        tensors.values_mut().for_each(|tensor| *tensor = tensor.to_kind(Kind::Half));
    };
    let kinds = |folder: &tempfile::TempDir, dtype: Dtype| {
        let model = AutoModelForCausalLM::builder(folder.path()).dtype(dtype).load().unwrap();
        assert!(model.state().tensors().values().all(|tensor| tensor.kind() == model.kind()));
        model.kind()
    };
    let name = "gpt2/text-generation";
    let says = checkpoint(name, json!({ "dtype": "bfloat16" }), half);
    assert_eq!(kinds(&says, Dtype::Auto), Kind::BFloat16);
    assert_eq!(kinds(&says, Kind::Float.into()), Kind::Float);
    let older = checkpoint(name, json!({ "dtype": null, "torch_dtype": "float32" }), half);
    assert_eq!(kinds(&older, Dtype::Auto), Kind::Float);
    let silent = checkpoint(name, json!({ "dtype": null }), half);
    assert_eq!(kinds(&silent, Dtype::Auto), Kind::Half);
    let wrong = checkpoint(name, json!({ "dtype": "int8" }), half);
    assert!(matches!(AutoModelForCausalLM::from_pretrained(wrong.path()), Err(Error::Config { .. })));
    assert_eq!(kinds(&wrong, Kind::Half.into()), Kind::Half);
}
